-- Deployments of the app, as its operator marked them. Folded from the log.
-- What old code sees: nothing; this table is new. Old code parks the commits it is folded from.

CREATE TABLE deploys (
    -- what the operator calls it; DeployMarked.name
    name        TEXT NOT NULL PRIMARY KEY,
    -- what it brought; NULL where nothing was said
    note        TEXT,
    -- µs UTC, when it went live
    deployed_at BIGINT NOT NULL,
    -- sequence of the commit that holds its DeployMarked
    stream_seq  BIGINT NOT NULL CHECK (stream_seq > 0)
);
