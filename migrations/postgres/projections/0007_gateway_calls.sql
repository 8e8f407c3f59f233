-- Tool calls as the gateway saw them, people's and personas' alike. Folded from the log.
-- What old code sees: nothing; this table is new. Old code skips the events it is folded from.

CREATE TABLE gateway_calls (
    -- the gateway's own name of the call; CallStarted.call_id
    id             TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- the caller
    user_id        TEXT COLLATE "C" NOT NULL,
    -- the space the caller acted in
    space_id       TEXT COLLATE "C" NOT NULL,
    -- the session it came in; NULL for a call without one
    session_id     TEXT COLLATE "C",
    -- the caller's own id of the call, where it sent one; a persona's is persona_actions.call_id
    client_call_id TEXT COLLATE "C",
    -- the name that was called, whether or not there is such a tool
    tool           TEXT COLLATE "C" NOT NULL,
    -- SHA-256 of the canonical arguments, lower-case hexadecimal
    input_hash     TEXT COLLATE "C" NOT NULL,
    -- the arguments sealed with the caller's own key; NULL unless the operator asked for them
    arguments      TEXT COLLATE "C",
    -- version of the rules it was judged by
    policy_version BIGINT NOT NULL,
    -- 'pending' until it has ended; a later outcome takes the place of 'unknown' alone
    outcome        TEXT COLLATE "C" NOT NULL CHECK (outcome IN ('pending', 'ok', 'error', 'refused', 'cancelled', 'unknown')),
    -- with 'error': 'invalid', 'rejected', 'failed', 'panicked' or 'unrecorded'
    fault          TEXT COLLATE "C",
    -- ms from taking the call to its end; NULL where nobody measured
    duration_ms    BIGINT,
    -- µs UTC, when it was taken
    started_at     BIGINT NOT NULL,
    -- µs UTC, when it ended or was found without an end; NULL while it is pending
    ended_at       BIGINT,
    -- sequence of the commit that holds its CallStarted
    stream_seq     BIGINT NOT NULL CHECK (stream_seq > 0),
    CHECK ((ended_at IS NULL) = (outcome = 'pending'))
);

CREATE INDEX gateway_calls_by_user ON gateway_calls (user_id, stream_seq);

CREATE INDEX gateway_calls_pending ON gateway_calls (stream_seq) WHERE outcome = 'pending';
