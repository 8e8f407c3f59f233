-- Who the personas are. Folded from the log: every row can be made again with `dramatis rebuild`.
-- What old code sees: nothing; these tables are new.
--
-- In all of these tables times are microseconds since 1970-01-01 UTC, JSON is text, ids are text as on the log. Text is
-- compared by its bytes, as SQLite does, whatever the database's own order of letters. The tables stand in a schema of
-- their own, which is the first on the search path.

CREATE TABLE personas (
    -- the persona's account id; PersonaEnrolled.persona_id
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- email of its account, in the reserved test domain; PersonaEnrolled or the latest PersonaRevised, as all of the description
    email         TEXT COLLATE "C" NOT NULL,
    -- its name
    name          TEXT COLLATE "C" NOT NULL,
    -- one of the catalog's archetypes
    archetype     TEXT COLLATE "C" NOT NULL,
    -- what a model is told to be
    system_prompt TEXT COLLATE "C" NOT NULL,
    -- JSON object, module name to weight
    module_mix    TEXT COLLATE "C" NOT NULL,
    -- how often it acts
    cadence       TEXT COLLATE "C" NOT NULL CHECK (cadence IN ('daily', 'weekdays', 'hourly')),
    -- IANA time zone its days are counted in
    time_zone     TEXT COLLATE "C" NOT NULL,
    -- JSON array of the emails it shares a space with
    partners      TEXT COLLATE "C" NOT NULL,
    -- µs UTC, when its latest tick began; TickStarted.started_at; NULL before the first
    last_active_at BIGINT,
    -- why its actor stays down; PersonaHalted.reason; NULL again once a tick begins
    halted        TEXT COLLATE "C",
    -- µs UTC, when it was enrolled; time of the commit
    created_at    BIGINT NOT NULL,
    -- µs UTC, when its description last changed; time of the commit
    updated_at    BIGINT NOT NULL,
    -- sequence of the commit that enrolled it
    stream_seq    BIGINT NOT NULL CHECK (stream_seq > 0)
);

CREATE INDEX personas_by_email ON personas (email);

CREATE TABLE ticks (
    -- TickStarted.tick_id
    id             TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- the persona that acted
    persona_id     TEXT COLLATE "C" NOT NULL,
    -- 1 for the persona's first tick
    number         BIGINT NOT NULL CHECK (number >= 0),
    -- µs UTC, when it was due
    due_at         BIGINT NOT NULL,
    -- µs UTC, when it began
    started_at     BIGINT NOT NULL,
    -- why it began
    trigger_kind   TEXT COLLATE "C" NOT NULL CHECK (trigger_kind IN ('schedule', 'manual', 'external')),
    -- which brain acted
    brain          TEXT COLLATE "C" NOT NULL,
    -- the brain's model, where it has one
    model          TEXT COLLATE "C",
    -- version of the prompt, or of the simulated brain's rules
    prompt_version BIGINT NOT NULL,
    -- unsigned 64-bit number in decimal, which BIGINT cannot hold
    seed           TEXT COLLATE "C" NOT NULL,
    -- how it ended; TickFinished.outcome or 'interrupted' for TickInterrupted; NULL while it runs
    outcome        TEXT COLLATE "C" CHECK (outcome IN ('completed', 'abandoned', 'limit', 'failed', 'interrupted')),
    -- why it ended so, where the outcome alone does not say
    reason         TEXT COLLATE "C",
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

CREATE INDEX ticks_by_persona ON ticks (persona_id, stream_seq);
