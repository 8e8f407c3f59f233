//! `dramatis seed`: every persona of the catalog exists on the server, as the catalog describes it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use catalog::{Catalog, Persona, derive_password};
use futures::{StreamExt as _, stream};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use super::drift::{differing_fields, load_catalog};
use crate::api_client::{ApiArgs, ApiClient, ApiError, LivePersona, PersonaBody};
use crate::config::Config;
use crate::exit::CommandError;
use crate::house::module_names;
use crate::output::{Format, Out, count_of, printable, table};
use crate::progress::Steps;

/// Personas written at once. The server hashes a password for each, a few at a time, and waits for its tables.
const AT_ONCE: usize = 8;

/// Create or update every persona of the catalog.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SeedArgs {
    #[command(flatten)]
    pub(crate) api: ApiArgs,

    /// Catalog to seed [default: the built-in cast]
    #[arg(long, value_name = "FILE")]
    pub(crate) catalog: Option<PathBuf>,

    /// Also those the catalog has switched off: the personas that bring edge input
    #[arg(long)]
    pub(crate) chaos: bool,

    /// Show what would be created or updated, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// What was done to one persona, or would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SeedAction {
    /// It was not there.
    Created,
    /// It was there and differed.
    Updated,
    /// It was there as the catalog has it; its password was set again all the same.
    Unchanged,
    /// The server refused, or could not be asked.
    Failed,
}

/// One persona of the catalog and what came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SeedLine {
    /// Names the persona.
    pub(crate) email: String,
    /// Its name.
    pub(crate) name: String,
    /// What was done.
    pub(crate) action: SeedAction,
    /// Fields in which the live persona differed.
    pub(crate) changes: Vec<&'static str>,
    /// The account, once there is one.
    pub(crate) user_id: Option<String>,
    /// Why it failed.
    pub(crate) error: Option<String>,
}

/// What came of the whole catalog.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SeedReport {
    /// Whether nothing was written.
    pub(crate) dry_run: bool,
    /// Personas that were not there.
    pub(crate) created: u64,
    /// Personas that differed.
    pub(crate) updated: u64,
    /// Personas that were there as the catalog has them.
    pub(crate) unchanged: u64,
    /// Personas the server refused.
    pub(crate) failed: u64,
    /// One line per persona, in the catalog's order.
    pub(crate) personas: Vec<SeedLine>,
}

/// Seeds and prints what was done.
///
/// # Errors
/// As [`seed`]; [`CommandError::Failed`] with all of them listed when single personas failed.
pub(crate) async fn run(
    args: &SeedArgs,
    api: &ApiClient,
    config: &Config,
    out: &mut Out,
) -> Result<(), CommandError> {
    let mut catalog = load_catalog(args.catalog.as_deref(), &module_names(config).await?)?;
    if args.chaos {
        catalog = catalog.with_resting();
    }
    let report = seed(
        &catalog,
        &config.seed_secret,
        args.dry_run,
        api,
        &mut Steps::on_stderr("seed"),
    )
    .await?;
    match out.format() {
        Format::Json => out.json(&report)?,
        Format::Text => print_table(&report, out)?,
    }
    report.into_result()
}

/// Creates or updates every persona of `catalog`, or says what that would do. Goes on past single failures.
///
/// # Errors
/// When the live personas cannot be listed at all: no connection, no admin role.
pub(crate) async fn seed(
    catalog: &Catalog,
    seed_secret: &SecretString,
    dry_run: bool,
    api: &ApiClient,
    steps: &mut Steps,
) -> Result<SeedReport, CommandError> {
    let (existing, _) = api.personas().await?;
    // Servers keep emails in lower case; the comparison does not rely on it.
    let existing: BTreeMap<String, LivePersona> = existing
        .personas
        .into_iter()
        .map(|known| (known.email.to_lowercase(), known))
        .collect();
    steps.begin(catalog.personas.len() as u64);
    let mut personas = Vec::with_capacity(catalog.personas.len());
    let mut lines = stream::iter(&catalog.personas)
        .map(|persona| {
            let known = existing.get(&persona.email.to_lowercase());
            seed_one(persona, known, seed_secret, dry_run, api)
        })
        .buffered(AT_ONCE);
    while let Some(line) = lines.next().await {
        steps.done(&format!("{}: {}", line.email, line.outcome_text(dry_run)));
        personas.push(line);
    }
    steps.end();
    let count = |action| personas.iter().filter(|line| line.action == action).count() as u64;
    Ok(SeedReport {
        dry_run,
        created: count(SeedAction::Created),
        updated: count(SeedAction::Updated),
        unchanged: count(SeedAction::Unchanged),
        failed: count(SeedAction::Failed),
        personas,
    })
}

