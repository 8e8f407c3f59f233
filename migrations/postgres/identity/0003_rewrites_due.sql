-- What is still to be done after a deletion.
--
-- What old code sees while this runs: a table it does not read.

CREATE TABLE rewrites_due (
    -- One row at most: the tables are rewritten together or are not.
    id BIGINT PRIMARY KEY CHECK (id = 1),
    -- When an account was last deleted, microseconds since the epoch. Until the tables are rewritten after that, the
    -- unused parts of their files may hold copies of what the account was.
    deleted_at BIGINT NOT NULL
);
