//! Bad tokens at the door: each wrong in one way, most of them signed with a key the program trusts, so that they are
//! refused for what they say and not for their signature. Every one gets 401 on every method, in both eras, with where
//! to get a good one; good ones are accepted before and after.

mod forge;

use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use benches::Site;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::json;

use self::forge::Forge;
use crate::trial::Trial;

/// Bad tokens there must be at least.
const BAD_TOKENS_MIN: usize = 80;

/// Tries every bad token `rounds` times.
///
/// # Errors
/// When the program cannot be run, or refuses good tokens.
#[expect(clippy::disallowed_methods, reason = "a trial takes real time")]
pub(crate) async fn run(program: &Path, rounds: u64, seed: u64) -> anyhow::Result<Trial> {
    let began = Instant::now();
    let dir = tempfile::tempdir()?;
    let site = Site::new(program, &dir.path().join("data"))?;
    let forge = Forge::start(&site).await?;
    let house = site.start_ready().await?;
    let ours = site.account("anna@example.org").await?;
    let client = Client::new();
    let mut trial = Trial::new("tokens", seed);
    good_ones_pass(&site, &client, &forge, &ours).await?;
    let bad = forge.bad_tokens(&ours);
    ensure!(bad.len() >= BAD_TOKENS_MIN, "only {} bad tokens", bad.len());
    for _ in 0..rounds {
        for (name, token) in &bad {
            for (request, asked) in requests(&site, &client) {
                let answer = asked
                    .header("authorization", format!("Bearer {token}"))
                    .send()
                    .await;
                let fault = judge(answer)
                    .await
                    .map(|fault| format!("{name}, {request}: {fault}"));
                trial.add(request, fault);
            }
        }
    }
    good_ones_pass(&site, &client, &forge, &ours).await?;
    house.stop().await?;
    trial.seconds = began.elapsed().as_secs();
    Ok(trial)
}

/// The same question in every way it can be asked.
fn requests(site: &Site, client: &Client) -> [(&'static str, RequestBuilder); 5] {
    let url = format!("{}/mcp", site.api());
    let both = "application/json, text/event-stream";
    let post = || client.post(&url).header("accept", both);
    [
        ("POST initialize", post().json(&initialize())),
        (
            "POST tools/list, 2026-07-28",
            post()
                .header("mcp-protocol-version", "2026-07-28")
                .header("mcp-method", "tools/list")
                .json(
                    &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": {
                    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                    "io.modelcontextprotocol/clientCapabilities": {}}}}),
                ),
        ),
        ("POST without a body", post()),
        ("GET", client.get(&url).header("accept", "text/event-stream")),
        ("DELETE", client.delete(&url)),
    ]
}

pub(crate) fn initialize() -> serde_json::Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "campaign", "version": "1"}}})
}

/// What is wrong with the answer to a bad token.
async fn judge(answer: reqwest::Result<Response>) -> Option<String> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Some(error.to_string()),
    };
    let status = answer.status();
    let challenge = answer
        .headers()
        .get("www-authenticate")
        .and_then(|challenge| challenge.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let body = answer.text().await.unwrap_or_default();
    if status != 401 {
        return Some(format!("{status}: {body}"));
    }
    (!challenge.starts_with("Bearer resource_metadata=\"http")).then(|| format!("challenge {challenge:?}"))
}

async fn good_ones_pass(site: &Site, client: &Client, forge: &Forge, ours: &str) -> anyhow::Result<()> {
    let good = forge.good_tokens();
    for (name, token) in good
        .iter()
        .map(|(name, token)| (*name, token.as_str()))
        .chain([("our own", ours)])
    {
        let asked = client
            .post(format!("{}/mcp", site.api()))
            .header("accept", "application/json, text/event-stream")
            .bearer_auth(token)
            .json(&initialize());
        let answer = asked.send().await?;
        let status = answer.status();
        ensure!(
            status == 200,
            "a good token is refused: {name}: {status} {}",
            answer.text().await?
        );
    }
    Ok(())
}
