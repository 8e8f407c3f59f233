//! Events to rows: one pure function per event, each told where the event stands. They look at and change the rows of
//! a [`WorkingSet`] and nothing else; what they may look at is named in `working_set/wanted.rs`.

mod actions;
mod calls;
mod deploys;
mod edges;
mod expectations;
mod feedback;
mod personas;
mod records;
mod sessions;
#[cfg(test)]
mod tests;
mod ticks;
mod twins;

use events::{
    Delivery, DeployName, Event, PersonaId, RecordedCommit, SpaceId, StreamSeq, Subject, TickId, ToolCalled,
    UserId, capped,
};
use jiff::Timestamp;

use crate::column::bigint;
use crate::error::{FoldError, Stage};
use crate::schema::{ChainHead, Parked};
use crate::working_set::WorkingSet;

pub(crate) use calls::PENDING;

/// Raised with every change of what a fold makes of an event: a copy that another version began is not gone on with.
pub(crate) const FOLD_VERSION: u32 = 10;

/// Characters of a reason kept with a parked commit.
const REASON_CHARS_MAX: usize = 500;
/// Bytes of a name that is part of a key. Postgres cannot index rows beyond 2,704 bytes, and what one database refuses
/// the other must refuse too.
const KEY_NAME_BYTES_MAX: usize = 500;

/// Where an event stands: all a fold may know beside the event itself and the rows.
#[derive(Debug)]
struct Place<'a> {
    seq: StreamSeq,
    ordinal: u32,
    subject: &'a Subject,
    /// The writer's time of the commit, for events that carry none of their own.
    time: Timestamp,
}

/// Folds one message of the log, or parks it whole; says whether it was folded.
///
/// # Errors
/// [`FoldError::Halt`] for a mistake of this program.
pub(crate) fn fold_or_park(set: &mut WorkingSet, delivery: &Delivery) -> Result<bool, FoldError> {
    let is_folded = match fold_delivery(set, delivery) {
        Ok(()) => {
            note_chain_head(set, delivery);
            true
        }
        Err(FoldError::Park { stage, reason }) => {
            set.revert();
            note_chain_head(set, delivery);
            park(set, delivery, stage, &reason);
            false
        }
        Err(error) => return Err(error),
    };
    set.settle();
    Ok(is_folded)
}

/// Keeps the newest link of the chain, outside the log: also of a commit that cannot be folded, which stands in the
/// log all the same. An erasure ends its subject's chain.
fn note_chain_head(set: &mut WorkingSet, delivery: &Delivery) {
    let Some((subject, link)) = delivery.link() else {
        return;
    };
    let Some(stamp) = link.stamp else { return };
    if let Delivery::Commit(recorded) = delivery {
        let events = &recorded.commit.events;
        if events
            .iter()
            .any(|event| matches!(event, Event::PersonaErased(_) | Event::SpaceErased(_)))
        {
            return;
        }
    }
    set.chain_heads.put(ChainHead {
        subject,
        seq: bigint(link.seq.0),
        hash: stamp.own.to_string(),
    });
}

/// Folds one message of the log.
///
/// # Errors
/// [`FoldError::Park`] for what cannot be read or does not fit; the caller reverts what was changed for it.
pub(crate) fn fold_delivery(set: &mut WorkingSet, delivery: &Delivery) -> Result<(), FoldError> {
    match delivery {
        Delivery::Commit(recorded) => fold_commit(set, recorded),
        Delivery::Undecodable(message) => Err(FoldError::Park {
            stage: Stage::Decode,
            reason: message.error.to_string(),
        }),
    }
}

/// Notes that `delivery` could not be folded.
pub(crate) fn park(set: &mut WorkingSet, delivery: &Delivery, stage: Stage, reason: &str) {
    let subject = delivery.subject();
    // Not the reason: it may quote what was written, and the program's log outlives an erasure.
    tracing::warn!(
        stream.seq = delivery.seq().0,
        subject,
        stage = stage.as_str(),
        "a commit was parked; `dramatis parked list` says why"
    );
    set.parked.put(Parked {
        seq: bigint(delivery.seq().0),
        commit_id: delivery.commit_id().map(|id| id.to_string()),
        subject,
        stage: stage.as_str().to_owned(),
        reason: capped(reason, REASON_CHARS_MAX),
    });
}

/// How many events `delivery` holds; none where it cannot be read.
pub(crate) fn events_in(delivery: &Delivery) -> u64 {
    match delivery {
        Delivery::Commit(recorded) => recorded.commit.events.len() as u64,
        Delivery::Undecodable(_) => 0,
    }
}

/// The row id of a call.
pub(crate) fn action_id(called: &ToolCalled) -> String {
    format!("{}-{}-{}", called.tick_id, called.index, called.tool)
}

/// The row id of a rating.
pub(crate) fn feedback_id(tick: &TickId, module: &str) -> String {
    format!("{tick}-{module}")
}

