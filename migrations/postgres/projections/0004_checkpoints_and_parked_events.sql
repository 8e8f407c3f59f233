-- How far the fold has come, and what it could not fold.
-- What old code sees: nothing; these tables are new.

CREATE TABLE projection_checkpoints (
    -- the projection; 'tables' holds all folded tables of this database
    name           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- sequence of the last commit folded; moves in the transaction of the rows, and only from the value its folder read
    seq            BIGINT NOT NULL CHECK (seq > 0),
    -- id of that commit, to notice a log that lost its end and used the sequence again; NULL where the message had no readable id
    commit_id      TEXT COLLATE "C",
    -- name of the stream that was folded
    stream_name    TEXT COLLATE "C" NOT NULL,
    -- µs UTC, when that stream was made: a stream made anew is another log
    stream_created BIGINT NOT NULL
);

CREATE TABLE parked_events (
    -- sequence of the commit, none of whose events is folded
    seq        BIGINT NOT NULL PRIMARY KEY CHECK (seq > 0),
    -- id of the commit; NULL where the message had no readable one
    commit_id  TEXT COLLATE "C",
    -- subject it stands under; the body stays in the log and is not copied here, so that erasing it there erases it
    subject    TEXT COLLATE "C" NOT NULL,
    -- whether it could not be read or could not be folded
    stage      TEXT COLLATE "C" NOT NULL CHECK (stage IN ('decode', 'fold')),
    -- why, for a person to read
    reason     TEXT COLLATE "C" NOT NULL
);
