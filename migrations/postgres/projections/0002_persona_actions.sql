-- What personas did with tools, and how they rated it. Folded from the log.
-- What old code sees: nothing; these tables are new.

CREATE TABLE persona_actions (
    -- '{tick_id}-{index}-{tool_name}'
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- the persona that called; from the commit's subject
    persona_id    TEXT COLLATE "C" NOT NULL,
    -- ToolCalled.tick_id
    tick_id       TEXT COLLATE "C" NOT NULL,
    -- ToolCalled.call_id; an outcome belongs to the row with its call id and to no other
    call_id       TEXT COLLATE "C" NOT NULL,
    -- MCP name of the tool
    tool_name     TEXT COLLATE "C" NOT NULL,
    -- module the tool belongs to
    module        TEXT COLLATE "C" NOT NULL,
    -- lower-case hexadecimal SHA-256 of the canonical arguments
    input_hash    TEXT COLLATE "C" NOT NULL,
    -- what the call was meant to be
    intent        TEXT COLLATE "C" NOT NULL CHECK (intent IN ('valid', 'mistake', 'chaos')),
    -- which mistake, where one was meant
    mistake       TEXT COLLATE "C",
    -- call_id of the failed call this one tried again
    retry_of      TEXT COLLATE "C",
    -- pending until its outcome is folded; unknown when its tick ended without one
    result        TEXT COLLATE "C" NOT NULL CHECK (result IN ('pending', 'ok', 'error', 'unknown')),
    -- what the caller was told; ToolFailed.error
    error_message TEXT COLLATE "C",
    -- whose fault it was; ToolFailed.cause
    cause         TEXT COLLATE "C" CHECK (cause IN ('app', 'persona', 'infra')),
    -- milliseconds from sending to answer; NULL without an outcome, or where it was not measured
    latency_ms    BIGINT CHECK (latency_ms >= 0),
    -- µs UTC, when the call was decided; ToolCalled.called_at
    created_at    BIGINT NOT NULL,
    -- sequence of the commit that holds its ToolCalled
    stream_seq    BIGINT NOT NULL CHECK (stream_seq > 0),
    CHECK ((result = 'error') = (error_message IS NOT NULL)),
    CHECK ((result = 'error') = (cause IS NOT NULL)),
    UNIQUE (tick_id, call_id)
);

CREATE INDEX persona_actions_by_persona ON persona_actions (persona_id, created_at);

CREATE TABLE persona_feedback (
    -- '{tick_id}-{module}'
    id             TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- the persona that rated; from the commit's subject
    persona_id     TEXT COLLATE "C" NOT NULL,
    -- Rated.tick_id
    tick_id        TEXT COLLATE "C" NOT NULL,
    -- the module that was rated
    module         TEXT COLLATE "C" NOT NULL,
    -- stars, 1 to 5; NULL when the rating failed: no number is ever made up
    rating         BIGINT CHECK (rating BETWEEN 1 AND 5),
    -- whether there is a rating
    state          TEXT COLLATE "C" NOT NULL CHECK (state IN ('rated', 'failed')),
    -- why; Rated.notes or RatingFailed.reason
    notes          TEXT COLLATE "C" NOT NULL,
    -- where it came from; sources never share a trend; NULL when the rating failed
    source         TEXT COLLATE "C" CHECK (source IN ('model', 'simulated', 'external')),
    -- JSON array of the call ids it rests on
    evidence       TEXT COLLATE "C" NOT NULL,
    -- our own friction score, 0 (smooth) to 1 (hopeless); NULL where there is none
    friction       DOUBLE PRECISION CHECK (friction BETWEEN 0 AND 1),
    -- version of the rules the stars were given by; NULL when the rating failed
    rubric_version BIGINT,
    -- µs UTC, time of the commit
    created_at     BIGINT NOT NULL,
    -- sequence of the commit that holds its latest Rated or RatingFailed
    stream_seq     BIGINT NOT NULL CHECK (stream_seq > 0),
    CHECK ((state = 'rated') = (rating IS NOT NULL)),
    CHECK ((state = 'rated') = (source IS NOT NULL))
);

CREATE INDEX persona_feedback_by_persona ON persona_feedback (persona_id, module, stream_seq);
