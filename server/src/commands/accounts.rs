//! `dramatis accounts`: the first administrator of a deployment whose issuer mints no tokens on the spot, and moving
//! accounts from a file into Postgres.

use std::sync::Arc;

use events::{SystemClock, SystemIds};
use identity::{Database, IdentityError, Role, move_accounts};

use crate::config::Config;
use crate::exit::CommandError;
use crate::house::open_identity;
use crate::output::{Out, count_of};
use crate::run_file::FolderLock;

/// Accounts of this machine's data folder, or of the database
#[derive(Debug, clap::Subcommand)]
pub(crate) enum AccountsCommand {
    /// Make a registered account an administrator; its next login says so
    Promote {
        /// The account's email
        email: String,
    },
    /// Move the accounts of the data folder into the Postgres database that `database` names; stop the server first
    ///
    /// All of them or none. The file stays beside it as identity.sqlite.moved: destroy it when all is well.
    Move,
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
    let AccountsCommand::Promote { email } = command else {
        return move_to_database(config, out).await;
    };
    if !config.has_accounts() {
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

async fn move_to_database(config: &Config, out: &mut Out) -> Result<(), CommandError> {
    let (file, Some(url)) = (config.identity_file(), &config.database) else {
        return Err(CommandError::Usage(
            "name the Postgres database to move the accounts to with --database or DRAMATIS_DATABASE"
                .to_owned(),
        ));
    };
    if !file.exists() {
        return Err(CommandError::NotFound(format!(
            "there are no accounts in {}; name a folder with --data",
            config.data.display()
        )));
    }
    // Nobody writes to what is being moved.
    let lock = FolderLock::take(&config.data)?;
    let moved = move_accounts(&file, &Database::Postgres(url.clone()))
        .await
        .map_err(|error| match &error {
            IdentityError::Database(cause) => {
                CommandError::Unavailable(format!("accounts at {}: {cause}", config.tables_place()))
            }
            error => CommandError::Failed(error.to_string()),
        })?;
    let aside = file.with_extension("sqlite.moved");
    std::fs::rename(&file, &aside)
        .map_err(|error| CommandError::Failed(format!("{}: {error}", file.display())))?;
    drop(lock);
    out.text(format!(
        "{} with {} rows are in {} now; the file is {}: destroy it when all is well",
        count_of(moved.accounts, "account"),
        moved.rows,
        config.tables_place(),
        aside.display()
    ))?;
    out.text("the key-encryption key stays where it is, and every process on these accounts needs it")
}
