-- Accounts that are shut out while they are erased, and what is still to be done after a deletion.
--
-- What old code sees while this runs: a column and a table it does not read. It would let a suspended account in
-- until its erasure is finished, so programs of before are stopped first.

-- When the account was shut out because its erasure began, microseconds since the epoch; null for every other
-- account. It is never taken back: what follows is the deletion.
ALTER TABLE users ADD COLUMN suspended_at INTEGER;

-- "Which erasures have begun and not ended" is asked at every start and now and then.
CREATE INDEX users_suspended ON users (suspended_at) WHERE suspended_at IS NOT NULL;

CREATE TABLE rewrites_due (
    -- One row at most: the file as a whole is rewritten or is not.
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    -- When an account was last deleted, microseconds since the epoch. Until the file is rewritten after that, its
    -- unused parts may hold copies of what the account was.
    deleted_at INTEGER NOT NULL
) STRICT;
