//! `dramatis policy explain|test|default`: what the rules say, and what others would have said.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use events::{SystemClock, SystemIds, UserId};
use gateway::{
    MountedTool, PolicyRules, PolicySubject, PolicyTool, RecordedCall, Replay, Replayed, ToolDescription,
};
use identity::{Account, Identity};
use serde::Serialize;
use serde_json::Value;

use crate::config::Config;
use crate::exit::CommandError;
use crate::house::{mounted_tools, open_identity, open_tables, policy_mode, policy_rules, read_policy};
use crate::output::{Format, Out, count_of, printable, table};

/// Calls read at once.
const PAGE: u32 = 2_000;
/// Calls with another decision that are named; the rest are counted.
const NAMED_MAX: usize = 100;

/// What may be called by whom, and what other rules would have decided
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum PolicyCommand {
    /// Say whether somebody may call a tool, by which rule, and what the caller would read
    Explain {
        /// The caller's email
        #[arg(long, value_name = "EMAIL")]
        user: String,
        /// The tool's name
        #[arg(long, value_name = "NAME")]
        tool: String,
        /// The call's arguments, where rules go by them
        #[arg(long, value_name = "JSON", default_value = "{}")]
        arguments: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what a policy file would have decided over the recorded calls
    Test {
        /// The file to try
        file: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the built-in rules, every part explained
    Default,
}

impl PolicyCommand {
    pub(crate) fn wants_json(&self) -> bool {
        match self {
            Self::Explain { json, .. } | Self::Test { json, .. } => *json,
            Self::Default => false,
        }
    }
}

/// Runs the command. It reads files alone, beside a running server or without one; what is known of mounted tools it asks
/// the nats-server for that houses share.
///
/// # Errors
/// [`CommandError::Usage`] for a file that cannot be meant, [`CommandError::NotFound`] for an unknown account or tool,
/// [`CommandError::Failed`] when the tried rules decide otherwise.
pub(crate) async fn run(
    command: &PolicyCommand,
    config: &Config,
    clock: Arc<SystemClock>,
    out: &mut Out,
) -> Result<(), CommandError> {
    match command {
        PolicyCommand::Default => out.text(PolicyRules::built_in_text().trim_end()),
        PolicyCommand::Explain {
            user,
            tool,
            arguments,
            ..
        } => explain(user, tool, arguments, config, clock, out).await,
        PolicyCommand::Test { file, .. } => {
            let rules = read_policy(file)?;
            let tried = try_on_record(rules, config, clock).await?;
            print_tried(&tried, out)?;
            match tried.differing {
                0 => Ok(()),
                differing => Err(CommandError::Failed(format!(
                    "{} would be decided otherwise",
                    count_of(differing, "call")
                ))),
            }
        }
    }
}

async fn explain(
    user: &str,
    tool: &str,
    arguments: &str,
    config: &Config,
    clock: Arc<SystemClock>,
    out: &mut Out,
) -> Result<(), CommandError> {
    let arguments: Value = serde_json::from_str(arguments)
        .map_err(|error| CommandError::Usage(format!("--arguments is not JSON: {error}")))?;
    let rules = policy_rules(config)?;
    let account = accounts(config, clock)
        .await?
        .account_by_email(user)
        .await
        .map_err(|error| CommandError::Failed(error.to_string()))?
        .ok_or_else(|| CommandError::NotFound(format!("no account has the email {user}")))?;
    let known = KnownTools::read(config).await?;
    let named = known.offered(tool)?;
    let explained = rules.explain(policy_mode(config), &subject_of(&account), &named, &arguments);
    if out.format() == Format::Json {
        return out.json(&explained);
    }
    let yes = |is: bool| if is { "yes" } else { "no" };
    out.text(format!(
        "by rules {} in mode {}",
        explained.policy_version, explained.mode
    ))?;
    out.text(format!("  listed    {}", yes(explained.is_listed)))?;
    out.text(format!("  allowed   {}", yes(explained.is_allowed)))?;
    if let (Some(rule), Some(answer)) = (&explained.rule, &explained.answer) {
        out.text(format!("  refused   by {rule}"))?;
        out.text(format!("  answered  {}", printable(answer)))?;
    }
    for grant in &explained.grants {
        out.text(format!("  grant     {}", printable(grant)))?;
    }
    for rate in &explained.rates {
        out.text(format!("  rate      {}", printable(rate)))?;
    }
    Ok(())
}

/// What came of trying rules on the record.
#[derive(Debug, Default, Serialize)]
struct Tried {
    policy_version: u32,
    /// Calls on record.
    calls: u64,
    /// Decided as they were.
    same: u64,
    /// Let through then, refused now.
    newly_refused: u64,
    /// Refused then, let through now.
    newly_allowed: u64,
    /// Depending on arguments, which are not on record.
    open: u64,
    /// Of accounts or tools that are not there any more, or never were.
    unknown: u64,
    /// All that are decided otherwise.
    differing: u64,
    /// The first of them.
    calls_differing: Vec<Replayed>,
}

async fn try_on_record(
    rules: PolicyRules,
    config: &Config,
    clock: Arc<SystemClock>,
) -> Result<Tried, CommandError> {
    if config.database.is_none() && !config.tables_file().exists() {
        return Err(CommandError::NotFound(format!(
            "there are no tables in {} yet; start with `dramatis up` or `dramatis demo`, or name a folder with --data",
            config.data.display()
        )));
    }
    let identity = accounts(config, clock).await?;
    let tables = open_tables(config).await?;
    let tools = KnownTools::read(config).await?;
    let mut known: HashMap<UserId, Option<Account>> = HashMap::new();
    let mut tried = Tried {
        policy_version: rules.version,
        ..Tried::default()
    };
    let mut replay = Replay::new(rules);
    let mut last = None;
    loop {
        let page = tables.calls_after(last.as_ref(), PAGE).await?;
        let Some(newest) = page.last() else { break };
        last = Some(newest.clone());
        for call in &page {
            if !known.contains_key(&call.user_id) {
                let account = identity.account(&call.user_id).await;
                let account = account.map_err(|error| CommandError::Failed(error.to_string()))?;
                known.insert(call.user_id.clone(), account);
            }
            let account = known.get(&call.user_id).and_then(Option::as_ref);
            let named = tools.get(&call.tool);
            tried.calls += 1;
            let (Some(account), Some(tool)) = (account, named) else {
                tried.unknown += 1;
                continue;
            };
            tried.add(replay.next(&RecordedCall {
                call_id: call.call_id.as_str(),
                subject: subject_of(account),
                tool,
                at: call.started_at,
                was_refused: call.was_refused,
            }));
        }
    }
    Ok(tried)
}

impl Tried {
    fn add(&mut self, replayed: Replayed) {
        if replayed.now == "open" {
            self.open += 1;
        } else if !replayed.is_different() {
            self.same += 1;
        } else {
            self.differing += 1;
            if replayed.now == "refused" {
                self.newly_refused += 1;
            } else {
                self.newly_allowed += 1;
            }
            if self.calls_differing.len() < NAMED_MAX {
                self.calls_differing.push(replayed);
            }
        }
    }
}

fn print_tried(tried: &Tried, out: &mut Out) -> Result<(), CommandError> {
    if out.format() == Format::Json {
        return out.json(tried);
    }
    out.text(format!(
        "{} on record, tried on rules {}: {} the same, {} newly refused, {} newly allowed, {} open, {} unknown",
        count_of(tried.calls, "call"),
        tried.policy_version,
        tried.same,
        tried.newly_refused,
        tried.newly_allowed,
        tried.open,
        tried.unknown
    ))?;
    if tried.calls_differing.is_empty() {
        return Ok(());
    }
    let mut rows = table(
        &["when", "account", "tool", "then", "now", "rule"],
        &[],
        out.width(),
        out.paint(),
    );
    for call in &tried.calls_differing {
        rows.add_row([
            call.at.to_string(),
            printable(call.user_id.as_str()),
            printable(&call.tool),
            call.then.to_owned(),
            call.now.to_owned(),
            call.rule.clone().unwrap_or_default(),
        ]);
    }
    out.text(rows)
}

async fn accounts(config: &Config, clock: Arc<SystemClock>) -> Result<Identity, CommandError> {
    if !config.has_accounts() {
        return Err(CommandError::NotFound(format!(
            "there are no accounts in {} yet; start with `dramatis up`, or name a folder with --data",
            config.data.display()
        )));
    }
    open_identity(
        config,
        &format!("http://{}", config.listen),
        clock,
        Arc::new(SystemIds),
    )
    .await
}

fn subject_of(account: &Account) -> PolicySubject<'_> {
    PolicySubject {
        user_id: &account.id,
        email: &account.email,
        role: account.role.as_str(),
        tier: account.tier.as_str(),
        kind: account.kind.as_str(),
    }
}

/// The built-in tools, and those of mounted servers as they were seen last.
struct KnownTools {
    own: Vec<ToolDescription>,
    mounted: Vec<MountedTool>,
}

impl KnownTools {
    async fn read(config: &Config) -> Result<Self, CommandError> {
        Ok(Self {
            own: gateway::tools(),
            mounted: mounted_tools(config).await?,
        })
    }

    /// The tool of that name. One that is not offered any more may have been when it was called.
    fn get(&self, name: &str) -> Option<PolicyTool<'_>> {
        let own = self.own.iter().find(|own| own.name == name);
        let own = own.map(|own| PolicyTool {
            name: own.name,
            scope: own.scope,
            hint: own.hint,
        });
        own.or_else(|| self.mounted_of(name).map(policy_tool))
    }

    fn mounted_of(&self, name: &str) -> Option<&MountedTool> {
        self.mounted.iter().find(|mounted| mounted.name == name)
    }

    /// The tool of that name, if it is offered to anybody.
    fn offered(&self, name: &str) -> Result<PolicyTool<'_>, CommandError> {
        let none = || {
            let detail = "it is none of the built-in tools and none that a mounted server was seen with";
            CommandError::NotFound(format!("{name}: {detail}"))
        };
        let tool = self.get(name).ok_or_else(none)?;
        // A name of our own stays ours, whatever a server calls its tools.
        let is_own = self.own.iter().any(|own| own.name == name);
        match self
            .mounted_of(name)
            .filter(|mounted| !is_own && !mounted.is_offered)
        {
            Some(kept_back) => Err(CommandError::NotFound(format!(
                "{name} is offered to nobody: it is hidden, or waits for `dramatis mounts approve {}`",
                kept_back.mount
            ))),
            None => Ok(tool),
        }
    }
}

fn policy_tool(mounted: &MountedTool) -> PolicyTool<'_> {
    PolicyTool {
        name: &mounted.name,
        scope: mounted.scope(),
        hint: mounted.hint,
    }
}
