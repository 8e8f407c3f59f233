//! Where tokens for a mounted server are exchanged, as `[mounts.NAME.token_exchange]` describes it.

use std::path::PathBuf;

use gateway::{ClientAuthentication, SubjectToken, TokenExchange};
use serde::{Deserialize, Serialize};

/// A token endpoint of RFC 8693.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenExchangeKeys {
    /// Where it is.
    endpoint: String,
    /// Who we are to it.
    client_id: String,
    /// File of the secret that proves it.
    client_secret_file: PathBuf,
    /// How it is proven.
    #[serde(default)]
    client_auth: ClientAuthKey,
    /// What is exchanged.
    #[serde(default)]
    subject: SubjectKey,
    /// Whom a statement is for; the endpoint when not given.
    #[serde(default)]
    statement_audience: Option<String>,
    /// Names of the servers the token is for.
    #[serde(default)]
    audience: Vec<String>,
    /// Addresses of the servers the token is for.
    #[serde(default)]
    resource: Vec<String>,
    /// What the token is to allow.
    #[serde(default)]
    scope: Option<String>,
    /// Whether the endpoint may be at a private address.
    #[serde(default)]
    allow_private_addresses: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ClientAuthKey {
    #[default]
    Basic,
    Post,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SubjectKey {
    #[default]
    Statement,
    Caller,
}

impl TokenExchangeKeys {
    /// Everything that may not stand as it is.
    pub(super) fn faults(&self) -> Vec<&'static str> {
        let mut faults = Vec::new();
        if self.client_id.is_empty() {
            faults.push("token_exchange.client_id must not be empty");
        }
        if self.subject == SubjectKey::Caller && self.statement_audience.is_some() {
            faults.push("token_exchange.statement_audience is for subject = \"statement\"");
        }
        if self.resource.iter().any(|resource| !is_resource(resource)) {
            faults.push("token_exchange.resource must be absolute addresses without a fragment");
        }
        faults
    }

    pub(super) fn settings(&self) -> TokenExchange {
        let audience = self.statement_audience.clone();
        TokenExchange {
            endpoint: self.endpoint.clone(),
            client_id: self.client_id.clone(),
            client_secret_file: self.client_secret_file.clone(),
            client_authentication: match self.client_auth {
                ClientAuthKey::Basic => ClientAuthentication::Basic,
                ClientAuthKey::Post => ClientAuthentication::Post,
            },
            subject: match self.subject {
                SubjectKey::Caller => SubjectToken::Callers,
                SubjectKey::Statement => SubjectToken::Statement {
                    audience: audience.unwrap_or_else(|| self.endpoint.clone()),
                },
            },
            audiences: self.audience.clone(),
            resources: self.resource.clone(),
            scope: self.scope.clone(),
            allow_private_addresses: self.allow_private_addresses,
        }
    }
}

/// By RFC 8693 §2.1: an absolute address without a fragment.
fn is_resource(text: &str) -> bool {
    reqwest::Url::parse(text).is_ok_and(|url| url.fragment().is_none())
}
