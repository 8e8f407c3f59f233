-- Tokens that are taken back before their time, keys that are handed out for a while, and signing keys that follow one
-- another without a gap.
--
-- What old code sees while this runs: columns and tables it does not read. It would go on accepting revoked tokens, so
-- programs of before are stopped first.

-- Raised when all of an account's tokens are taken back: a token says at which count it was made.
ALTER TABLE users ADD COLUMN token_epoch INTEGER NOT NULL DEFAULT 0 CHECK (token_epoch >= 0);

CREATE TABLE revoked_sessions (
    -- The `sid` of the tokens of one login and of those refreshed from it.
    session_id TEXT PRIMARY KEY NOT NULL CHECK (length(session_id) BETWEEN 1 AND 200),
    -- Whose login it was.
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- When the last token it may have ends, microseconds since the epoch; the row is of no use after it.
    until INTEGER NOT NULL
) STRICT;

-- "Which sessions of this account are revoked" is asked whenever the account is looked up.
CREATE INDEX revoked_sessions_by_user ON revoked_sessions (user_id);

-- From when on it signs, microseconds since the epoch; it is published before, so that others know it by then.
ALTER TABLE signing_keys ADD COLUMN signs_from INTEGER NOT NULL DEFAULT 0;
-- When the last token it signed has ended, microseconds since the epoch; null while no other has taken its place.
ALTER TABLE signing_keys ADD COLUMN retires_at INTEGER;

CREATE TABLE key_grants (
    -- UUID.
    id TEXT PRIMARY KEY NOT NULL CHECK (length(id) BETWEEN 1 AND 200),
    -- Whose data it opens.
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- The space it reaches into; the account owns it.
    space_id TEXT NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    -- What it is for, as whoever asked for it calls it.
    mission_id TEXT NOT NULL CHECK (length(mission_id) BETWEEN 1 AND 200),
    -- The tables it covers, sorted, a JSON array of text.
    tables TEXT NOT NULL CHECK (json_valid(tables)),
    -- The records it covers, sorted, a JSON array of text.
    record_ids TEXT NOT NULL CHECK (json_valid(record_ids)),
    -- The data key wrapped to the runner's public key, base64.
    wrapped_key TEXT NOT NULL CHECK (length(wrapped_key) BETWEEN 1 AND 2048),
    -- Who made the data key: this server from the master key, or the owner's own client.
    minted_by TEXT NOT NULL CHECK (minted_by IN ('server', 'client')),
    -- Which of the account's master keys it was derived from.
    key_version INTEGER NOT NULL CHECK (key_version >= 1),
    -- From when and until when it holds, microseconds since the epoch.
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL CHECK (expires_at > issued_at),
    -- When it was taken back, microseconds since the epoch; null while it was not.
    revoked_at INTEGER
) STRICT;

CREATE INDEX key_grants_by_user ON key_grants (user_id, issued_at);
