-- Who there is, how they prove it, and whose spaces are whose: the first of the files that make on Postgres what
-- `migrations/sqlite/identity` makes in a file. The numbers go together: what 0006 has made there, 0006 has made here.
--
-- What old code sees while this runs: nothing, these are the schema's first tables.
--
-- Ids are UUID text. Instants are microseconds since 1970-01-01T00:00:00Z by the program's own clock, which may run
-- ahead of the machine's when virtual days are lived. Text is compared by its bytes, as SQLite does, whatever the
-- database's own order of letters.

CREATE TABLE users (
    -- UUID; for a persona also its persona id.
    id TEXT COLLATE "C" PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 200),
    -- Lower case, as typed at registration otherwise; what people log in with.
    email TEXT COLLATE "C" NOT NULL UNIQUE CHECK (email = lower(email) AND email LIKE '_%@_%' AND length(email) <= 254),
    -- What others see.
    name TEXT COLLATE "C" NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    -- Who acts through the account.
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('human', 'persona', 'system')),
    -- What the account may do to others: admins may use the admin API.
    role TEXT COLLATE "C" NOT NULL CHECK (role IN ('user', 'admin')),
    -- What the account has paid for.
    tier TEXT COLLATE "C" NOT NULL CHECK (tier IN ('free', 'pro')),
    -- IANA name; "today" for this account is read in it.
    time_zone TEXT COLLATE "C" NOT NULL CHECK (length(time_zone) BETWEEN 1 AND 100),
    -- When it was registered, microseconds since the epoch.
    created_at BIGINT NOT NULL,
    -- When name, role, tier or time zone last changed, microseconds since the epoch.
    updated_at BIGINT NOT NULL CHECK (updated_at >= created_at),
    -- When the account was shut out because its erasure began, microseconds since the epoch; null for every other
    -- account. It is never taken back: what follows is the deletion.
    suspended_at BIGINT,
    -- Raised when all of an account's tokens are taken back: a token says at which count it was made.
    token_epoch BIGINT NOT NULL DEFAULT 0 CHECK (token_epoch >= 0)
);

-- "Which erasures have begun and not ended" is asked at every start and now and then.
CREATE INDEX users_suspended ON users (suspended_at) WHERE suspended_at IS NOT NULL;

CREATE TABLE credentials (
    -- Whose password it is; an account without a row cannot log in.
    user_id TEXT COLLATE "C" PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    -- PHC string with algorithm, cost, salt and hash. Nothing but Argon2id is ever stored.
    password_hash TEXT COLLATE "C" NOT NULL CHECK (password_hash LIKE '$argon2id$v=19$%'),
    -- When it was last set, microseconds since the epoch.
    changed_at BIGINT NOT NULL
);

CREATE TABLE spaces (
    -- UUID; the tenant whose members share records.
    id TEXT COLLATE "C" PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 200),
    -- What sort of group it is for.
    type TEXT COLLATE "C" NOT NULL CHECK (type IN ('personal', 'brand', 'club', 'family', 'team', 'practice')),
    -- What members see.
    name TEXT COLLATE "C" NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    -- The name in addresses: a-z, 0-9 and hyphens, unique among all spaces.
    slug TEXT COLLATE "C" NOT NULL UNIQUE CHECK (length(slug) BETWEEN 1 AND 100 AND slug ~ '^[a-z0-9-]+$'),
    -- For a personal space its one person, else null: everybody has one personal space at most.
    personal_of TEXT COLLATE "C" UNIQUE REFERENCES users (id),
    -- When it was made, microseconds since the epoch.
    created_at BIGINT NOT NULL,
    CHECK ((type = 'personal') = (personal_of IS NOT NULL))
);

CREATE TABLE space_members (
    -- The space.
    space_id TEXT COLLATE "C" NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    -- The member.
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- What the member may do in the space. The owner's master key seals the space's encrypted fields.
    role TEXT COLLATE "C" NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    -- When they joined, microseconds since the epoch.
    joined_at BIGINT NOT NULL,
    PRIMARY KEY (space_id, user_id)
);

-- "The spaces of this account" is asked on every session.
CREATE INDEX space_members_by_user ON space_members (user_id);

-- A space has one owner at most, so that its key is never in doubt.
CREATE UNIQUE INDEX space_members_one_owner ON space_members (space_id) WHERE role = 'owner';