async fn seed_one(
    persona: &Persona,
    known: Option<&LivePersona>,
    seed_secret: &SecretString,
    dry_run: bool,
    api: &ApiClient,
) -> SeedLine {
    let mut line = SeedLine {
        email: persona.email.clone(),
        name: persona.name.clone(),
        action: SeedAction::Created,
        changes: Vec::new(),
        user_id: None,
        error: None,
    };
    if let Err(error) = try_seed_one(persona, known, seed_secret, dry_run, api, &mut line).await {
        line.action = SeedAction::Failed;
        line.error = Some(error.to_string());
    }
    line
}

/// Fills in `line` as far as it gets.
async fn try_seed_one(
    persona: &Persona,
    known: Option<&LivePersona>,
    seed_secret: &SecretString,
    dry_run: bool,
    api: &ApiClient,
    line: &mut SeedLine,
) -> Result<(), ApiError> {
    if let Some(known) = known {
        line.user_id = Some(known.user_id.clone());
        let (detail, _) = api.persona(&known.user_id).await?;
        line.changes = differing_fields(persona, &detail.persona);
        line.action = if line.changes.is_empty() {
            SeedAction::Unchanged
        } else {
            SeedAction::Updated
        };
    }
    if dry_run {
        return Ok(());
    }
    // Written even when nothing differs: the password may, and only the server can tell.
    let password = derive_password(seed_secret, &persona.email);
    let body = PersonaBody {
        email: &persona.email,
        name: &persona.name,
        password: password.expose_secret(),
        archetype: &persona.archetype,
        system_prompt: &persona.system_prompt,
        module_mix: &persona.module_mix,
        tick_cadence: persona.cadence,
        time_zone: &persona.time_zone,
        partners: &persona.partners,
    };
    line.user_id = Some(api.upsert_persona(&body).await?.user_id);
    Ok(())
}

impl SeedLine {
    fn outcome_text(&self, dry_run: bool) -> String {
        let would = |done: &'static str, planned: &'static str| if dry_run { planned } else { done };
        match self.action {
            SeedAction::Created => would("created", "would be created").to_owned(),
            SeedAction::Updated => {
                format!(
                    "{} ({})",
                    would("updated", "would be updated"),
                    self.changes.join(", ")
                )
            }
            SeedAction::Unchanged => "unchanged".to_owned(),
            SeedAction::Failed => format!("failed: {}", self.error.as_deref().unwrap_or("no reason given")),
        }
    }
}

impl SeedReport {
    /// One sentence with the counts.
    fn summary(&self) -> String {
        let to_be = if self.dry_run { " to be" } else { "" };
        let failed = if self.failed > 0 {
            format!(", failed {}", self.failed)
        } else {
            String::new()
        };
        format!(
            "{}:{to_be} created {}, updated {}, unchanged {}{failed}",
            count_of(self.personas.len() as u64, "persona"),
            self.created,
            self.updated,
            self.unchanged
        )
    }

    /// Whether every persona was seeded.
    ///
    /// # Errors
    /// [`CommandError::Failed`] with every persona that was not, and why.
    pub(crate) fn into_result(self) -> Result<(), CommandError> {
        if self.failed == 0 {
            return Ok(());
        }
        let failed = self
            .personas
            .iter()
            .filter(|line| line.action == SeedAction::Failed)
            .map(|line| {
                let reason = line.error.as_deref().unwrap_or("no reason given");
                format!("{}: {reason}", line.email)
            });
        let head = format!("{} of {} personas not seeded:", self.failed, self.personas.len());
        Err(CommandError::failed_each(head, failed))
    }
}

fn print_table(report: &SeedReport, out: &mut Out) -> Result<(), CommandError> {
    let mut rows = table(&["persona", "email", "what"], &[], out.width(), out.paint());
    for line in &report.personas {
        rows.add_row([
            printable(&line.name),
            printable(&line.email),
            printable(&line.outcome_text(report.dry_run)),
        ]);
    }
    out.text(rows.trim_fmt())?;
    out.text(format!("\n{}", report.summary()))
}

#[cfg(test)]
mod tests;
