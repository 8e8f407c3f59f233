//! `dramatis cleanup`: no persona is left on the server, and whoever expected the catalog's there is told.

use std::path::PathBuf;

use catalog::Catalog;
use reqwest::StatusCode;
use serde::Serialize;

use super::drift::{differing_fields, load_catalog, same_email};
use crate::api_client::{ApiArgs, ApiClient, ApiError, LivePersona};
use crate::config::Config;
use crate::exit::CommandError;
use crate::house::module_names;
use crate::output::{Format, Out, count_of, printable, table};
use crate::progress::Steps;

/// Delete every live persona with all it left, warning where live and catalog differ.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CleanupArgs {
    #[command(flatten)]
    pub(crate) api: ApiArgs,

    /// Catalog to compare with [default: the built-in cast]
    #[arg(long, value_name = "FILE")]
    pub(crate) catalog: Option<PathBuf>,

    /// Show what would be deleted, and delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// What was done about one live persona.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CleanupAction {
    /// It is gone for good.
    Deleted,
    /// It would be, without `--dry-run`.
    WouldDelete,
    /// Somebody else deleted it in the meantime.
    AlreadyGone,
    /// The server keeps it: the account is not a persona's.
    Refused,
    /// The server could not do it, or could not be asked.
    Failed,
}

/// One live persona and what came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CleanupLine {
    /// Its email.
    pub(crate) email: String,
    /// Its account.
    pub(crate) user_id: String,
    /// What was done.
    pub(crate) action: CleanupAction,
    /// Why not, where it was not.
    pub(crate) error: Option<String>,
}

/// A way in which the live personas and the catalog differ.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub(crate) enum Drift {
    /// In the catalog, not live.
    Missing {
        /// Names the persona.
        email: String,
    },
    /// Live, not in the catalog.
    Extra {
        /// Names the persona.
        email: String,
    },
    /// Live, but not as the catalog has it.
    Changed {
        /// Names the persona.
        email: String,
        /// What differs, as spelled on the wire.
        fields: Vec<&'static str>,
    },
    /// Live; the server could not say what it is like.
    Unknown {
        /// Names the persona.
        email: String,
        /// Why not.
        reason: String,
    },
}

/// What came of all live personas.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CleanupReport {
    /// Whether nothing was deleted.
    pub(crate) dry_run: bool,
    /// Personas that are gone (or would be).
    pub(crate) deleted: u64,
    /// Accounts the server keeps.
    pub(crate) refused: u64,
    /// Deletions that failed.
    pub(crate) failed: u64,
    /// Where live and catalog differed before.
    pub(crate) warnings: Vec<Drift>,
    /// One line per live persona.
    pub(crate) personas: Vec<CleanupLine>,
}

/// Deletes every live persona and prints what was done.
///
/// # Errors
/// When the live personas cannot be listed; [`CommandError::Failed`] with all of them listed when any is left.
pub(crate) async fn run(
    args: &CleanupArgs,
    api: &ApiClient,
    config: &Config,
    out: &mut Out,
) -> Result<(), CommandError> {
    let catalog = load_catalog(args.catalog.as_deref(), &module_names(config).await?)?;
    let report = cleanup(&catalog, args.dry_run, api, &mut Steps::on_stderr("cleanup")).await?;
    match out.format() {
        Format::Json => out.json(&report)?,
        Format::Text => print_table(&report, out)?,
    }
    report.into_result()
}

async fn cleanup(
    catalog: &Catalog,
    dry_run: bool,
    api: &ApiClient,
    steps: &mut Steps,
) -> Result<CleanupReport, CommandError> {
    let (existing, _) = api.personas().await?;
    // Compared before the first deletion; afterwards there is nothing left to compare.
    let warnings = drift(catalog, &existing.personas, api).await;
    steps.begin(existing.personas.len() as u64);
    let mut personas = Vec::with_capacity(existing.personas.len());
    for persona in existing.personas {
        let line = delete_one(persona, dry_run, api).await;
        steps.done(&format!("{}: {}", line.email, line.outcome_text()));
        personas.push(line);
    }
    steps.end();
    let count = |actions: &[CleanupAction]| {
        personas
            .iter()
            .filter(|line| actions.contains(&line.action))
            .count() as u64
    };
    Ok(CleanupReport {
        dry_run,
        deleted: count(&[
            CleanupAction::Deleted,
            CleanupAction::WouldDelete,
            CleanupAction::AlreadyGone,
        ]),
        refused: count(&[CleanupAction::Refused]),
        failed: count(&[CleanupAction::Failed]),
        warnings,
        personas,
    })
}

