-- Invitations: how somebody comes into a space with the consent of both sides.
--
-- What old code sees while this runs: a table it does not read.

CREATE TABLE space_invitations (
    -- UUID.
    id TEXT COLLATE "C" PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 200),
    -- The space it lets into.
    space_id TEXT COLLATE "C" NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    -- Who is invited, lower case. There need not be such an account yet.
    email TEXT COLLATE "C" NOT NULL CHECK (email = lower(email) AND email LIKE '_%@_%' AND length(email) <= 254),
    -- What the invited may do in the space once they accept.
    role TEXT COLLATE "C" NOT NULL CHECK (role IN ('admin', 'member')),
    -- Who invited.
    invited_by TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- When, microseconds since the epoch.
    created_at BIGINT NOT NULL,
    -- From when on it can no more be accepted, microseconds since the epoch.
    expires_at BIGINT NOT NULL CHECK (expires_at > created_at),
    -- Inviting somebody again renews the invitation.
    UNIQUE (space_id, email)
);

-- "What am I invited to" is asked by everybody now and then.
CREATE INDEX space_invitations_by_email ON space_invitations (email);
-- What a deletion takes along.
CREATE INDEX space_invitations_by_inviter ON space_invitations (invited_by);
