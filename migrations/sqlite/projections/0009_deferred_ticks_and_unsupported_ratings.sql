-- A tick can be deferred or refused, and a rating can be unsupported: given, and resting on nothing that happened. Who rated
-- stands beside every rating.
-- What old code sees: outcomes and a state it does not know, which it shows as they are, and columns it neither reads nor
-- writes. Unsupported stars are in a column of their own, so that an old mean does not count them.

-- SQLite cannot change a CHECK in place.
CREATE TABLE ticks_new (
    -- TickStarted.tick_id
    id             TEXT   NOT NULL PRIMARY KEY,
    -- the persona that acted
    persona_id     TEXT   NOT NULL,
    -- 1 for the persona's first tick
    number         BIGINT NOT NULL CHECK (number >= 0),
    -- µs UTC, when it was due
    due_at         BIGINT NOT NULL,
    -- µs UTC, when it began
    started_at     BIGINT NOT NULL,
    -- why it began
    trigger_kind   TEXT   NOT NULL CHECK (trigger_kind IN ('schedule', 'manual', 'external')),
    -- which brain acted
    brain          TEXT   NOT NULL,
    -- the brain's model, where it has one
    model          TEXT,
    -- version of the prompt, or of the simulated brain's rules
    prompt_version BIGINT NOT NULL,
    -- unsigned 64-bit number in decimal, which BIGINT cannot hold
    seed           TEXT   NOT NULL,
    -- how it ended; TickFinished.outcome or 'interrupted' for TickInterrupted; NULL while it runs
    outcome        TEXT CHECK (outcome IN ('completed', 'abandoned', 'limit', 'failed', 'interrupted', 'deferred', 'refused')),
    -- why it ended so, where the outcome alone does not say
    reason         TEXT,
    -- calls made, as TickFinished says; NULL without one
    calls          BIGINT CHECK (calls >= 0),
    -- calls that failed, as TickFinished says
    errors         BIGINT CHECK (errors >= 0),
    -- calls that tried an earlier one again, as TickFinished says
    retries        BIGINT CHECK (retries >= 0),
    -- millionths of a dollar; NULL where not known
    cost_micro_usd BIGINT CHECK (cost_micro_usd >= 0),
    -- µs UTC, when it ended or was found unfinished
    finished_at    BIGINT,
    -- sequence of the commit that holds its TickStarted
    stream_seq     BIGINT NOT NULL CHECK (stream_seq > 0),
    CHECK ((outcome IS NULL) = (finished_at IS NULL))
);

INSERT INTO ticks_new (id, persona_id, number, due_at, started_at, trigger_kind, brain, model, prompt_version, seed, outcome, reason, calls, errors, retries, cost_micro_usd, finished_at, stream_seq)
SELECT id,
       persona_id,
       number,
       due_at,
       started_at,
       trigger_kind,
       brain,
       model,
       prompt_version,
       seed,
       outcome,
       reason,
       calls,
       errors,
       retries,
       cost_micro_usd,
       finished_at,
       stream_seq
FROM ticks;
DROP TABLE ticks;
ALTER TABLE ticks_new RENAME TO ticks;
CREATE INDEX ticks_by_persona ON ticks (persona_id, stream_seq);

CREATE TABLE persona_feedback_new (
    -- '{tick_id}-{module}'
    id             TEXT   NOT NULL PRIMARY KEY,
    -- the persona that rated; from the commit's subject
    persona_id     TEXT   NOT NULL,
    -- Rated.tick_id
    tick_id        TEXT   NOT NULL,
    -- the module that was rated
    module         TEXT   NOT NULL,
    -- stars, 1 to 5; NULL when the rating failed or is unsupported: no number is ever made up, and a mean counts these alone
    rating         BIGINT CHECK (rating BETWEEN 1 AND 5),
    -- stars that were given and rest on nothing that happened, 1 to 5; NULL unless the state is 'unsupported'
    claimed_rating BIGINT CHECK (claimed_rating BETWEEN 1 AND 5),
    -- whether there is a rating that counts
    state          TEXT   NOT NULL CHECK (state IN ('rated', 'unsupported', 'failed')),
    -- why; Rated.notes (after Rated.unsupported) or RatingFailed.reason
    notes          TEXT   NOT NULL,
    -- where it came from; sources never share a trend; NULL when the rating failed
    source         TEXT CHECK (source IN ('model', 'simulated', 'external')),
    -- JSON array of the call ids it rests on
    evidence       TEXT   NOT NULL,
    -- our own friction score, 0 (smooth) to 1 (hopeless); NULL where there is none
    friction       REAL CHECK (friction BETWEEN 0 AND 1),
    -- version of the rules the stars were given by; NULL when the rating failed
    rubric_version BIGINT,
    -- which brain rated; NULL where the log does not say
    brain          TEXT,
    -- its model, where it has one
    model          TEXT,
    -- version of its prompt, or of the simulated brain's rules
    prompt_version BIGINT,
    -- µs UTC, time of the commit
    created_at     BIGINT NOT NULL,
    -- sequence of the commit that holds its latest Rated or RatingFailed
    stream_seq     BIGINT NOT NULL CHECK (stream_seq > 0),
    CHECK ((state = 'rated') = (rating IS NOT NULL)),
    CHECK ((state = 'unsupported') = (claimed_rating IS NOT NULL)),
    CHECK ((state = 'failed') = (source IS NULL))
);

INSERT INTO persona_feedback_new (id, persona_id, tick_id, module, rating, state, notes, source, evidence, friction, rubric_version, created_at, stream_seq)
SELECT id,
       persona_id,
       tick_id,
       module,
       rating,
       state,
       notes,
       source,
       evidence,
       friction,
       rubric_version,
       created_at,
       stream_seq
FROM persona_feedback;
DROP TABLE persona_feedback;
ALTER TABLE persona_feedback_new RENAME TO persona_feedback;
CREATE INDEX persona_feedback_by_persona ON persona_feedback (persona_id, module, stream_seq);
