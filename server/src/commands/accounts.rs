//! `dramatis accounts promote`: the first administrator of a deployment whose issuer mints no tokens on the spot.

use std::sync::Arc;

use events::{SystemClock, SystemIds};
use identity::{IdentityError, Role};

use crate::config::Config;
use crate::exit::CommandError;
use crate::house::open_identity;
use crate::output::Out;

/// Accounts of this machine's data folder
#[derive(Debug, clap::Subcommand)]
pub(crate) enum AccountsCommand {
    /// Make a registered account an administrator; its next login says so
    Promote {
        /// The account's email
        email: String,
    },
}

/// Runs the command.
///
/// # Errors
/// [`CommandError::NotFound`] for an unknown account.
pub(crate) async fn run(
    command: &AccountsCommand,
    config: &Config,
    clock: Arc<SystemClock>,
    out: &mut Out,
) -> Result<(), CommandError> {
    let AccountsCommand::Promote { email } = command;
    if !config.identity_file().exists() {
        return Err(CommandError::NotFound(format!(
            "there are no accounts in {} yet; start with `dramatis up`, or name a folder with --data",
            config.data.display()
        )));
    }
    let identity = open_identity(config, "", clock, Arc::new(SystemIds)).await?;
    let failed = |error: IdentityError| CommandError::Failed(error.to_string());
    let account = identity.account_by_email(email).await.map_err(failed)?;
    let account = account.ok_or_else(|| {
        CommandError::NotFound(format!("no account has the email {email}; register it first"))
    })?;
    identity
        .set_role(&account.id, Role::Admin)
        .await
        .map_err(failed)?;
    out.text(format!(
        "{} is an administrator from its next login on",
        account.email
    ))
}
