-- Master keys that are replaced, kept from the server, or recovered by their owner; and a record of sensitive acts.
--
-- What old code sees while this runs: the vaults under the same name with the same columns it reads and writes, until
-- an account chooses zero knowledge: that account's key is null, which old code takes for a damaged row and refuses.
-- Programs of before are stopped first.

-- The table is made anew because the key of a zero-knowledge account is not here at all.
CREATE TABLE vaults_new (
    -- Whose master key it is. Deleting the row destroys the key, and with it what it encrypted.
    user_id TEXT PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- AES-256-GCM of the 32-byte key: nonce (12 bytes), ciphertext (32), tag (16). Null for a zero-knowledge account.
    sealed_key BLOB CHECK (length(sealed_key) = 60),
    -- The name of the key-encryption key it is sealed with.
    kek_id TEXT NOT NULL CHECK (length(kek_id) BETWEEN 1 AND 200),
    -- The format of the seal and of its associated data.
    format_version INTEGER NOT NULL CHECK (format_version >= 1),
    -- When the first key was made, microseconds since the epoch.
    created_at INTEGER NOT NULL,
    -- Which of the account's master keys it is, counted from 1. A later key's seal is bound to its number.
    key_version INTEGER NOT NULL DEFAULT 1 CHECK (key_version >= 1),
    -- When the key was last replaced, microseconds since the epoch; null for the first.
    rotated_at INTEGER,
    -- The master key wrapped by the owner's own client with a recovery code we never see, base64; null for none.
    recovery_wrapped_key TEXT CHECK (length(recovery_wrapped_key) BETWEEN 1 AND 1024),
    -- The nonce of that wrap, base64.
    recovery_iv TEXT CHECK (length(recovery_iv) BETWEEN 1 AND 64),
    -- Since when only the owner has the key, microseconds since the epoch; null for ordinary accounts.
    zero_knowledge_since INTEGER,
    -- Fields the key may have sealed: reserved in blocks before they are used, so never too few.
    seals_reserved INTEGER NOT NULL DEFAULT 0 CHECK (seals_reserved >= 0),
    CHECK ((sealed_key IS NULL) = (zero_knowledge_since IS NOT NULL)),
    CHECK ((recovery_wrapped_key IS NULL) = (recovery_iv IS NULL)),
    CHECK (zero_knowledge_since IS NULL OR recovery_wrapped_key IS NOT NULL)
) STRICT;

INSERT INTO vaults_new (user_id, sealed_key, kek_id, format_version, created_at)
SELECT user_id, sealed_key, kek_id, format_version, created_at
FROM vaults;

DROP TABLE vaults;

ALTER TABLE vaults_new RENAME TO vaults;

CREATE TABLE past_master_keys (
    -- Whose key it was.
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- Which of the account's master keys it was.
    key_version INTEGER NOT NULL CHECK (key_version >= 1),
    -- As in vaults. It opens what was sealed before the rotation and seals nothing new.
    sealed_key BLOB NOT NULL CHECK (length(sealed_key) = 60),
    -- The name of the key-encryption key it is sealed with.
    kek_id TEXT NOT NULL CHECK (length(kek_id) BETWEEN 1 AND 200),
    -- As in vaults.
    format_version INTEGER NOT NULL CHECK (format_version >= 1),
    -- When another took its place, microseconds since the epoch.
    retired_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, key_version)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_log (
    -- Order of the acts.
    id INTEGER PRIMARY KEY NOT NULL,
    -- When, microseconds since the epoch.
    at INTEGER NOT NULL,
    -- What was done, a word of the program's.
    act TEXT NOT NULL CHECK (length(act) BETWEEN 1 AND 100),
    -- Whose account or key it is about; null for nobody's, and once the account is deleted.
    user_id TEXT REFERENCES users (id) ON DELETE SET NULL,
    -- Who did it; null for the house, for whoever is unproven, and once the account is deleted.
    by_id TEXT REFERENCES users (id) ON DELETE SET NULL,
    -- Ids and words of the program's; never a secret, an email or a name.
    detail TEXT CHECK (length(detail) <= 500)
) STRICT;

-- "What happened to this account", and what a deletion clears.
CREATE INDEX audit_log_by_user ON audit_log (user_id, id);
CREATE INDEX audit_log_by_actor ON audit_log (by_id) WHERE by_id IS NOT NULL;
-- "What is old enough to be let go".
CREATE INDEX audit_log_by_time ON audit_log (at);
