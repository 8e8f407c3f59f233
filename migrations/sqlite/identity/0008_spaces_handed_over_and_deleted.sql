-- Spaces that change owners, and spaces that are deleted before their records are.
--
-- What old code sees while this runs: tables it does not read. It would open what is sealed in a space that was handed
-- over with its new owner's key alone, so programs of before are stopped first.

CREATE TABLE space_past_owners (
    -- The space.
    space_id TEXT NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    -- Whose keys may still seal something in it.
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- When it was handed over, microseconds since the epoch.
    handed_over_at INTEGER NOT NULL,
    PRIMARY KEY (space_id, user_id)
) STRICT;

-- "Does anything still need this account's keys" is asked before they are destroyed.
CREATE INDEX space_past_owners_by_user ON space_past_owners (user_id);

CREATE TABLE deleted_spaces (
    -- The space that was.
    space_id TEXT PRIMARY KEY NOT NULL CHECK (length(space_id) BETWEEN 1 AND 200),
    -- Who owned it: its records go with this account at the latest.
    owner_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- When, microseconds since the epoch.
    deleted_at INTEGER NOT NULL
) STRICT;

-- "What else was its alone" is asked when an account is erased.
CREATE INDEX deleted_spaces_by_owner ON deleted_spaces (owner_id);
