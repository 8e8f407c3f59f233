-- Edge input: which classes each field of each tool has seen, and how it stood them. Folded from the log.
-- What old code sees: nothing; this table is new. Old code parks the commits it is folded from.

CREATE TABLE edge_coverage (
    -- the persona that tried; counts of one that is erased go with it
    persona_id  TEXT NOT NULL,
    -- MCP name of the tool
    tool_name   TEXT NOT NULL,
    -- the field that was given the edge; '*' for the call as a whole
    field       TEXT NOT NULL,
    -- the edge class, such as 'zero-width'; EdgeTried.class
    class       TEXT NOT NULL,
    -- times it was taken, refused cleanly, read back otherwise, broke the app, was not answered
    accepted    BIGINT NOT NULL CHECK (accepted >= 0),
    refused     BIGINT NOT NULL CHECK (refused >= 0),
    altered     BIGINT NOT NULL CHECK (altered >= 0),
    broke       BIGINT NOT NULL CHECK (broke >= 0),
    unanswered  BIGINT NOT NULL CHECK (unanswered >= 0),
    -- µs UTC, time of the latest commit
    last_at     BIGINT NOT NULL,
    -- the latest time it did not go as it should: how, what was wrong, its tick and its call, and µs UTC when
    bad_verdict TEXT CHECK (bad_verdict IN ('altered', 'broke', 'unanswered')),
    bad_detail  TEXT,
    bad_tick_id TEXT,
    bad_call_id TEXT,
    bad_at      BIGINT,
    -- sequence of the commit that holds its latest EdgeTried
    stream_seq  BIGINT NOT NULL CHECK (stream_seq > 0),
    PRIMARY KEY (persona_id, tool_name, field, class)
);

CREATE INDEX edge_coverage_by_bad_at ON edge_coverage (bad_at) WHERE bad_at IS NOT NULL;
