//! Who there is, how they prove it, and the keys to what is theirs.
//!
//! Identity is the second system of record beside the log. What it holds must be destroyable (a password, a
//! master key, an account), so it is not folded from events and not rebuilt: it is one SQLite file, or one schema of a
//! Postgres database, that every commit is synced to, with a backup of its own.
//!
//! ```text
//! register ─▶ users, credentials, personal space, vault        one transaction, or none of it
//! login ────▶ Argon2id (bounded, off the runtime) ─▶ token     EdDSA, signed by the newest key
//! authenticate ─▶ header exactly ours ─▶ signature ─▶ iss, aud, sub, nbf, exp by our clock ─▶ account lives
//! vault_key ─▶ sealed master key ─▶ opened with the key-encryption key it names, bound to its owner
//! ```
//!
//! * `registration`, `accounts`: an account's life. `suspension`, `deletion`, `rewrite`: its end, down to the bytes.
//!   `known_accounts`: that it lives, asked often.
//! * `passwords`, `login`: proving who one is.
//! * `signing_keys`, `tokens`, `authenticate`: tokens, from their keys to their check on every request. `vouching`: what
//!   we say of an account to others. `issuers`, `external`: whose word we take for who somebody is.
//! * `spaces`, `memberships`, `members`, `invitations`: who shares records with whom; `handover`, `deleted_spaces`: their
//!   next owners and their end. `vault`, `seal`, `key_ring`: the
//!   keys those records are encrypted with, and the keys those are sealed with. `derived`: keys for other rooms.
//! * `revocation`: logins that are gone on with, and those that are taken back. `grants`: keys handed out for a while.
//! * `key_changes`: that keys in memory are to be forgotten. `database`: the two databases all of this can live
//!   in; `moving`: from one to the other.
//! * `audit`: every sensitive act, on record.
//!
//! **To add a column or table**: add the next numbered file to `migrations/sqlite/identity/` and to
//! `migrations/postgres/identity/` (never edit one), say in it what old code sees, comment every column, and put the SQL
//! beside the one function that needs it, once, in what both databases understand; see `database`.
//! **To add a claim**: write it in `tokens.rs`; to *require* it, add its check and its bad tokens to
//! `authenticate/bad_tokens.rs` first. **To add a kind of secret**: seal it with a [`KeyEncryptionKey`] under a label of
//! its own in `seal.rs`, and add it to the byte scan in `tests/identity/keys_at_rest.rs`.
//!
//! This room never touches the log, MCP, or how personas behave. Compatible JSON shapes are made by the server.

mod accounts;
mod audit;
mod authenticate;
mod cache;
mod database;
mod deleted_spaces;
mod deletion;
mod derived;
mod error;
mod external;
mod grants;
mod handover;
mod hashing_threads;
mod invitations;
mod issuers;
mod key_changes;
mod key_ring;
mod known_accounts;
mod known_spaces;
mod login;
mod members;
mod memberships;
mod moving;
mod passwords;
mod registration;
mod revocation;
mod rewrite;
mod seal;
mod settings;
mod signing_keys;
mod spaces;
mod store;
mod suspension;
mod telemetry;
#[cfg(test)]
mod testing;
mod text_enum;
mod throttle;
mod tokens;
mod vault;
mod vouching;

use std::sync::{Arc, OnceLock};

use events::{Clock, Ids};

pub use accounts::{Account, AccountKind, Role, Tier};
pub use audit::{Act, AuditEntry};
pub use authenticate::{Caller, TokenError};
pub use database::Database;
pub use deleted_spaces::DeletedSpace;
pub use deletion::Deleted;
pub use error::{CryptoError, DatabaseError, IdentityError};
pub use external::{
    ExternalAccount, ExternalError, ExternalFuture, ExternalIdentity, ExternalKey, ExternalLogin,
};
pub use grants::{DERIVATION_VERSION, GrantError, GrantInUse, GrantRequest, KeyGrant, Minter, RunnerKey};
pub use handover::Handover;
pub use invitations::{Invitation, InvitationToMe};
pub use issuers::{KeySetFuture, KeySetSource, TokenAlgorithm, TrustedIssuer};
pub use key_ring::KeyRing;
pub use login::Login;
pub use members::Member;
pub use memberships::Membership;
pub use moving::{MovedAccounts, move_accounts};
pub use registration::{PersonaAccount, Registration, Upserted};
pub use seal::KeyEncryptionKey;
pub use settings::{IdentitySettings, PasswordCost};
pub use signing_keys::RotatedSigningKey;
pub use spaces::{NewSpace, SpaceRole, SpaceType};
pub use tokens::LoginSession;
pub use vault::{MasterKey, RecoveryWrap, Rewrapped, SpaceKeys, VaultAccess, VaultStatus};

/// The room. A handle that is cheap to clone; all clones share one database and its caches.
#[derive(Debug, Clone)]
pub struct Identity {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    // dependencies
    db: database::Db,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,

    // keys
    keks: KeyRing,
    signing_keys: signing_keys::SigningKeys,
    /// Whose tokens are believed beside our own; set once.
    issuers: OnceLock<issuers::Issuers>,
    /// Where accounts, spaces and keys are kept, if not here; set once.
    external: OnceLock<external::External>,

    // the work and its limits
    tokens: tokens::TokenRules,
    passwords: passwords::Passwords,

    // what was true a moment ago
    verified_tokens: authenticate::VerifiedTokens,
    known_accounts: known_accounts::KnownAccounts,
    known_spaces: known_spaces::KnownSpaces,
    key_changes: key_changes::KeyChanges,
}

impl Identity {
    /// Opens the database, brings its schema up to date, and makes the first signing key where there is none.
    ///
    /// # Errors
    /// [`IdentityError::NewerSchema`] when a newer program wrote there;
    /// [`IdentityError::WrongKeyEncryptionKey`] or [`CryptoError::DoesNotOpen`], both naming the key's id, when
    /// the stored keys were sealed with another key-encryption key; [`IdentityError::InvalidField`] when the
    /// settings name no issuer or audience.
    pub async fn open(
        settings: IdentitySettings,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Result<Self, IdentityError> {
        telemetry::describe();
        let tokens = tokens::TokenRules::try_new(settings.issuer, settings.audiences, settings.token_ttl)?;
        let db = database::Db::open(&settings.database).await?;
        rewrite::at_start(&db).await?;
        audit::let_go_of_old(&db, clock.now()).await?;
        let signing_keys =
            signing_keys::SigningKeys::load_or_make(&db, &settings.keks, clock.now(), ids.as_ref()).await?;
        let key_changes = key_changes::KeyChanges::read(&db).await?;
        let passwords = passwords::Passwords::start(settings.password_cost).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                db,
                clock,
                ids,
                keks: settings.keks,
                signing_keys,
                issuers: OnceLock::new(),
                external: OnceLock::new(),
                tokens,
                passwords,
                verified_tokens: authenticate::VerifiedTokens::default(),
                known_accounts: known_accounts::KnownAccounts::default(),
                known_spaces: known_spaces::KnownSpaces::default(),
                key_changes,
            }),
        })
    }

    /// Lets go of the database once the statements under way are done. Every later call fails.
    pub async fn close(&self) {
        self.inner.db.close().await;
    }

    /// The public keys our tokens can be verified with, as a JSON Web Key Set (RFC 7517).
    pub fn jwks(&self) -> serde_json::Value {
        self.inner.signing_keys.jwks(self.inner.clock.now())
    }
}
