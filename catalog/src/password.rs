//! The password a persona's account has: derived, so that no runner needs to store one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// The seed secret of a development machine. It is public, so production refuses it.
pub const DEVELOPMENT_SEED_SECRET: &str = "dev-persona-seed-secret-rotate-in-prod";

/// Characters of a derived password.
const PASSWORD_CHARS: usize = 32;

/// The password of the persona with this email under `seed_secret`.
///
/// Base64 of HMAC-SHA256 with the secret as key and the email as message, without any character outside
/// `A-Za-z0-9`, cut to 32 characters. The email is taken as it is: hand over the account's own spelling.
#[expect(clippy::missing_panics_doc, reason = "HMAC takes a key of any length")]
pub fn derive_password(seed_secret: &SecretString, email: &str) -> SecretString {
    #[expect(
        clippy::expect_used,
        reason = "HMAC takes a key of any length, so there is no error to return"
    )]
    let mut mac =
        Hmac::<Sha256>::new_from_slice(seed_secret.expose_secret().as_bytes()).expect("HMAC takes any key");
    mac.update(email.as_bytes());
    let encoded = STANDARD.encode(mac.finalize().into_bytes());
    let password: String = encoded
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(PASSWORD_CHARS)
        .collect();
    password.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Vector {
        secret: String,
        email: String,
        password: String,
    }

    #[test]
    fn derived_passwords_agree_with_the_published_vectors() {
        let vectors: Vec<Vector> = serde_json::from_str(include_str!("../tests/fixtures/passwords.json"))
            .expect("the fixture is JSON");
        assert_eq!(vectors.len(), 3);
        for vector in vectors {
            let password = derive_password(&vector.secret.clone().into(), &vector.email);
            assert_eq!(
                password.expose_secret(),
                vector.password,
                "{} {}",
                vector.secret,
                vector.email
            );
        }
    }

    #[test]
    fn another_email_or_another_secret_is_another_password() {
        let of =
            |secret: &str, email: &str| derive_password(&secret.into(), email).expose_secret().to_owned();
        assert_ne!(
            of("a", "persona.anna@mana.test"),
            of("a", "persona.ben@mana.test")
        );
        assert_ne!(
            of("a", "persona.anna@mana.test"),
            of("b", "persona.anna@mana.test")
        );
    }
}
