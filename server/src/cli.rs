//! The command line.

use std::sync::Arc;

use clap::Parser;
use events::SystemClock;

use crate::api_client::ApiClient;
use crate::commands::accounts::AccountsCommand;
use crate::commands::audit::AuditCommand;
use crate::commands::backup::{BackupArgs, RestoreArgs};
use crate::commands::bridge::McpCommand;
use crate::commands::cleanup::CleanupArgs;
use crate::commands::config::ConfigCommand;
use crate::commands::demo::DemoArgs;
use crate::commands::events::EventsCommand;
use crate::commands::findings::FindingsArgs;
use crate::commands::mark::MarkCommand;
use crate::commands::mounts::MountsCommand;
use crate::commands::parked::ParkedCommand;
use crate::commands::personas::PersonasCommand;
use crate::commands::policy::PolicyCommand;
use crate::commands::projector::ProjectorArgs;
use crate::commands::rebuild::RebuildArgs;
use crate::commands::runner::RunnerArgs;
use crate::commands::schema::Contract;
use crate::commands::seal::SealCommand;
use crate::commands::seed::SeedArgs;
use crate::commands::tick::TickArgs;
use crate::commands::token::TokenArgs;
use crate::commands::top::TopArgs;
use crate::commands::vault::VaultCommand;
use crate::commands::viewers::ViewersCommand;
use crate::commands::{
    accounts, audit, backup, bridge, cleanup, config, demo, doctor, events as log_events, findings, gateway,
    health, mark, mounts, parked, personas, policy, projector, rebuild, runner, schema, seal, seed, tick,
    token, top, up, vault, verify, viewers,
};
use crate::config::{ConfigFlags, HouseFlags, Layers, colour};
use crate::exit::CommandError;
use crate::output::{Format, Out};

