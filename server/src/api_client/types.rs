//! What goes over the wire to the admin API and comes back. Unknown members are passed over, so that an older
//! or newer server is still understood.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Creates or updates a persona by its email.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PersonaBody<'a> {
    /// Names the persona.
    pub(crate) email: &'a str,
    /// Its name.
    pub(crate) name: &'a str,
    /// Exposed here and nowhere else: the body of one request.
    pub(crate) password: &'a str,
    /// One of the catalog's archetypes.
    pub(crate) archetype: &'a str,
    /// What a model is told to be.
    pub(crate) system_prompt: &'a str,
    /// Module name to weight.
    pub(crate) module_mix: &'a BTreeMap<String, f64>,
    /// How often it acts.
    pub(crate) tick_cadence: events::Cadence,
    /// IANA time zone its days are counted in.
    pub(crate) time_zone: &'a str,
    /// Emails of the personas it shares a space with.
    pub(crate) partners: &'a [String],
}

/// The answer to [`PersonaBody`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Upserted {
    /// The account.
    pub(crate) user_id: String,
}

/// The answer to a deletion.
#[derive(Debug, Deserialize)]
pub(crate) struct Deleted {
    /// Whether it was carried out.
    pub(crate) ok: bool,
}

/// Every live persona.
#[derive(Debug, Deserialize)]
pub(crate) struct PersonaList {
    /// In the server's order.
    pub(crate) personas: Vec<LivePersona>,
}

/// A persona as the list shows it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LivePersona {
    /// The account.
    pub(crate) user_id: String,
    /// Its email.
    pub(crate) email: String,
    /// Its name, where the server knows one.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// One of the catalog's archetypes.
    pub(crate) archetype: String,
    /// How often it acts.
    pub(crate) tick_cadence: String,
    /// When its latest tick was, if it ever had one.
    #[serde(default)]
    pub(crate) last_active_at: Option<Timestamp>,
    /// Calls of the last seven days.
    #[serde(default, rename = "actions7d")]
    pub(crate) actions_7d: u64,
}

/// A persona with its latest actions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PersonaDetail {
    /// Who it is.
    pub(crate) persona: PersonaDescribed,
    /// The latest calls, newest first.
    #[serde(default)]
    pub(crate) recent_actions: Vec<RecentAction>,
    /// Its ratings so far.
    #[serde(default)]
    pub(crate) feedback_by_module: Vec<ModuleFeedback>,
}

/// Who a live persona is. What a server does not tell stays `None` and is not compared with the catalog.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PersonaDescribed {
    /// The account.
    pub(crate) user_id: String,
    /// Its email.
    pub(crate) email: String,
    /// Its name.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// One of the catalog's archetypes.
    pub(crate) archetype: String,
    /// What a model is told to be.
    #[serde(default)]
    pub(crate) system_prompt: Option<String>,
    /// Module name to weight.
    #[serde(default)]
    pub(crate) module_mix: Option<BTreeMap<String, f64>>,
    /// How often it acts.
    pub(crate) tick_cadence: String,
    /// IANA time zone its days are counted in.
    #[serde(default)]
    pub(crate) time_zone: Option<String>,
    /// Emails of the personas it shares a space with.
    #[serde(default)]
    pub(crate) partners: Option<Vec<String>>,
    /// When its latest tick was.
    #[serde(default)]
    pub(crate) last_active_at: Option<Timestamp>,
    /// When it was created.
    #[serde(default)]
    pub(crate) created_at: Option<Timestamp>,
}

/// One call of a persona.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecentAction {
    /// The tool's MCP name.
    pub(crate) tool_name: String,
    /// `pending`, `ok`, `error` or `unknown`.
    pub(crate) result: String,
    /// What the persona was told, of an error.
    #[serde(default)]
    pub(crate) error_message: Option<String>,
    /// Milliseconds from sending to answer.
    #[serde(default)]
    pub(crate) latency_ms: Option<u64>,
    /// When it was decided.
    #[serde(default)]
    pub(crate) created_at: Option<Timestamp>,
}

/// What a persona thinks of one module so far.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModuleFeedback {
    /// The module.
    pub(crate) module: String,
    /// Mean of its stars; absent when no rating turn gave any.
    #[serde(default)]
    pub(crate) avg_rating: Option<f64>,
    /// How many ratings.
    pub(crate) count: u64,
}

/// Who is to act now. Nobody named: those whose cadence says so.
#[derive(Debug, Default, Serialize)]
pub(crate) struct TickWho {
    /// One persona, by email.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) persona: Option<String>,
    /// All of them, due or not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) all: bool,
}

/// What came of [`TickWho`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TickAnswer {
    /// Personas that were to act.
    pub(crate) due: u64,
    /// Those whose tick ended well.
    pub(crate) succeeded: u64,
    /// Those whose tick failed.
    pub(crate) failed: u64,
    /// Those that were already acting, or whose tick another node had begun.
    #[serde(default)]
    pub(crate) skipped: u64,
    /// Milliseconds for all of them.
    pub(crate) duration_ms: u64,
    /// One line per persona.
    #[serde(default)]
    pub(crate) ticks: Vec<TickLine>,
}

/// What came of one persona's tick.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TickLine {
    /// The persona's email.
    pub(crate) email: String,
    /// Its name.
    #[serde(default)]
    pub(crate) name: String,
    /// `completed`, `abandoned`, `limit`, `failed`, `cut`, `busy` or `stood-down`.
    pub(crate) outcome: String,
    /// Why, where the outcome alone does not say.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    /// Calls made.
    #[serde(default)]
    pub(crate) calls: u64,
    /// Calls that failed.
    #[serde(default)]
    pub(crate) errors: u64,
    /// Modules rated.
    #[serde(default)]
    pub(crate) ratings: u64,
    /// Milliseconds from begin to end.
    #[serde(default)]
    pub(crate) duration_ms: u64,
}
