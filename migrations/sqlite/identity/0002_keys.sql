-- Keys at rest: the vault of master keys, and the keys that sign tokens. Both are sealed, never plain.
--
-- What old code sees while this runs: two new tables it does not read. Accounts registered before it have no
-- vault and get one when it is asked for.

CREATE TABLE vaults (
    -- Whose master key it is. Deleting the row destroys the key, and with it what it encrypted.
    user_id TEXT PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- AES-256-GCM of the 32-byte key: nonce (12 bytes), ciphertext (32), tag (16).
    sealed_key BLOB NOT NULL CHECK (length(sealed_key) = 60),
    -- The name of the key-encryption key it is sealed with.
    kek_id TEXT NOT NULL CHECK (length(kek_id) BETWEEN 1 AND 200),
    -- The format of the seal and of its associated data; raised by a rotation to a new one, never lowered.
    format_version INTEGER NOT NULL CHECK (format_version >= 1),
    -- When the key was made, microseconds since the epoch.
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE signing_keys (
    -- The `kid` in token headers and in the published key set.
    kid TEXT PRIMARY KEY NOT NULL CHECK (length(kid) BETWEEN 1 AND 200),
    -- The only algorithm a token of this key may name.
    algorithm TEXT NOT NULL CHECK (algorithm = 'EdDSA'),
    -- Ed25519 public key, 32 bytes, as published.
    public_key BLOB NOT NULL CHECK (length(public_key) = 32),
    -- AES-256-GCM of the 32-byte private seed: nonce (12 bytes), ciphertext (32), tag (16).
    sealed_seed BLOB NOT NULL CHECK (length(sealed_seed) = 60),
    -- The name of the key-encryption key it is sealed with.
    kek_id TEXT NOT NULL CHECK (length(kek_id) BETWEEN 1 AND 200),
    -- When it was made, microseconds since the epoch. The newest key signs; all of them verify.
    created_at INTEGER NOT NULL
) STRICT;
