//! After a failure: closing a tick that was left unfinished, and halting a persona.

use events::{
    Commit, CommitId, ERROR_CHARS_MAX, Event, ExpectedSeq, PersonaHalted, PersonaId, Subject,
    TickInterrupted, capped,
};

use super::record::{ANSWER_WITHIN, RecordError, fold_subject};
use crate::diary::Diary;
use crate::roster::{RosterEntry, UnfinishedTick};
use crate::stage::Stage;

/// Tries of a guarded append whose subject keeps moving.
const TRIES_MAX: u32 = 5;

/// Closes the persona's unfinished tick, if it has one, and returns the persona as it is then with what it
/// remembers. Calls without an
/// outcome stay unknown; none is sent again.
///
/// Whoever calls this knows that the tick does not run any more in this process, and takes it that no other process
/// runs it: one runner per log, until ticks are handed out by a work queue.
pub(crate) async fn close_unfinished(
    stage: &Stage,
    persona_id: &PersonaId,
) -> Result<Option<(RosterEntry, Diary)>, RecordError> {
    for _ in 0..TRIES_MAX {
        let Some((entry, diary)) = fold_subject(stage, persona_id).await? else {
            return Ok(None);
        };
        let Some(open) = &entry.unfinished else {
            return Ok(Some((entry, diary)));
        };
        let id = CommitId::derived(&["interrupted", &stage.runner, open.tick_id.as_str()]);
        let events = vec![interrupted(
            stage,
            open,
            "found unfinished: its runner ended before it did",
        )];
        let commit = Commit::new(
            id,
            Subject::Persona(persona_id.clone()),
            stage.clock.now(),
            events,
        )
        .in_tick(open.tick_id.clone());
        append(stage, &commit, &entry).await?;
    }
    Err(RecordError::Overtaken(
        "others keep writing to the subject".to_owned(),
    ))
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
