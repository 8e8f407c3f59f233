//! `dramatis findings`: what a product manager ought to hear in the morning.

mod text;

use events::DeployName;
use jiff::{SignedDuration, Timestamp};
use projections::Tables;
use projections::findings::{FindingKind, FindingsQuery, FindingsReport};

use crate::config::Config;
use crate::exit::CommandError;
use crate::house::open_tables;
use crate::output::{Format, Out, count_of};

/// What is worth knowing this morning: what got worse, since when, and what shows it
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FindingsArgs {
    /// Figures from then on: days back (7d), a time, or the name of a deployment that was marked [default: 7d]
    #[arg(long, value_name = "DAYS|TIME|DEPLOY", value_parser = parse_since)]
    since: Option<Since>,
    /// As of this time instead of the latest that happened
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Fail (exit code 1) when there is a finding of this kind; may be given more than once
    #[arg(long, value_name = "KIND", value_parser = parse_kind)]
    fail_on: Vec<FailOn>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where figures begin.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Since {
    Days(i64),
    Time(Timestamp),
    Deploy(DeployName),
}

/// What makes the command fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FailOn {
    Any,
    Kind(FindingKind),
}

impl FailOn {
    fn is_met_by(self, kind: FindingKind) -> bool {
        self == Self::Any || self == Self::Kind(kind)
    }
}

fn parse_since(text: &str) -> Result<Since, String> {
    if let Some(days) = text.strip_suffix('d').and_then(|days| days.parse().ok()) {
        return if (1..=77).contains(&days) {
            Ok(Since::Days(days))
        } else {
            Err("findings look back 1 to 77 days".to_owned())
        };
    }
    if let Ok(time) = text.parse() {
        return Ok(Since::Time(time));
    }
    DeployName::try_new(text)
        .map(Since::Deploy)
        .map_err(|error| error.to_string())
}

fn parse_kind(text: &str) -> Result<FailOn, String> {
    if text == "any" {
        return Ok(FailOn::Any);
    }
    let known = FindingKind::ALL.iter().find(|kind| kind.as_str() == text);
    known.map(|kind| FailOn::Kind(*kind)).ok_or_else(|| {
        let names: Vec<&str> = FindingKind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("not one of any, {}", names.join(", "))
    })
}

/// Runs the command. It reads the tables alone, beside a running server or without one.
///
/// # Errors
/// [`CommandError::NotFound`] when there are no tables, no tick or no such deployment yet, [`CommandError::Failed`] when
/// there is a finding of a kind that `--fail-on` names.
pub(crate) async fn run(args: &FindingsArgs, config: &Config, out: &mut Out) -> Result<(), CommandError> {
    if config.database.is_none() && !config.tables_file().exists() {
        return Err(CommandError::NotFound(format!(
            "there are no tables in {} yet; start with `dramatis up` or `dramatis demo`, or name a folder with --data",
            config.data.display()
        )));
    }
    let report = report(args, &open_tables(config).await?).await?;
    match out.format() {
        Format::Json => out.json(&report)?,
        Format::Text => out.text(text::text(&report, out.width(), out.paint()))?,
    }
    judge(args, &report)
}

async fn report(args: &FindingsArgs, tables: &Tables) -> Result<FindingsReport, CommandError> {
    let mut asked = FindingsQuery {
        since: None,
        as_of: args.until,
        offered_tools: offered_tools(),
    };
    match &args.since {
        None => {}
        Some(Since::Time(time)) => asked.since = Some(*time),
        Some(Since::Days(days)) => {
            let as_of = match asked.as_of {
                Some(as_of) => Some(as_of),
                None => tables.latest_activity().await?,
            };
            let back = SignedDuration::from_hours(24 * days);
            asked.since = as_of.and_then(|as_of| as_of.checked_sub(back).ok());
        }
        Some(Since::Deploy(name)) => {
            let deploys = tables.deploys().await?;
            let deploy = deploys.into_iter().find(|deploy| deploy.name == *name);
            let deploy = deploy.ok_or_else(|| {
                CommandError::NotFound(format!(
                    "no deployment {:?} is marked; `dramatis mark deploy NAME` marks one",
                    name.as_str()
                ))
            })?;
            asked.since = Some(deploy.deployed_at);
        }
    }
    let report = tables.findings(&asked).await?;
    report.ok_or_else(|| {
        CommandError::NotFound("nobody has acted yet; `dramatis tick --all` lets them".to_owned())
    })
}

/// The built-in tools that callers see; those of mounted servers are known once somebody calls them.
fn offered_tools() -> Vec<String> {
    let tools = gateway::tools().into_iter();
    tools
        .filter(|tool| tool.scope != gateway::Scope::Admin)
        .map(|tool| tool.name.to_owned())
        .collect()
}

fn judge(args: &FindingsArgs, report: &FindingsReport) -> Result<(), CommandError> {
    let met: Vec<&str> = report
        .findings
        .iter()
        .filter(|finding| args.fail_on.iter().any(|fail_on| fail_on.is_met_by(finding.kind)))
        .map(|finding| finding.headline.as_str())
        .collect();
    if met.is_empty() {
        return Ok(());
    }
    let head = format!("{} to fail on", count_of(met.len() as u64, "finding"));
    Err(CommandError::failed_each(
        head,
        met.into_iter().map(str::to_owned),
    ))
}

#[cfg(test)]
mod tests;
