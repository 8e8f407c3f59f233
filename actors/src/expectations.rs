//! What personas expect of one another: what one put into a shared space, the others find at their next tick there.
//!
//! The books are a fold of the log, as the purse's are, so that every runner knows what is open and a crash forgets
//! nothing. They hold ids alone, and of each persona's things the newest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use events::{
    Event, ExpectationChecked, ExpectationRaised, KnownObject, PersonaId, RecordedCommit, SpaceId, StreamSeq,
    Subject, TickTrigger,
};

/// Things of one persona that are waited for, the newest.
const OPEN_MAX: usize = 40;

/// One thing that somebody ought to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) thing: KnownObject,
    pub(crate) space_id: SpaceId,
    pub(crate) maker: PersonaId,
    /// Somebody changed or removed it since.
    pub(crate) is_changed: bool,
    /// Its maker acts now, and may be changing it.
    pub(crate) is_in_hand: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Expectations(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    /// Personas that have partners.
    sharing: BTreeSet<PersonaId>,
    /// Those of them that live a tick now.
    acting: BTreeSet<PersonaId>,
    /// By the place it was raised at and the thing's id, oldest first.
    open: BTreeMap<(StreamSeq, String), Open>,
}

#[derive(Debug)]
struct Open {
    thing: KnownObject,
    space_id: SpaceId,
    maker: PersonaId,
    waiting: BTreeSet<PersonaId>,
    is_changed: bool,
}

impl Expectations {
    /// Forgets what the fold has seen: it begins anew.
    pub(crate) fn fold_anew(&self) {
        *self.books() = Books::default();
    }

    /// Takes in one commit; what is no persona's changes nothing.
    pub(crate) fn fold(&self, recorded: &RecordedCommit) {
        let Subject::Persona(persona_id) = &recorded.commit.subject else {
            return;
        };
        let mut books = self.books();
        for (_, event) in recorded.events() {
            books.fold(persona_id, recorded.seq, event);
        }
    }

    /// What `persona_id` ought to find in `space_id`, oldest first.
    pub(crate) fn of(&self, persona_id: &PersonaId, space_id: &SpaceId) -> Vec<Expected> {
        let books = self.books();
        let is_mine = |open: &&Open| open.space_id == *space_id && open.waiting.contains(persona_id);
        let mine = books.open.values().filter(is_mine);
        mine.map(|open| Expected {
            thing: open.thing.clone(),
            space_id: open.space_id.clone(),
            maker: open.maker.clone(),
            is_changed: open.is_changed,
            is_in_hand: books.acting.contains(&open.maker),
        })
        .collect()
    }

    /// Those among `members` who are personas with partners, and so look when they come.
    pub(crate) fn who_looks(&self, members: &[PersonaId]) -> Vec<PersonaId> {
        let books = self.books();
        let looks = |member: &&PersonaId| books.sharing.contains(*member);
        members.iter().filter(looks).cloned().collect()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // A panic while it was held left whole entries: each change is one insertion or removal.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn fold(&mut self, persona_id: &PersonaId, seq: StreamSeq, event: &Event) {
        match event {
            Event::PersonaEnrolled(enrolled) => self.described(persona_id, &enrolled.0.partners),
            Event::PersonaRevised(revised) => self.described(persona_id, &revised.0.partners),
            Event::PersonaErased(_) => self.erase(persona_id),
            Event::TickStarted(started)
                if started.trigger != TickTrigger::External && self.sharing.contains(persona_id) =>
            {
                self.acting.insert(persona_id.clone());
            }
            Event::TickFinished(_) => {
                self.acting.remove(persona_id);
            }
            Event::TickInterrupted(_) => {
                self.acting.remove(persona_id);
                // What it changed before it was cut is in no diary.
                let of_persona = self.open.values_mut().filter(|open| open.maker == *persona_id);
                of_persona.for_each(|open| open.is_changed = true);
            }
            Event::DiaryWritten(written) => {
                for open in self.open.values_mut() {
                    open.is_changed |= written.closed.contains(&open.thing.id);
                }
            }
            Event::ExpectationRaised(raised) => self.raise(persona_id, seq, raised),
            Event::ExpectationChecked(checked) => self.check(persona_id, checked),
            _ => {}
        }
    }

    fn described(&mut self, persona_id: &PersonaId, partners: &[String]) {
        if partners.is_empty() {
            self.sharing.remove(persona_id);
        } else {
            self.sharing.insert(persona_id.clone());
        }
    }

    fn erase(&mut self, persona_id: &PersonaId) {
        self.sharing.remove(persona_id);
        self.acting.remove(persona_id);
        self.open.retain(|_, open| {
            open.waiting.remove(persona_id);
            open.maker != *persona_id && !open.waiting.is_empty()
        });
    }

    fn raise(&mut self, maker: &PersonaId, seq: StreamSeq, raised: &ExpectationRaised) {
        let open = Open {
            thing: raised.thing.clone(),
            space_id: raised.space_id.clone(),
            maker: maker.clone(),
            waiting: raised.partners.iter().cloned().collect(),
            is_changed: false,
        };
        self.open.insert((seq, raised.thing.id.clone()), open);
        let of_maker = || self.open.iter().filter(|(_, open)| open.maker == *maker);
        let oldest = of_maker().next().map(|(key, _)| key.clone());
        if of_maker().count() > OPEN_MAX
            && let Some(oldest) = oldest
        {
            self.open.remove(&oldest);
        }
    }

    fn check(&mut self, looker: &PersonaId, checked: &ExpectationChecked) {
        self.open.retain(|_, open| {
            if open.thing.id == checked.thing.id && open.space_id == checked.space_id {
                open.waiting.remove(looker);
            }
            !open.waiting.is_empty()
        });
    }
}

#[cfg(test)]
mod tests;
