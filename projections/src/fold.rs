//! Events to rows: one function per event, each told where the event stands.

mod actions;
mod feedback;
mod personas;
mod records;
mod sessions;
mod ticks;

use events::{Delivery, Event, PersonaId, RecordedCommit, SpaceId, StreamSeq, Subject, UserId};
use jiff::Timestamp;

use crate::database::DbConnection;
use crate::error::{FoldError, Stage};

/// Where an event stands: all a fold may know beside the event itself and the rows.
#[derive(Debug)]
struct Place<'a> {
    seq: StreamSeq,
    ordinal: u32,
    subject: &'a Subject,
    /// The writer's time of the commit, for events that carry none of their own.
    time: Timestamp,
}

/// Folds one message of the log.
///
/// # Errors
/// [`FoldError::Park`] for what cannot be read or does not fit; the caller rolls back what was written of it.
pub(crate) async fn fold_delivery(db: &mut DbConnection, delivery: &Delivery) -> Result<(), FoldError> {
    match delivery {
        Delivery::Commit(recorded) => fold_commit(db, recorded).await,
        Delivery::Undecodable(message) => Err(FoldError::Park {
            stage: Stage::Decode,
            reason: message.error.to_string(),
        }),
    }
}

/// How many events `delivery` holds; none where it cannot be read.
pub(crate) fn events_in(delivery: &Delivery) -> u64 {
    match delivery {
        Delivery::Commit(recorded) => recorded.commit.events.len() as u64,
        Delivery::Undecodable(_) => 0,
    }
}

async fn fold_commit(db: &mut DbConnection, recorded: &RecordedCommit) -> Result<(), FoldError> {
    let RecordedCommit { seq, commit, .. } = recorded;
    for (ordinal, event) in recorded.events() {
        let place = Place {
            seq: *seq,
            ordinal,
            subject: &commit.subject,
            time: commit.time,
        };
        fold_event(db, &place, event).await.map_err(|error| match error {
            FoldError::Park { stage, reason } => FoldError::Park {
                stage,
                reason: format!("event {ordinal} ({}): {reason}", event.type_name()),
            },
            other => other,
        })?;
    }
    Ok(())
}

async fn fold_event(db: &mut DbConnection, place: &Place<'_>, event: &Event) -> Result<(), FoldError> {
    match event {
        Event::PersonaEnrolled(enrolled) => personas::described(db, place, &enrolled.0).await,
        Event::PersonaRevised(revised) => personas::described(db, place, &revised.0).await,
        Event::PersonaErased(erased) => personas::erased(db, place, erased).await,
        Event::PersonaHalted(halted) => personas::halted(db, place, halted).await,
        Event::TickStarted(started) => ticks::started(db, place, started).await,
        Event::TickFinished(finished) => ticks::finished(db, place, finished).await,
        Event::TickInterrupted(interrupted) => ticks::interrupted(db, place, interrupted).await,
        Event::ToolCalled(called) => actions::called(db, place, called).await,
        Event::ToolReturned(returned) => actions::returned(db, place, returned).await,
        Event::ToolFailed(failed) => actions::failed(db, place, failed).await,
        Event::Rated(rated) => feedback::rated(db, place, rated).await,
        Event::RatingFailed(failed) => feedback::failed(db, place, failed).await,
        Event::SessionOpened(opened) => sessions::opened(db, place, opened).await,
        Event::SessionClosed(closed) => sessions::closed(db, place, closed).await,
        Event::CallRefused(refused) => sessions::refused(db, place, refused).await,
        Event::RecordChanged(changed) => records::changed(db, place, changed).await,
        // What a model request cost is summed up by its tick; a table of its own comes with the model brains.
        Event::ModelCalled(_) | Event::Unknown(_) => Ok(()),
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