/// Whether `name` can be part of a key in both databases.
pub(crate) fn fits_key(name: &str) -> bool {
    name.len() <= KEY_NAME_BYTES_MAX && !name.contains('\0')
}

fn must_fit_key(what: &str, name: &str) -> Result<(), FoldError> {
    if fits_key(name) {
        Ok(())
    } else {
        Err(FoldError::park(format!(
            "the {what} has {} bytes or a zero byte, which no key may have",
            name.len()
        )))
    }
}

fn fold_commit(set: &mut WorkingSet, recorded: &RecordedCommit) -> Result<(), FoldError> {
    let RecordedCommit { seq, commit, .. } = recorded;
    for (ordinal, event) in recorded.events() {
        let place = Place {
            seq: *seq,
            ordinal,
            subject: &commit.subject,
            time: commit.time,
        };
        fold_event(set, &place, event).map_err(|error| match error {
            FoldError::Park { stage, reason } => FoldError::Park {
                stage,
                reason: format!("event {ordinal} ({}): {reason}", event.type_name()),
            },
            other => other,
        })?;
    }
    Ok(())
}

fn fold_event(set: &mut WorkingSet, place: &Place<'_>, event: &Event) -> Result<(), FoldError> {
    match event {
        Event::PersonaEnrolled(enrolled) => personas::described(set, place, &enrolled.0),
        Event::PersonaRevised(revised) => personas::described(set, place, &revised.0),
        Event::PersonaErased(erased) => personas::erased(set, place, erased),
        Event::PersonaHalted(halted) => personas::halted(set, place, halted),
        Event::TickStarted(started) => ticks::started(set, place, started),
        Event::TickFinished(finished) => ticks::finished(set, place, finished),
        Event::TickInterrupted(interrupted) => ticks::interrupted(set, place, interrupted),
        Event::SpaceEntered(entered) => ticks::entered(set, place, entered),
        Event::ToolCalled(called) => actions::called(set, place, called),
        Event::ToolReturned(returned) => actions::returned(set, place, returned),
        Event::ToolFailed(failed) => actions::failed(set, place, failed),
        Event::Rated(rated) => feedback::rated(set, place, rated),
        Event::RatingFailed(failed) => feedback::failed(set, place, failed),
        Event::TwinRated(rated) => twins::rated(set, place, rated),
        Event::EdgeTried(tried) => edges::tried(set, place, tried),
        Event::ExpectationRaised(raised) => expectations::raised(set, place, raised),
        Event::ExpectationChecked(checked) => expectations::checked(set, place, checked),
        Event::SessionOpened(opened) => sessions::opened(set, place, opened),
        Event::SessionClosed(closed) => sessions::closed(set, place, closed),
        Event::CallRefused(refused) => sessions::refused(set, place, refused),
        Event::CallStarted(started) => calls::started(set, place, started),
        Event::CallEnded(ended) => calls::ended(set, place, ended),
        Event::RecordChanged(changed) => records::changed(set, place, changed),
        Event::SpaceErased(erased) => records::erased(set, place, erased),
        Event::DeployMarked(marked) => deploys::marked(set, place, marked),
        // What a model request cost is summed up by its tick; a table of its own comes with the model brains.
        Event::ModelAsked(_) | Event::ModelCalled(_) | Event::DiaryWritten(_) | Event::Unknown(_) => Ok(()),
    }
}

impl Place<'_> {
    /// The persona whose subject this is: its events name their tick, and only the subject says whose it is.
    fn persona(&self) -> Result<&PersonaId, FoldError> {
        match self.subject {
            Subject::Persona(id) => Ok(id),
            other => Err(FoldError::park(format!(
                "stands under {other}, which is no persona's subject"
            ))),
        }
    }

    /// Refuses an event about another persona than the subject's.
    fn is_about_persona(&self, id: &PersonaId) -> Result<(), FoldError> {
        self.named(self.persona()? == id, id.as_str())
    }

    /// Refuses an event about another space than the subject's: no commit reaches over a tenant's border.
    fn is_about_space(&self, id: &SpaceId) -> Result<(), FoldError> {
        self.named(
            matches!(self.subject, Subject::Record(space) if space == id),
            id.as_str(),
        )
    }

    /// Refuses an event about another user than the subject's.
    fn is_about_user(&self, id: &UserId) -> Result<(), FoldError> {
        self.named(
            matches!(self.subject, Subject::Session(user) if user == id),
            id.as_str(),
        )
    }

    /// Refuses an event about another deployment than the subject's.
    fn is_about_deploy(&self, name: &DeployName) -> Result<(), FoldError> {
        self.named(
            matches!(self.subject, Subject::Deploy(deploy) if deploy == name),
            name.as_str(),
        )
    }

    fn named(&self, fits: bool, id: &str) -> Result<(), FoldError> {
        if fits {
            Ok(())
        } else {
            Err(FoldError::park(format!(
                "names {id}, but stands under {}",
                self.subject
            )))
        }
    }
}
