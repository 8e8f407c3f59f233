//! A key set as its issuer publishes it (RFC 7517), and the keys in it that we take.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Keys one set may have.
const KEYS_MAX: usize = 64;
/// Bytes of an RSA modulus at least: 2,048 bits.
const RSA_BYTES_MIN: usize = 256;
/// And at most, so that nobody makes us compute for long.
const RSA_BYTES_MAX: usize = 1_024;

/// What a key signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenAlgorithm {
    /// Ed25519.
    EdDSA,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// RSA PKCS#1 v1.5 with SHA-256, 2,048 bits at least.
    RS256,
}

/// One key of an issuer. It verifies with its own algorithm and no other, whatever a token says.
#[derive(Clone)]
pub(crate) struct IssuerKey {
    algorithm: TokenAlgorithm,
    public: DecodingKey,
    /// Its id and the members that make it: the same id with other members is another key.
    pub(super) identity: Arc<str>,
}

impl fmt::Debug for IssuerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuerKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl IssuerKey {
    pub(super) fn algorithm(&self) -> Algorithm {
        match self.algorithm {
            TokenAlgorithm::EdDSA => Algorithm::EdDSA,
            TokenAlgorithm::ES256 => Algorithm::ES256,
            TokenAlgorithm::RS256 => Algorithm::RS256,
        }
    }

    pub(super) fn public(&self) -> &DecodingKey {
        &self.public
    }
}

/// The keys in `body` for one of `algorithms`, by their id. What is not for signatures, has no id, shares one, or is of
/// a kind we do not take is passed over: an issuer may publish more than concerns us.
///
/// # Errors
/// Why `body` is no key set.
pub(super) fn parse(
    body: &[u8],
    algorithms: &[TokenAlgorithm],
) -> Result<HashMap<String, IssuerKey>, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(body).map_err(|error| format!("no key set: {error}"))?;
    if set.keys.len() > KEYS_MAX {
        return Err(format!(
            "{} keys, where {KEYS_MAX} are taken at most",
            set.keys.len()
        ));
    }
    let (mut keys, mut ids, mut shared) = (HashMap::new(), HashSet::new(), HashSet::new());
    for entry in &set.keys {
        let Some(kid) = entry
            .get("kid")
            .and_then(Value::as_str)
            .filter(|kid| !kid.is_empty())
        else {
            continue;
        };
        if !ids.insert(kid) {
            shared.insert(kid);
        }
        if let Some(key) = key_of(kid, entry).filter(|key| algorithms.contains(&key.algorithm)) {
            keys.insert(kid.to_owned(), key);
        }
    }
    keys.retain(|kid, _| !shared.contains(kid.as_str()));
    Ok(keys)
}

fn key_of(kid: &str, entry: &Value) -> Option<IssuerKey> {
    let member = |name: &str| entry.get(name).and_then(Value::as_str);
    let is_for_signatures = entry.get("use").is_none_or(|purpose| purpose == "sig")
        && entry.get("key_ops").is_none_or(|ops| {
            ops.as_array()
                .is_some_and(|ops| ops.iter().any(|op| op == "verify"))
        });
    if !is_for_signatures {
        return None;
    }
    let (algorithm, name, public, material) = match (member("kty")?, member("crv")) {
        ("OKP", Some("Ed25519")) => {
            let x = member("x")?;
            let public = DecodingKey::from_ed_components(x).ok()?;
            (TokenAlgorithm::EdDSA, "EdDSA", public, x.to_owned())
        }
        ("EC", Some("P-256")) => {
            let (x, y) = (member("x")?, member("y")?);
            let public = DecodingKey::from_ec_components(x, y).ok()?;
            (TokenAlgorithm::ES256, "ES256", public, format!("{x}.{y}"))
        }
        ("RSA", _) => {
            let (n, e) = (member("n")?, member("e")?);
            let bytes = URL_SAFE_NO_PAD.decode(n).ok()?.len();
            if !(RSA_BYTES_MIN..=RSA_BYTES_MAX).contains(&bytes) {
                return None;
            }
            let public = DecodingKey::from_rsa_components(n, e).ok()?;
            (TokenAlgorithm::RS256, "RS256", public, format!("{n}.{e}"))
        }
        _ => return None,
    };
    let agrees = entry.get("alg").is_none_or(|alg| alg == name);
    agrees.then(|| IssuerKey {
        algorithm,
        public,
        identity: format!("{kid}|{name}|{material}").into(),
    })
}
