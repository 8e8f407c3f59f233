-- How raters rate the calibration twins. Folded from the log, and no part of the app's own ratings.
-- What old code sees: nothing; this table is new. Old code parks the commits it is folded from.

CREATE TABLE twin_ratings (
    -- TwinRated.tick_id
    tick_id        TEXT COLLATE "C" NOT NULL,
    -- which of the two
    twin           TEXT COLLATE "C" NOT NULL CHECK (twin IN ('good', 'bad')),
    -- the persona that rated; from the commit's subject
    persona_id     TEXT COLLATE "C" NOT NULL,
    -- stars, 1 to 5; NULL where nothing usable came
    rating         BIGINT CHECK (rating BETWEEN 1 AND 5),
    -- why there are none
    failed         TEXT COLLATE "C",
    -- calls made to it, and those that failed
    calls          BIGINT NOT NULL CHECK (calls >= 0),
    errors         BIGINT NOT NULL CHECK (errors >= 0),
    -- our own friction score, 0 (smooth) to 1 (hopeless)
    friction       DOUBLE PRECISION NOT NULL CHECK (friction BETWEEN 0 AND 1),
    -- who rated, and by which rules; two of these are never compared
    source         TEXT COLLATE "C" NOT NULL CHECK (source IN ('model', 'simulated', 'external')),
    brain          TEXT COLLATE "C" NOT NULL,
    model          TEXT COLLATE "C",
    prompt_version BIGINT NOT NULL,
    rubric_version BIGINT NOT NULL,
    -- µs UTC, when the tick was due
    rated_at       BIGINT NOT NULL,
    -- sequence of the commit that holds its TwinRated
    stream_seq     BIGINT NOT NULL CHECK (stream_seq > 0),
    CHECK ((rating IS NULL) = (failed IS NOT NULL)),
    PRIMARY KEY (tick_id, twin)
);

CREATE INDEX twin_ratings_by_time ON twin_ratings (rated_at);
