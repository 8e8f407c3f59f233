//! After a failure: closing a tick that was left unfinished, and halting a persona.

use std::time::Duration;

use events::{
    Commit, CommitId, ERROR_CHARS_MAX, Event, ExpectedSeq, PersonaHalted, PersonaId, Subject, TickId,
    TickInterrupted, capped,
};

use super::record::{ANSWER_WITHIN, RecordError, fold_subject};
use crate::diary::Diary;
use crate::roster::{RosterEntry, UnfinishedTick};
use crate::stage::Stage;
use crate::tick::Taken;

/// Tries of a guarded append whose subject keeps moving.
const TRIES_MAX: u32 = 5;
/// What a tick may take beyond its deadline to be written down as ended.
const OVERDUE_BY: Duration = Duration::from_mins(1);
/// Before the second try to close a tick whose log was lost, doubled before each further one; at most; and how many.
const CLOSE_AGAIN_AFTER: Duration = Duration::from_millis(250);
const CLOSE_AGAIN_AT_MOST: Duration = Duration::from_secs(10);
const CLOSE_TRIES_MAX: u32 = 12;

/// Closes the persona's unfinished tick, if it has one, and returns the persona as it is then with what it
/// remembers. Calls without an
/// outcome stay unknown; none is sent again.
///
/// Whoever calls this knows that the tick does not run any more in this process. Alone on its log, a runner takes it
/// that nobody else runs it. Where several share a work queue, it may be another's: then it is closed when the queue
/// handed this very tick on because nobody kept it, or when it is older than any tick can be. Should its runner live
/// after all, the log's guard keeps it from doing anything more.
pub(crate) async fn close_unfinished(
    stage: &Stage,
    persona_id: &PersonaId,
    taken: Option<Taken>,
) -> Result<Option<(RosterEntry, Diary)>, RecordError> {
    for _ in 0..TRIES_MAX {
        let Some((entry, diary)) = fold_subject(stage, persona_id).await? else {
            return Ok(None);
        };
        let Some(open) = &entry.unfinished else {
            return Ok(Some((entry, diary)));
        };
        let was_handed_on =
            taken.is_some_and(|taken| taken.was_taken_before && taken.number == entry.last_number);
        if stage.shares_ticks() && !was_handed_on && !is_overdue(stage, open) {
            return Err(RecordError::Elsewhere);
        }
        close(
            stage,
            &entry,
            open,
            "found unfinished: its runner ended before it did",
        )
        .await?;
    }
    Err(RecordError::Overtaken(
        "others keep writing to the subject".to_owned(),
    ))
}

/// Closes this one tick if it is still unfinished: its log was lost in the middle of it. Tries for a good minute; after
/// that the scheduler's looks find it.
pub(crate) async fn close_soon(stage: &Stage, persona_id: &PersonaId, tick_id: &TickId) {
    let mut pause = CLOSE_AGAIN_AFTER;
    for _ in 0..CLOSE_TRIES_MAX {
        match close_this(stage, persona_id, tick_id).await {
            Ok(()) => return,
            Err(error) => {
                tracing::debug!(actor.id = %persona_id, %error, "an unfinished tick cannot be closed yet");
            }
        }
        stage.clock.sleep(pause).await;
        pause = (pause * 2).min(CLOSE_AGAIN_AT_MOST);
    }
    tracing::warn!(actor.id = %persona_id, "an unfinished tick could not be closed; the next look tries again");
}

async fn close_this(stage: &Stage, persona_id: &PersonaId, tick_id: &TickId) -> Result<(), RecordError> {
    loop {
        let entry = fold_subject(stage, persona_id).await?;
        let Some((entry, open)) = entry.and_then(|(entry, _)| Some((entry.clone(), entry.unfinished?)))
        else {
            return Ok(());
        };
        if open.tick_id != *tick_id {
            return Ok(());
        }
        close(stage, &entry, &open, "its runner lost the log before it ended").await?;
    }
}

/// Whether no runner can be living this tick any more: each ends its own at the deadline.
pub(crate) fn is_overdue(stage: &Stage, open: &UnfinishedTick) -> bool {
    let age = stage.clock.now().duration_since(open.started_at);
    Duration::try_from(age).is_ok_and(|age| age > stage.settings.tick_deadline + OVERDUE_BY)
}

/// Records that the persona stays down, together with the end of what it left unfinished.
pub(crate) async fn halt(stage: &Stage, halted: PersonaHalted) -> Result<(), RecordError> {
    for _ in 0..TRIES_MAX {
        let Some((entry, _)) = fold_subject(stage, &halted.persona_id).await? else {
            return Ok(());
        };
        if entry.halted.is_some() {
            return Ok(());
        }
        let mut events = Vec::new();
        if let Some(open) = &entry.unfinished {
            events.push(interrupted(stage, open, &halted.reason));
        }
        events.push(halted.clone().into());
        let after = entry.last_seq.to_string();
        let id = CommitId::derived(&["halted", &stage.runner, halted.persona_id.as_str(), &after]);
        let commit = Commit::new(
            id,
            Subject::Persona(halted.persona_id.clone()),
            stage.clock.now(),
            events,
        );
        append(stage, &commit, &entry).await?;
    }
    Err(RecordError::Overtaken(
        "others keep writing to the subject".to_owned(),
    ))
}

/// One guarded try to say that `open` was interrupted.
async fn close(
    stage: &Stage,
    entry: &RosterEntry,
    open: &UnfinishedTick,
    reason: &str,
) -> Result<(), RecordError> {
    let id = CommitId::derived(&["interrupted", &stage.runner, open.tick_id.as_str()]);
    let subject = Subject::Persona(entry.description.persona_id.clone());
    let events = vec![interrupted(stage, open, reason)];
    let commit = Commit::new(id, subject, stage.clock.now(), events).in_tick(open.tick_id.clone());
    append(stage, &commit, entry).await
}

/// One guarded try. Refused means that somebody wrote in between: the caller folds again and looks.
async fn append(stage: &Stage, commit: &Commit, entry: &RosterEntry) -> Result<(), RecordError> {
    let append = stage.log.append(commit, ExpectedSeq::Exactly(entry.last_seq));
    match stage.within(ANSWER_WITHIN, append).await {
        Some(answer) => answer.map(|_| ()).map_err(RecordError::from),
        None => Err(RecordError::Log(format!(
            "no answer within {} s",
            ANSWER_WITHIN.as_secs()
        ))),
    }
}

fn interrupted(stage: &Stage, open: &UnfinishedTick, reason: &str) -> Event {
    let (tick_id, found_at) = (open.tick_id.clone(), stage.clock.now());
    TickInterrupted {
        tick_id,
        reason: capped(reason, ERROR_CHARS_MAX),
        found_at,
    }
    .into()
}
