//! `dramatis token`: a token for an account of this machine's own issuer.

use std::sync::Arc;

use events::{Clock as _, SystemClock, SystemIds};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::config::Config;
use crate::exit::CommandError;
use crate::house::{ADMIN_EMAIL, open_identity};
use crate::output::{Format, Out};
use crate::run_file::RunFile;

/// Print a token for a local account (development issuer only)
#[derive(Debug, clap::Args)]
pub(crate) struct TokenArgs {
    /// Whose [default: the built-in administrator]
    #[arg(long, value_name = "EMAIL", default_value = ADMIN_EMAIL, hide_default_value = true)]
    email: String,
    /// Print it with its account and expiry as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`CommandError::NotAllowed`] in production, [`CommandError::NotFound`] for an unknown account.
pub(crate) async fn run(
    args: &TokenArgs,
    config: &Config,
    clock: Arc<SystemClock>,
    out: &mut Out,
) -> Result<(), CommandError> {
    if config.is_production() {
        return Err(CommandError::NotAllowed(
            "tokens are minted here by the development issuer only; log in at /api/v1/auth/login instead"
                .to_owned(),
        ));
    }
    if !config.has_accounts() {
        return Err(CommandError::NotFound(format!(
            "there are no accounts in {} yet; start with `dramatis up`, or name a folder with --data",
            config.data.display()
        )));
    }
    let running = RunFile::find(config);
    if let Some(run) = &running {
        // The server may have lived virtual days; its tokens are judged by its clock.
        let ahead = SignedDuration::from_millis(run.ahead_ms);
        clock.set(clock.now().saturating_add(ahead).unwrap_or(Timestamp::MAX));
    }
    let api = running.map_or_else(|| format!("http://{}", config.listen), |run| run.api);
    let public_url = config.public_url.clone().unwrap_or(api);
    let identity = open_identity(config, &public_url, clock, Arc::new(SystemIds)).await?;
    let failed = |error: identity::IdentityError| CommandError::Failed(error.to_string());
    let account = identity
        .account_by_email(&args.email)
        .await
        .map_err(failed)?
        .ok_or_else(|| {
            CommandError::NotFound(format!(
                "no account has the email {}; register it, or seed the catalog",
                args.email
            ))
        })?;
    let login = identity.mint(&account.id).await.map_err(failed)?;
    if out.format() == Format::Json {
        return out.json(&json!({
            "token": login.token.expose_secret(), "expiresAt": login.expires_at,
            "userId": account.id, "email": account.email,
        }));
    }
    out.text(login.token.expose_secret())
}
