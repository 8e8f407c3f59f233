//! `dramatis seal migrate`: every encrypted field in the form that the running server writes, while it goes on.

use std::collections::BTreeSet;
use std::time::Duration;

use events::{Clock, SystemClock};
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api_client::{ApiArgs, ApiClient, ApiError};
use crate::exit::CommandError;
use crate::output::{Format, Out, count_of};
use crate::progress::Steps;

/// Tries of one step that the server is too busy for, and the wait between them.
const TRIES_MAX: u32 = 30;
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Encrypted fields
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum SealCommand {
    /// Seal every encrypted field anew in the form and with the key that the running server writes with
    ///
    /// Readers and writers go on, and a write made meanwhile wins. Killed, it goes on where it stopped when it is run
    /// again: what is sealed anew already is passed over. Fields of zero-knowledge accounts stay as they are.
    Migrate(MigrateArgs),
}

/// How to seal anew.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    pub(crate) api: ApiArgs,

    /// The form wanted; the server refuses one that it does not write, and says how to change that
    #[arg(long, value_name = "FORM", value_parser = ["enc:1", "enc:2"])]
    to: Option<String>,

    /// Count what there is to do, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Records looked at each second, at most
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
}

impl SealCommand {
    pub(crate) fn api(&self) -> &ApiArgs {
        let Self::Migrate(args) = self;
        &args.api
    }
}

/// What the server says of one step.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    form: String,
    records: u64,
    #[serde(default)]
    records_total: u64,
    current: u64,
    resealed: u64,
    zero_knowledge: u64,
    zero_knowledge_spaces: BTreeSet<String>,
    refused: u64,
    keyless: u64,
    next: Value,
}

/// What came of all of them.
#[derive(Debug, Default, Serialize)]
struct Migrated {
    form: String,
    dry_run: bool,
    records: u64,
    resealed: u64,
    current: u64,
    zero_knowledge: u64,
    zero_knowledge_spaces: usize,
    refused: u64,
    keyless: u64,
}

/// Runs the command.
///
/// # Errors
/// What the server refuses, and [`CommandError::Failed`] where fields do not open.
pub(crate) async fn run(
    command: &SealCommand,
    api: &ApiClient,
    clock: &SystemClock,
    out: &mut Out,
) -> Result<(), CommandError> {
    let SealCommand::Migrate(args) = command;
    let mut progress = Steps::on_stderr("seal");
    let migrated = migrate(args, api, clock, &mut progress).await;
    progress.end();
    let migrated = migrated?;
    match out.format() {
        Format::Json => out.json(&migrated)?,
        Format::Text => out.text(text(&migrated))?,
    }
    if migrated.refused > 0 {
        return Err(CommandError::Failed(format!(
            "fields that do not open and stayed as they are: {}; each is on record as field.refused, and \
             `dramatis verify` says which rows are not what was written",
            migrated.refused
        )));
    }
    Ok(())
}

async fn migrate(
    args: &MigrateArgs,
    api: &ApiClient,
    clock: &SystemClock,
    progress: &mut Steps,
) -> Result<Migrated, CommandError> {
    let batch = u64::from(args.rate.clamp(1, 200));
    let (mut migrated, mut spaces) = (Migrated::default(), BTreeSet::new());
    let mut after = Value::Null;
    loop {
        let began = clock.monotonic();
        let body = json!({ "to": args.to, "after": after, "limit": batch, "dryRun": args.dry_run });
        let step: Step = taken(api, clock, &body).await?;
        if step.records_total > 0 {
            progress.begin(step.records_total.div_ceil(batch));
        }
        spaces.extend(step.zero_knowledge_spaces);
        migrated = Migrated {
            form: step.form,
            dry_run: args.dry_run,
            records: migrated.records + step.records,
            resealed: migrated.resealed + step.resealed,
            current: migrated.current + step.current,
            zero_knowledge: migrated.zero_knowledge + step.zero_knowledge,
            zero_knowledge_spaces: spaces.len(),
            refused: migrated.refused + step.refused,
            keyless: migrated.keyless + step.keyless,
        };
        progress.done(&count_of(migrated.resealed, "field"));
        if step.next.is_null() {
            return Ok(migrated);
        }
        after = step.next;
        let share = Duration::from_secs_f64(step.records as f64 / f64::from(args.rate));
        clock
            .sleep(share.saturating_sub(clock.monotonic().saturating_sub(began)))
            .await;
    }
}

/// One step, taken again while the server cannot.
async fn taken(api: &ApiClient, clock: &SystemClock, body: &Value) -> Result<Step, CommandError> {
    let mut tries = 1;
    loop {
        match api.seal_step(body).await {
            Err(ApiError::Refused { status, .. })
                if status == StatusCode::SERVICE_UNAVAILABLE && tries < TRIES_MAX =>
            {
                tries += 1;
                clock.sleep(TRY_AGAIN_AFTER).await;
            }
            answer => return answer.map_err(CommandError::from),
        }
    }
}

fn text(migrated: &Migrated) -> String {
    let Migrated { form, .. } = migrated;
    let did = if migrated.dry_run {
        "would be sealed anew"
    } else {
        "sealed anew"
    };
    let mut lines = vec![format!(
        "{} looked at: {} {did} as {form}, {} {form} already",
        count_of(migrated.records, "record"),
        count_of(migrated.resealed, "field"),
        migrated.current
    )];
    if migrated.zero_knowledge > 0 {
        lines.push(format!(
            "skipped {} in {} of zero-knowledge accounts: only their owners' own apps can write them anew",
            count_of(migrated.zero_knowledge, "field"),
            count_of(migrated.zero_knowledge_spaces as u64, "space")
        ));
    }
    if migrated.keyless > 0 {
        let fields = count_of(migrated.keyless, "field");
        lines.push(format!("skipped {fields} of spaces that are nobody's any more"));
    }
    lines.join("\n")
}
