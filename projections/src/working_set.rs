//! The rows that a batch of commits needs, held in memory while it is folded: loaded with one query per table,
//! changed by pure functions, and written back with one statement per table.
//!
//! ```text
//! Wanted::of(batch) ── load ──▶ WorkingSet ── fold::fold_commit, commit by commit ──▶ write
//!  (keys, no SQL)                 (rows)         settle, or revert and park
//! ```

mod actions;
mod held;
mod load;
mod wanted;
mod write;

use crate::schema::{
    ChainHead, Deploy, Edge, ErasedSubject, Expectation, Feedback, GatewayCall, Parked, Persona, Record,
    Refusal, Session, Tick, TwinRating,
};

pub(crate) use actions::Actions;
pub(crate) use held::Held;
pub(crate) use wanted::Wanted;

/// See the module. It knows what it was asked to load and nothing else: a fold that looks at a row nobody asked for
/// is told so, and does not take it for absent.
#[derive(Debug, Default)]
pub(crate) struct WorkingSet {
    pub(crate) personas: Held<Persona>,
    pub(crate) ticks: Held<Tick>,
    pub(crate) actions: Actions,
    pub(crate) feedback: Held<Feedback>,
    pub(crate) twins: Held<TwinRating>,
    pub(crate) edges: Held<Edge>,
    pub(crate) expectations: Held<Expectation>,
    pub(crate) records: Held<Record>,
    pub(crate) sessions: Held<Session>,
    pub(crate) refusals: Held<Refusal>,
    pub(crate) calls: Held<GatewayCall>,
    pub(crate) parked: Held<Parked>,
    pub(crate) erased_subjects: Held<ErasedSubject>,
    pub(crate) chain_heads: Held<ChainHead>,
    pub(crate) deploys: Held<Deploy>,
    erasures: Vec<Erasure>,
    /// How many of them were there before the commit that is being folded.
    erasures_settled: usize,
}

/// Rows that go whoever holds them: those in the tables are never loaded for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Erasure {
    pub(crate) table: &'static str,
    pub(crate) column: &'static str,
    pub(crate) value: String,
}

impl WorkingSet {
    /// A set for empty tables: what is not in it does not exist.
    #[cfg(test)]
    pub(crate) fn of_nothing() -> Self {
        let mut set = Self::default();
        set.personas.assume_absent();
        set.ticks.assume_absent();
        set.actions.assume_absent();
        set.feedback.assume_absent();
        set.twins.assume_absent();
        set.edges.assume_absent();
        set.expectations.assume_absent();
        set.records.assume_absent();
        set.sessions.assume_absent();
        set.calls.assume_absent();
        set.deploys.assume_absent();
        set
    }

    #[cfg(test)]
    pub(crate) fn erasures(&self) -> &[Erasure] {
        &self.erasures
    }

    /// Keeps what the present commit changed.
    pub(crate) fn settle(&mut self) {
        self.personas.settle();
        self.ticks.settle();
        self.actions.settle();
        self.feedback.settle();
        self.twins.settle();
        self.edges.settle();
        self.expectations.settle();
        self.records.settle();
        self.sessions.settle();
        self.refusals.settle();
        self.calls.settle();
        self.parked.settle();
        self.erased_subjects.settle();
        self.chain_heads.settle();
        self.deploys.settle();
        self.erasures_settled = self.erasures.len();
    }

    /// Takes back what the present commit changed.
    pub(crate) fn revert(&mut self) {
        self.personas.revert();
        self.ticks.revert();
        self.actions.revert();
        self.feedback.revert();
        self.twins.revert();
        self.edges.revert();
        self.expectations.revert();
        self.records.revert();
        self.sessions.revert();
        self.refusals.revert();
        self.calls.revert();
        self.parked.revert();
        self.erased_subjects.revert();
        self.chain_heads.revert();
        self.deploys.revert();
        self.erasures.truncate(self.erasures_settled);
    }

    /// Everything of the persona, here and in the tables: its own rows, its sessions, calls and refusals.
    pub(crate) fn erase_persona(&mut self, persona: &str) {
        self.personas.remove_where(|row| row.id == persona);
        self.ticks.remove_where(|row| row.persona_id == persona);
        self.actions.remove_where(|row| row.persona_id == persona);
        self.feedback.remove_where(|row| row.persona_id == persona);
        self.twins.remove_where(|row| row.persona_id == persona);
        self.edges.remove_where(|row| row.persona_id == persona);
        self.expectations
            .remove_where(|row| row.maker_id == persona || row.partner_id == persona);
        self.sessions.remove_where(|row| row.user_id == persona);
        self.refusals.remove_where(|row| row.user_id == persona);
        self.calls.remove_where(|row| row.user_id == persona);
        for (table, column) in [
            ("personas", "id"),
            ("ticks", "persona_id"),
            ("persona_actions", "persona_id"),
            ("persona_feedback", "persona_id"),
            ("twin_ratings", "persona_id"),
            ("edge_coverage", "persona_id"),
            ("expectations", "maker_id"),
            ("expectations", "partner_id"),
            ("sessions", "user_id"),
            ("refusals", "user_id"),
            ("gateway_calls", "user_id"),
        ] {
            self.erase_in_tables(table, column, persona);
        }
    }

    /// Every record of the space.
    pub(crate) fn erase_space(&mut self, space: &str) {
        self.records.remove_where(|row| row.space_id == space);
        self.erase_in_tables("records", "space_id", space);
    }

    /// The newest link of the subject's chain.
    pub(crate) fn erase_chain_head(&mut self, subject: &str) {
        self.chain_heads.remove_where(|row| row.subject == subject);
        self.erase_in_tables("chain_heads", "subject", subject);
    }

    /// What was parked under `subject`.
    pub(crate) fn erase_parked(&mut self, subject: &str) {
        self.parked.remove_where(|row| row.subject == subject);
        self.erase_in_tables("parked_events", "subject", subject);
    }

    fn erase_in_tables(&mut self, table: &'static str, column: &'static str, value: &str) {
        self.erasures.push(Erasure {
            table,
            column,
            value: value.to_owned(),
        });
    }
}
