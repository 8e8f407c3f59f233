-- Who moved the checkpoint last. A projector that was overtaken by another stands by; one that was overtaken by a rebuild
-- folds on at once.
-- What old code sees: one more column with a default, which it neither reads nor writes. A projector of new code that is
-- overtaken by old code after a rebuild tries again at once instead of standing by.

ALTER TABLE projection_checkpoints
    -- 'fold' or 'rebuild'
    ADD COLUMN moved_by TEXT NOT NULL DEFAULT 'fold' CHECK (moved_by IN ('fold', 'rebuild'));
