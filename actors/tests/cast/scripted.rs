//! A brain that does as the test says.

use std::fmt;
use std::sync::Barrier;

use actors::{
    Brain, BrainError, BrainIdentity, Conversation, ModuleDigest, PlannedCall, RateStep, RatingDraft, Stars,
    Step, TickView,
};
use async_trait::async_trait;
use events::{Intent, RatingSource, TickOutcome};
use serde_json::{Value, json};

type StepFn = Box<dyn Fn(&TickView<'_>) -> Result<Step, BrainError> + Send + Sync>;

/// See the module. It gives every module it used four stars.
pub(crate) struct Scripted {
    step: StepFn,
    /// Its name is asked for before a tick begins; this one panics instead, when the test wants an actor to fail.
    pub(crate) panics_when_named: bool,
    /// Two runners that share this brain wait for one another here, when both have folded and neither has begun.
    pub(crate) meeting: Option<Barrier>,
    /// Asked for its ratings, it thinks for ever.
    pub(crate) never_rates: bool,
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

impl Scripted {
    pub(crate) fn new(
        step: impl Fn(&TickView<'_>) -> Result<Step, BrainError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            step: Box::new(step),
            panics_when_named: false,
            meeting: None,
            never_rates: false,
        }
    }

    /// Plays these rounds of calls, one after the other, then is done.
    pub(crate) fn rounds(rounds: Vec<Vec<PlannedCall>>) -> Self {
        Self::new(move |tick| {
            let mut made = 0;
            for round in &rounds {
                if made == tick.past.len() {
                    return Ok(Step::Calls(round.clone()));
                }
                made += round.len();
            }
            done()
        })
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it is a step's whole answer")]
pub(crate) fn done() -> Result<Step, BrainError> {
    Ok(Step::Done {
        outcome: TickOutcome::Completed,
        note: None,
    })
}

/// A valid call with these arguments.
pub(crate) fn call(tool: &str, arguments: Value) -> PlannedCall {
    PlannedCall {
        tool: tool.to_owned(),
        arguments,
        intent: Intent::Valid,
        mistake: None,
        retry_of: None,
        unsent: None,
    }
}

/// A valid call that waits for `gate`.
pub(crate) fn gated(tool: &str, gate: &str) -> PlannedCall {
    call(tool, json!({"gate": gate}))
}

#[async_trait]
impl Brain for Scripted {
    fn identity(&self) -> BrainIdentity {
        assert!(!self.panics_when_named, "this brain has no name");
        if let Some(meeting) = &self.meeting {
            tokio::task::block_in_place(|| meeting.wait());
        }
        BrainIdentity {
            name: "scripted",
            model: None,
            prompt_version: 1,
        }
    }

    async fn step(&self, tick: &TickView<'_>, _: &mut Conversation) -> Result<Step, BrainError> {
        (self.step)(tick)
    }

    async fn rate(
        &self,
        _: &TickView<'_>,
        used: &[ModuleDigest],
        _: &mut Conversation,
    ) -> Result<RateStep, BrainError> {
        if self.never_rates {
            std::future::pending::<()>().await;
        }
        let stars = |digest: &ModuleDigest| Stars {
            rating: 4,
            notes: format!("{} calls", digest.calls),
            evidence: digest.call_ids.clone(),
            claims: None,
        };
        let drafts = used
            .iter()
            .map(|digest| RatingDraft {
                module: digest.module.clone(),
                verdict: Ok(stars(digest)),
            })
            .collect();
        Ok(RateStep::Drafts(drafts))
    }

    fn source(&self) -> RatingSource {
        RatingSource::Simulated
    }
}
