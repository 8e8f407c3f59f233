-- App data, and what the gateway saw. Folded from the log.
-- What old code sees: nothing; these tables are new.

CREATE TABLE records (
    -- the space; RecordChanged.space_id
    space_id   TEXT COLLATE "C" NOT NULL,
    -- table of app data, such as 'tasks'; RecordChanged.table
    table_name TEXT COLLATE "C" NOT NULL,
    -- the record; RecordChanged.record_id
    record_id  TEXT COLLATE "C" NOT NULL,
    -- JSON object, field name to {"value", "at"}: the value that was written last and the writer's time of it; ciphertext where the registry says so
    fields     TEXT COLLATE "C" NOT NULL,
    -- user id of the latest writer
    actor      TEXT COLLATE "C" NOT NULL,
    -- µs UTC, time of the first change
    created_at BIGINT NOT NULL,
    -- µs UTC, latest time of a change
    updated_at BIGINT NOT NULL,
    -- µs UTC, when it was deleted; a tombstone is never undone; NULL while it lives
    deleted_at BIGINT,
    -- sequence of the commit of its first change
    first_seq  BIGINT NOT NULL CHECK (first_seq > 0),
    -- sequence of the commit of its latest change
    last_seq   BIGINT NOT NULL CHECK (last_seq >= first_seq),
    PRIMARY KEY (space_id, table_name, record_id)
);

CREATE TABLE sessions (
    -- name of the MCP session in our records, not its bearer handle; SessionOpened.session_id
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- its one owner
    user_id      TEXT COLLATE "C" NOT NULL,
    -- the space it acts in
    space_id     TEXT COLLATE "C" NOT NULL,
    -- what the client calls itself; never trusted
    client       TEXT COLLATE "C" NOT NULL,
    -- negotiated protocol revision
    protocol     TEXT COLLATE "C" NOT NULL,
    -- µs UTC, when it began
    opened_at    BIGINT NOT NULL,
    -- µs UTC, when it ended; NULL while it is open
    closed_at    BIGINT,
    -- 'client', 'idle', 'shutdown' or 'restart'; SessionClosed.reason
    close_reason TEXT COLLATE "C",
    -- sequence of the commit that holds its SessionOpened
    stream_seq   BIGINT NOT NULL CHECK (stream_seq > 0),
    CHECK ((closed_at IS NULL) = (close_reason IS NULL))
);

CREATE INDEX sessions_by_user ON sessions (user_id, stream_seq);

CREATE TABLE refusals (
    -- '{stream_seq}-{ordinal}' of its CallRefused
    id             TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- the caller
    user_id        TEXT COLLATE "C" NOT NULL,
    -- the space the call was for
    space_id       TEXT COLLATE "C" NOT NULL,
    -- MCP name of the tool
    tool           TEXT COLLATE "C" NOT NULL,
    -- the caller's own id of the call, where it sent one
    call_id        TEXT COLLATE "C",
    -- the rule that decided, such as 'rate'
    rule           TEXT COLLATE "C" NOT NULL,
    -- version of the rules
    policy_version BIGINT NOT NULL,
    -- 'enforce' refused the call, 'log-only' let it through
    mode           TEXT COLLATE "C" NOT NULL,
    -- µs UTC, when
    refused_at     BIGINT NOT NULL,
    -- sequence of its commit
    stream_seq     BIGINT NOT NULL CHECK (stream_seq > 0)
);

CREATE INDEX refusals_by_user ON refusals (user_id, stream_seq);
