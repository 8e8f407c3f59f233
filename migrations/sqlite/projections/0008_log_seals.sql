-- A seal of every commit that was folded, kept outside the log: what is changed, dropped, moved or put in there later
-- differs from it at its place.
-- What old code sees: two more tables, which it neither reads nor writes. Commits that old code folds after this have no
-- seal, and are named as put in until a rebuild.

CREATE TABLE log_seals (
    -- sequence of its first commit, divided by 128
    block BIGINT NOT NULL PRIMARY KEY CHECK (block >= 0),
    -- 24 characters for each sequence of the block in turn, as far as it was folded: unpadded URL-safe base64 of the
    -- commit's seal, dots where there was no commit; sequence 0 does not exist and holds = when folding began at 1
    seals TEXT   NOT NULL
);

-- Whose commits may be missing from the log.
CREATE TABLE erased_subjects (
    -- subject on the log, such as 'dramatis.record.<id>'; it holds an id and nothing else
    subject TEXT   NOT NULL PRIMARY KEY,
    -- sequence of the commit that says so
    seq     BIGINT NOT NULL CHECK (seq > 0)
);
