-- Keys at rest: the vault of master keys, those that were before them, and the keys that sign tokens. All are sealed,
-- never plain.
--
-- What old code sees while this runs: new tables it does not read.

CREATE TABLE vaults (
    -- Whose master key it is. Deleting the row destroys the key, and with it what it encrypted.
    user_id TEXT COLLATE "C" PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    -- AES-256-GCM of the 32-byte key: nonce (12 bytes), ciphertext (32), tag (16). Null for a zero-knowledge account.
    sealed_key BYTEA CHECK (length(sealed_key) = 60),
    -- The name of the key-encryption key it is sealed with.
    kek_id TEXT COLLATE "C" NOT NULL CHECK (length(kek_id) BETWEEN 1 AND 200),
    -- The format of the seal and of its associated data.
    format_version BIGINT NOT NULL CHECK (format_version >= 1),
    -- When the first key was made, microseconds since the epoch.
    created_at BIGINT NOT NULL,
    -- Which of the account's master keys it is, counted from 1. A later key's seal is bound to its number.
    key_version BIGINT NOT NULL DEFAULT 1 CHECK (key_version >= 1),
    -- When the key was last replaced, microseconds since the epoch; null for the first.
    rotated_at BIGINT,
    -- The master key wrapped by the owner's own client with a recovery code we never see, base64; null for none.
    recovery_wrapped_key TEXT COLLATE "C" CHECK (length(recovery_wrapped_key) BETWEEN 1 AND 1024),
    -- The nonce of that wrap, base64.
    recovery_iv TEXT COLLATE "C" CHECK (length(recovery_iv) BETWEEN 1 AND 64),
    -- Since when only the owner has the key, microseconds since the epoch; null for ordinary accounts.
    zero_knowledge_since BIGINT,
    -- Fields the key may have sealed: reserved in blocks before they are used, so never too few.
    seals_reserved BIGINT NOT NULL DEFAULT 0 CHECK (seals_reserved >= 0),
    CHECK ((sealed_key IS NULL) = (zero_knowledge_since IS NOT NULL)),
    CHECK ((recovery_wrapped_key IS NULL) = (recovery_iv IS NULL)),
    CHECK (zero_knowledge_since IS NULL OR recovery_wrapped_key IS NOT NULL)
);

CREATE TABLE past_master_keys (
    -- Whose key it was.
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- Which of the account's master keys it was.
    key_version BIGINT NOT NULL CHECK (key_version >= 1),
    -- As in vaults. It opens what was sealed before the rotation and seals nothing new.
    sealed_key BYTEA NOT NULL CHECK (length(sealed_key) = 60),
    -- The name of the key-encryption key it is sealed with.
    kek_id TEXT COLLATE "C" NOT NULL CHECK (length(kek_id) BETWEEN 1 AND 200),
    -- As in vaults.
    format_version BIGINT NOT NULL CHECK (format_version >= 1),
    -- When another took its place, microseconds since the epoch.
    retired_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, key_version)
);

CREATE TABLE signing_keys (
    -- The `kid` in token headers and in the published key set.
    kid TEXT COLLATE "C" PRIMARY KEY CHECK (length(kid) BETWEEN 1 AND 200),
    -- The only algorithm a token of this key may name.
    algorithm TEXT COLLATE "C" NOT NULL CHECK (algorithm = 'EdDSA'),
    -- Ed25519 public key, 32 bytes, as published.
    public_key BYTEA NOT NULL CHECK (length(public_key) = 32),
    -- AES-256-GCM of the 32-byte private seed: nonce (12 bytes), ciphertext (32), tag (16).
    sealed_seed BYTEA NOT NULL CHECK (length(sealed_seed) = 60),
    -- The name of the key-encryption key it is sealed with.
    kek_id TEXT COLLATE "C" NOT NULL CHECK (length(kek_id) BETWEEN 1 AND 200),
    -- When it was made, microseconds since the epoch.
    created_at BIGINT NOT NULL,
    -- From when on it signs, microseconds since the epoch; it is published before, so that others know it by then.
    signs_from BIGINT NOT NULL DEFAULT 0,
    -- When the last token it signed has ended, microseconds since the epoch; null while no other has taken its place.
    retires_at BIGINT
);
