-- The newest link of each persona's chain of commits, kept outside the log: a chain that was written anew, or that lost
-- its end, does not lead to it.
-- What old code sees: one more table, which it neither reads nor writes. Heads of commits that old code folds are missing
-- until the next commit on the same subject or a rebuild.

CREATE TABLE chain_heads (
    -- subject on the log, such as 'dramatis.persona.<id>'
    subject TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- sequence of the newest commit on it
    seq     BIGINT NOT NULL CHECK (seq > 0),
    -- its link, unpadded URL-safe base64; Dramatis-Chain header
    hash    TEXT COLLATE "C" NOT NULL
);
