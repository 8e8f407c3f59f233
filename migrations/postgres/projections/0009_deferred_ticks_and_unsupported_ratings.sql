-- A tick can be deferred or refused, and a rating can be unsupported: given, and resting on nothing that happened. Who rated
-- stands beside every rating.
-- What old code sees: outcomes and a state it does not know, which it shows as they are, and columns it neither reads nor
-- writes. Unsupported stars are in a column of their own, so that an old mean does not count them.

ALTER TABLE ticks
    DROP CONSTRAINT ticks_outcome_check,
    ADD CONSTRAINT ticks_outcome_check CHECK (outcome IN ('completed', 'abandoned', 'limit', 'failed', 'interrupted', 'deferred', 'refused'));

ALTER TABLE persona_feedback
    DROP CONSTRAINT persona_feedback_state_check,
    DROP CONSTRAINT persona_feedback_check1,
    -- stars that were given and rest on nothing that happened, 1 to 5; NULL unless the state is 'unsupported'
    ADD COLUMN claimed_rating BIGINT CHECK (claimed_rating BETWEEN 1 AND 5),
    -- which brain rated; NULL where the log does not say
    ADD COLUMN brain TEXT COLLATE "C",
    -- its model, where it has one
    ADD COLUMN model TEXT COLLATE "C",
    -- version of its prompt, or of the simulated brain's rules
    ADD COLUMN prompt_version BIGINT,
    ADD CONSTRAINT persona_feedback_state_check CHECK (state IN ('rated', 'unsupported', 'failed')),
    ADD CONSTRAINT persona_feedback_claimed_check CHECK ((state = 'unsupported') = (claimed_rating IS NOT NULL)),
    ADD CONSTRAINT persona_feedback_source_given_check CHECK ((state = 'failed') = (source IS NULL));