async fn delete_one(persona: LivePersona, dry_run: bool, api: &ApiClient) -> CleanupLine {
    let (action, error) = if dry_run {
        (CleanupAction::WouldDelete, None)
    } else {
        match api.delete_persona(&persona.user_id).await {
            Ok(deleted) if deleted.ok => (CleanupAction::Deleted, None),
            Ok(_) => (
                CleanupAction::Failed,
                Some("the server says it did not delete it".to_owned()),
            ),
            Err(error) => (failed_action(&error), Some(error.to_string())),
        }
    };
    let error = error.filter(|_| action != CleanupAction::AlreadyGone);
    CleanupLine {
        email: persona.email,
        user_id: persona.user_id,
        action,
        error,
    }
}

fn failed_action(error: &ApiError) -> CleanupAction {
    match error.status() {
        Some(StatusCode::NOT_FOUND) => CleanupAction::AlreadyGone,
        Some(StatusCode::BAD_REQUEST) => CleanupAction::Refused,
        _ => CleanupAction::Failed,
    }
}

async fn drift(catalog: &Catalog, live: &[LivePersona], api: &ApiClient) -> Vec<Drift> {
    let mut found: Vec<Drift> = catalog
        .personas
        .iter()
        .filter(|persona| !live.iter().any(|live| same_email(&live.email, &persona.email)))
        .map(|persona| Drift::Missing {
            email: persona.email.clone(),
        })
        .collect();
    for live in live {
        let email = live.email.clone();
        let Some(persona) = catalog
            .personas
            .iter()
            .chain(&catalog.resting)
            .find(|persona| same_email(&persona.email, &email))
        else {
            found.push(Drift::Extra { email });
            continue;
        };
        match api.persona(&live.user_id).await {
            Ok((detail, _)) => {
                let fields = differing_fields(persona, &detail.persona);
                if !fields.is_empty() {
                    found.push(Drift::Changed { email, fields });
                }
            }
            Err(error) => found.push(Drift::Unknown {
                email,
                reason: error.to_string(),
            }),
        }
    }
    found
}

impl Drift {
    fn text(&self) -> String {
        match self {
            Self::Missing { email } => format!("{email} is in the catalog and not live"),
            Self::Extra { email } => format!("{email} is live and not in the catalog"),
            Self::Changed { email, fields } => {
                format!("{email} is not as the catalog has it: {}", fields.join(", "))
            }
            Self::Unknown { email, reason } => format!("{email} could not be compared: {reason}"),
        }
    }
}

impl CleanupLine {
    fn outcome_text(&self) -> String {
        let reason = || self.error.as_deref().unwrap_or("no reason given");
        match self.action {
            CleanupAction::Deleted => "deleted".to_owned(),
            CleanupAction::WouldDelete => "would be deleted".to_owned(),
            CleanupAction::AlreadyGone => "already gone".to_owned(),
            CleanupAction::Refused => format!("kept: {}", reason()),
            CleanupAction::Failed => format!("failed: {}", reason()),
        }
    }

    fn is_left(&self) -> bool {
        matches!(self.action, CleanupAction::Refused | CleanupAction::Failed)
    }
}

impl CleanupReport {
    fn into_result(self) -> Result<(), CommandError> {
        let left = self.personas.iter().filter(|line| line.is_left());
        let left: Vec<String> = left
            .map(|line| format!("{}: {}", line.email, line.outcome_text()))
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        let head = format!(
            "{} of {} not deleted:",
            left.len(),
            count_of(self.personas.len() as u64, "persona")
        );
        Err(CommandError::failed_each(head, left))
    }
}

fn print_table(report: &CleanupReport, out: &mut Out) -> Result<(), CommandError> {
    for warning in &report.warnings {
        out.text(format!("warning: {}", printable(&warning.text())))?;
    }
    if report.personas.is_empty() {
        return out.text("no personas are live");
    }
    let mut rows = table(&["email", "what"], &[], out.width(), out.paint());
    for line in &report.personas {
        rows.add_row([printable(&line.email), printable(&line.outcome_text())]);
    }
    out.text(rows.trim_fmt())?;
    let to_be = if report.dry_run { " to be" } else { "" };
    out.text(format!(
        "\n{}:{to_be} deleted {}, kept {}, failed {}",
        count_of(report.personas.len() as u64, "persona"),
        report.deleted,
        report.refused,
        report.failed
    ))
}

#[cfg(test)]
mod tests;