/// A cast of personas that use an app through its MCP tools, leave an event for every call, and rate what they used
///
/// Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 not allowed, 5 a service is unavailable, 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "dramatis", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    config: ConfigFlags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run every role in one process
    Up(HouseFlags),
    /// Run a gateway alone: the door and all of HTTP, on a log, accounts and tables that others share
    Gateway(HouseFlags),
    /// Run a projector alone, which folds the log into Postgres; of several one folds and the others take over
    Projector(ProjectorArgs),
    /// Run a runner alone, which lives due ticks together with the others of its log
    Runner(RunnerArgs),
    /// Start everything, let all ten personas live a day through the real gateway, and report it
    Demo(DemoArgs),
    /// Create or update every catalog persona on a running server
    Seed(SeedArgs),
    /// Delete every live persona of a running server
    Cleanup(CleanupArgs),
    /// Let personas act now
    Tick(TickArgs),
    /// Watch the stage in the terminal: who acts, what happens, lag, spend and alarms
    Top(TopArgs),
    /// List personas, or show one
    #[command(subcommand)]
    Personas(PersonasCommand),
    /// Read the log
    #[command(subcommand)]
    Events(EventsCommand),
    /// What is worth knowing this morning: what got worse, since when, and what shows it
    Findings(FindingsArgs),
    /// Mark what happened to the app
    #[command(subcommand)]
    Mark(MarkCommand),
    /// Fold the log again beside the tables that are read, and swap at the end
    Rebuild(RebuildArgs),
    /// Fold the log into a scratch copy and compare it with the live tables
    Verify {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Checks of what is on record
    #[command(subcommand)]
    Audit(AuditCommand),
    /// What may be called by whom, and what other rules would have decided
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// MCP for clients that only speak over standard input and output
    #[command(subcommand)]
    Mcp(McpCommand),
    /// Servers mounted behind the gateway, and their tools
    #[command(subcommand)]
    Mounts(MountsCommand),
    /// Commits that could not be folded, and why
    #[command(subcommand)]
    Parked(ParkedCommand),
    /// Print a token for a local account (development issuer only)
    Token(TokenArgs),
    /// Credentials for dashboards outside, which may look and nothing else
    #[command(subcommand)]
    Viewers(ViewersCommand),
    /// Accounts of this machine's data folder, or of the database
    #[command(subcommand)]
    Accounts(AccountsCommand),
    /// Keys at rest: which key-encryption key seals what, and sealing everything anew with another
    #[command(subcommand)]
    Vault(VaultCommand),
    /// Encrypted fields: sealing all of them anew, beside a running server
    #[command(subcommand)]
    Seal(SealCommand),
    /// Copy everything this server keeps into a new folder; stop it first
    Backup(BackupArgs),
    /// Bring a backup back into an empty data folder
    Restore(RestoreArgs),
    /// The configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Whether the server on this machine is well, for probes: exit 0, or 5
    Health {
        /// Alive is enough; it need not be ready
        #[arg(long)]
        live: bool,
    },
    /// What programs rely on, made from the code: NATS or HTTP
    Schema {
        /// Which
        contract: Contract,
    },
    /// Check secrets, NATS, tables, clock, catalog and address, and say how to mend what is wrong
    Doctor {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

impl Command {
    fn wants_json(&self) -> bool {
        match self {
            Self::Up(_)
            | Self::Gateway(_)
            | Self::Projector(_)
            | Self::Runner(_)
            | Self::Accounts(_)
            | Self::Mcp(_)
            | Self::Health { .. } => false,
            Self::Demo(args) => args.json,
            Self::Seed(args) => args.api.json,
            Self::Cleanup(args) => args.api.json,
            Self::Tick(args) => args.api.json,
            Self::Top(args) => args.api.json,
            Self::Personas(command) => command.api().json,
            Self::Seal(command) => command.api().json,
            Self::Events(_) | Self::Schema { .. } => true,
            Self::Token(args) => args.json,
            Self::Findings(args) => args.json,
            Self::Mark(command) => command.wants_json(),
            Self::Rebuild(args) => args.json,
            Self::Audit(command) => command.wants_json(),
            Self::Policy(command) => command.wants_json(),
            Self::Mounts(command) => command.wants_json(),
            Self::Parked(command) => command.wants_json(),
            Self::Vault(command) => command.wants_json(),
            Self::Viewers(command) => command.wants_json(),
            Self::Backup(args) => args.json,
            Self::Restore(args) => args.json,
            Self::Verify { json } | Self::Doctor { json } | Self::Config(ConfigCommand::Print { json }) => {
                *json
            }
        }
    }

    fn house_flags(&self) -> Option<&HouseFlags> {
        match self {
            Self::Up(flags) | Self::Gateway(flags) => Some(flags),
            Self::Projector(args) => Some(&args.house),
            Self::Runner(args) => Some(&args.house),
            Self::Demo(args) => Some(&args.house),
            _ => None,
        }
    }

    /// Whether it needs what accounts are sealed with.
    fn opens_accounts(&self) -> bool {
        !matches!(self, Self::Projector(_) | Self::Runner(_))
    }

    /// What is worth logging unless `RUST_LOG` says otherwise: a server tells its life, a command only its troubles.
    fn log_level(&self) -> &'static str {
        if matches!(
            self,
            Self::Up(_) | Self::Gateway(_) | Self::Projector(_) | Self::Runner(_)
        ) {
            "info"
        } else {
            "warn"
        }
    }
}

impl Cli {
    /// The log level unless the environment says otherwise.
    pub(crate) fn log_level(&self) -> &'static str {
        self.command.log_level()
    }

    /// Runs the command.
    ///
    /// # Errors
    /// Its one clear line and exit code.
    pub(crate) async fn run(self) -> Result<(), CommandError> {
        let layers = Layers::stack(&self.config, self.command.house_flags())?;
        let mut settings = layers.read_for(self.command.opens_accounts())?;
        settings.shown = layers.settings()?;
        let clock = Arc::new(SystemClock::new());
        let mut out = Out::stdout(Format::from_json_switch(self.command.wants_json()), colour());
        let out = &mut out;
        match self.command {
            Command::Up(_) => up::run(&settings, clock, out).await,
            Command::Gateway(_) => gateway::run(&settings, clock, out).await,
            Command::Projector(args) => projector::run(&args, &settings, clock).await,
            Command::Runner(args) => runner::run(&args, &settings, clock).await,
            Command::Demo(args) => demo::run(&args, settings, clock, out).await,
            Command::Seed(args) => {
                let api = ApiClient::connect(&args.api, &settings)?;
                seed::run(&args, &api, &settings, out).await
            }
            Command::Cleanup(args) => {
                let api = ApiClient::connect(&args.api, &settings)?;
                cleanup::run(&args, &api, &settings, out).await
            }
            Command::Tick(args) => tick::run(&args, &ApiClient::connect(&args.api, &settings)?, out).await,
            Command::Top(args) => {
                top::run(&args, &ApiClient::connect(&args.api, &settings)?, clock, out).await
            }
            Command::Personas(command) => {
                personas::run(&command, &ApiClient::connect(command.api(), &settings)?, out).await
            }
            Command::Events(command) => log_events::run(&command, &settings, clock, out).await,
            Command::Findings(args) => findings::run(&args, &settings, out).await,
            Command::Mark(command) => mark::run(&command, &settings, clock, out).await,
            Command::Rebuild(args) => rebuild::run(&args, &settings, clock, out).await,
            Command::Verify { .. } => verify::run(&settings, clock, out).await,
            Command::Audit(command) => audit::run(&command, &settings, clock, out).await,
            Command::Policy(command) => policy::run(&command, &settings, clock, out).await,
            Command::Mcp(command) => bridge::run(command, &settings, clock).await,
            Command::Mounts(command) => mounts::run(&command, &settings, out).await,
            Command::Parked(command) => parked::run(&command, &settings, clock, out).await,
            Command::Token(args) => token::run(&args, &settings, clock, out).await,
            Command::Viewers(command) => viewers::run(&command, &settings, clock, out).await,
            Command::Accounts(command) => accounts::run(&command, &settings, clock, out).await,
            Command::Vault(command) => vault::run(&command, &settings, clock, out).await,
            Command::Seal(command) => {
                let api = ApiClient::connect(command.api(), &settings)?;
                seal::run(&command, &api, &clock, out).await
            }
            Command::Config(ConfigCommand::Print { .. }) => config::run(&layers, out),
            Command::Backup(args) => backup::run_backup(&args, &settings, clock, out).await,
            Command::Restore(args) => backup::run_restore(&args, &settings, &clock, out),
            Command::Health { live } => health::run(live, &settings, out).await,
            Command::Schema { contract } => schema::run(contract, &settings, out),
            Command::Doctor { .. } => doctor::run(&settings, clock, out).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_is_what_people_read() {
        insta::assert_snapshot!(Cli::command().render_long_help());
    }
}
