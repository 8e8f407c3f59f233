-- Tokens that are taken back before their time, and keys that are handed out for a while.
--
-- What old code sees while this runs: tables it does not read. It would go on accepting revoked tokens, so programs of
-- before are stopped first.

CREATE TABLE revoked_sessions (
    -- The `sid` of the tokens of one login and of those refreshed from it.
    session_id TEXT COLLATE "C" PRIMARY KEY CHECK (length(session_id) BETWEEN 1 AND 200),
    -- Whose login it was.
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- When the last token it may have ends, microseconds since the epoch; the row is of no use after it.
    until BIGINT NOT NULL
);

-- "Which sessions of this account are revoked" is asked whenever the account is looked up.
CREATE INDEX revoked_sessions_by_user ON revoked_sessions (user_id);

CREATE TABLE key_grants (
    -- UUID.
    id TEXT COLLATE "C" PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 200),
    -- Whose data it opens.
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- The space it reaches into; the account owns it.
    space_id TEXT COLLATE "C" NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    -- What it is for, as whoever asked for it calls it.
    mission_id TEXT COLLATE "C" NOT NULL CHECK (length(mission_id) BETWEEN 1 AND 200),
    -- The tables it covers, sorted, a JSON array of text.
    tables TEXT COLLATE "C" NOT NULL CHECK (json_typeof(tables::json) = 'array'),
    -- The records it covers, sorted, a JSON array of text.
    record_ids TEXT COLLATE "C" NOT NULL CHECK (json_typeof(record_ids::json) = 'array'),
    -- The data key wrapped to the runner's public key, base64.
    wrapped_key TEXT COLLATE "C" NOT NULL CHECK (length(wrapped_key) BETWEEN 1 AND 2048),
    -- Who made the data key: this server from the master key, or the owner's own client.
    minted_by TEXT COLLATE "C" NOT NULL CHECK (minted_by IN ('server', 'client')),
    -- Which of the account's master keys it was derived from.
    key_version BIGINT NOT NULL CHECK (key_version >= 1),
    -- From when and until when it holds, microseconds since the epoch.
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL CHECK (expires_at > issued_at),
    -- When it was taken back, microseconds since the epoch; null while it was not.
    revoked_at BIGINT
);

CREATE INDEX key_grants_by_user ON key_grants (user_id, issued_at);
-- What the end of a space takes along.
CREATE INDEX key_grants_by_space ON key_grants (space_id);
