-- What personas expect of one another in shared spaces, and which ticks were lived there. Folded from the log.
-- What old code sees: a table that is new and two columns it neither reads nor writes. Old code parks the commits they
-- are folded from; run `dramatis rebuild` once for ticks folded by it.

CREATE TABLE expectations (
    -- the space something was put into
    space_id       TEXT NOT NULL,
    -- the id the app gave it
    thing_id       TEXT NOT NULL,
    -- the persona that ought to find it there
    partner_id     TEXT NOT NULL,
    -- the module it belongs to, and what it is there
    module         TEXT NOT NULL,
    kind           TEXT NOT NULL,
    -- the persona that put it there, its tick, and the call of it that did
    maker_id       TEXT NOT NULL,
    made_tick_id   TEXT NOT NULL,
    made_call_id   TEXT NOT NULL,
    -- µs UTC, time of the commit that raised it
    made_at        BIGINT NOT NULL,
    -- open until the partner has looked; void when it was changed or removed before that
    state          TEXT NOT NULL CHECK (state IN ('open', 'kept', 'broken', 'void')),
    -- the partner's tick, and the call of it that looked
    looked_tick_id TEXT,
    looked_call_id TEXT,
    -- µs UTC, time of the commit that says what came of it
    looked_at      BIGINT,
    -- sequence of that commit
    looked_seq     BIGINT,
    -- sequence of the commit that holds its ExpectationRaised
    stream_seq     BIGINT NOT NULL CHECK (stream_seq > 0),
    CHECK ((state = 'open') = (looked_tick_id IS NULL)),
    CHECK ((state = 'open') = (looked_at IS NULL)),
    CHECK ((state = 'open') = (looked_seq IS NULL)),
    PRIMARY KEY (space_id, thing_id, partner_id)
);

CREATE INDEX expectations_by_made_tick ON expectations (made_tick_id);
CREATE INDEX expectations_by_looked_tick ON expectations (looked_tick_id);
CREATE INDEX expectations_by_look ON expectations (looked_at) WHERE looked_at IS NOT NULL;

-- the space the tick acts in and what sort of group that is for, where it is shared; NULL in the persona's own
ALTER TABLE ticks ADD COLUMN space_id TEXT;
ALTER TABLE ticks ADD COLUMN space_type TEXT;
