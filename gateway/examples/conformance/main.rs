//! The gateway with the fixtures that the official MCP conformance suite asks for, behind its own door: tokens, owners
//! and policy as always. It is an example and not part of the program: nobody can reach the fixtures in production.
//!
//! With `--mount URL FILE` it has no fixtures of its own: it mounts the server at URL, which keeps its own names, with
//! the credentials in FILE, and passes everything through.
//!
//! It listens on a free port of the loopback interface, prints one line of JSON with its address and a token, and
//! serves until it is ended. `deploy/conformance/run` runs the suite against it.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program of its own, which tells whoever started it where it is"
)]

mod fixtures;
mod questions;
mod tools;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use events::{MemoryLog, SystemClock, SystemIds};
use gateway::{Annex, Gateway, GatewaySettings, MountSettings, PolicyRules, ToolRegistry, Upstream};
use identity::{
    AccountKind, Identity, IdentitySettings, KeyEncryptionKey, PasswordCost, Registration, Role, Tier,
};
use projections::{Projector, Tables};
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;

use crate::fixtures::Fixtures;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let (clock, ids) = (Arc::new(SystemClock::new()), Arc::new(SystemIds));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let public_url = format!("http://{}", listener.local_addr()?);
    let identity = IdentitySettings {
        database: dir.path().join("identity.sqlite").into(),
        keks: KeyEncryptionKey::new("fixtures", [7; 32]).into(),
        issuer: public_url.clone(),
        audiences: vec![format!("{public_url}/mcp")],
        token_ttl: Duration::from_hours(1),
        password_cost: PasswordCost::Fast,
    };
    let identity = Identity::open(identity, clock.clone(), ids.clone()).await?;
    let account = Registration {
        email: "suite@example.test".to_owned(),
        password: "correct horse battery".into(),
        name: None,
        kind: AccountKind::Human,
        role: Role::User,
        tier: Tier::Free,
        time_zone: None,
    };
    let account = identity.register(account).await?;
    let token = identity.mint(&account.id).await?.token;

    let log = Arc::new(MemoryLog::new());
    let tables = Tables::open(&dir.path().join("tables.sqlite")).await?;
    let (projector, handle) = Projector::new(log.clone(), tables.clone(), clock.clone());
    let stop = CancellationToken::new();
    let folding = tokio::spawn(projector.run(stop.clone()));
    let mut settings = GatewaySettings {
        public_url: public_url.clone(),
        // The suite comes through a proxy on a port of its own.
        allowed_origins: vec!["http://localhost:*".to_owned(), "http://127.0.0.1:*".to_owned()],
        ..GatewaySettings::default()
    };
    // The suite calls some tools often, and several rounds come within one window.
    settings.policy.rules = PolicyRules::built_in().with_calls_per_window(1_000);
    let (registry, annex): (_, Option<Arc<dyn Annex>>) = if let Some(mount) = mount() {
        settings.mounts.mounts = vec![mount];
        settings.mounts.folder = dir.path().join("mounts");
        (ToolRegistry::built_in()?, None)
    } else {
        let fixtures = Arc::new(Fixtures::over(log.clone()));
        (ToolRegistry::built_in_and(tools::all(&fixtures))?, Some(fixtures))
    };
    let gateway = Gateway::with_registry(
        registry, settings, identity, log, tables, handle, clock, ids, annex,
    )?;
    gateway.mounts_settled(Duration::from_secs(10)).await;
    let told = serde_json::json!({"url": format!("{public_url}/mcp"), "token": token.expose_secret()});
    println!("{told}");
    axum::serve(listener, gateway.router(gateway.door())).await?;
    stop.cancel();
    folding.await??;
    Ok(())
}

/// The server to mount, where one is named.
fn mount() -> Option<MountSettings> {
    let mut arguments = std::env::args()
        .skip_while(|argument| argument != "--mount")
        .skip(1);
    let (url, credentials) = (arguments.next()?, arguments.next()?);
    let mount = MountSettings::new("upstream", Upstream::Http { url });
    Some(MountSettings {
        prefix: String::new(),
        auth_file: Some(credentials.into()),
        allow_private_addresses: true,
        ..mount
    })
}
