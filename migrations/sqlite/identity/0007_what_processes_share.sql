-- What every process on these accounts has to know and some kept to themselves: wrong passwords, and that keys changed.
--
-- What old code sees while this runs: two tables it does not read. It goes on counting wrong passwords by itself, and
-- does not tell others of keys it changes, so programs of before are stopped first.

CREATE TABLE wrong_passwords (
    -- SHA-256 of the email as it was sent, in lower case, hexadecimal. There need not be such an account.
    email_sha256 TEXT PRIMARY KEY NOT NULL CHECK (length(email_sha256) = 64),
    -- Wrong passwords for it since then.
    times INTEGER NOT NULL CHECK (times >= 1),
    -- When the first of them came, microseconds since the epoch; a quarter of an hour later the row is of no use.
    since INTEGER NOT NULL
) STRICT;

-- "What is too old to be held against anybody."
CREATE INDEX wrong_passwords_by_time ON wrong_passwords (since);

CREATE TABLE key_changes (
    -- One row at most.
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    -- How often a key that some process may hold in memory was replaced or destroyed.
    changes INTEGER NOT NULL CHECK (changes >= 0)
) STRICT;
