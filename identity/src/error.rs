//! What can go wrong at this room's door, apart from tokens (see [`crate::TokenError`]).

use sqlx::migrate::MigrateError;

/// Why identity could not do what it was asked.
///
/// `EmailTaken` to `Busy` are the world saying no; asking again unchanged gives the same answer, except for
/// `Suspended` and `Busy`, which pass. The rest are failures: we could not ask, or what is stored cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// An account has this email already.
    #[error("the email is taken; log in, or register with another one")]
    EmailTaken,
    /// A field of a request does not keep its rule.
    #[error("{field} {reason}")]
    InvalidField {
        /// The field, as the request spells it.
        field: &'static str,
        /// What the rule is, in words that follow the field's name.
        reason: String,
    },
    /// The email and the password do not belong together. Which of the two is wrong is never said.
    #[error("the email or the password is wrong")]
    BadCredentials,
    /// Too many wrong passwords for one email, whether or not it is anybody's.
    #[error("too many wrong passwords for this email; try again in {retry_after_s} seconds")]
    Throttled {
        /// When the next password is looked at, seconds from now.
        retry_after_s: u64,
    },
    /// There is no such account, space or invitation, or none that the caller may know of.
    #[error("there is no such account, space or invitation")]
    NotFound,
    /// The caller is in the space, but may not do this there.
    #[error("only {needed} of the space may do this")]
    SpaceRoleNeeded {
        /// Who may, in words.
        needed: &'static str,
    },
    /// The invited is in the space already.
    #[error("this account is a member of the space already")]
    AlreadyMember,
    /// The owner cannot leave a space, be taken out of it or get another role.
    #[error(
        "the owner stays the owner of a space: what is encrypted there is sealed with its key; hand the space over to a \
         member first, or delete it (a personal space goes with its account)"
    )]
    OwnerStays,
    /// A space cannot change owners where what is in it cannot be sealed anew.
    #[error(
        "what is encrypted in this space would have to be sealed anew, and {whose} is a zero-knowledge account, whose \
         key is not here; turn zero knowledge off for the time being, or take what is in the space along with its own app"
    )]
    ZeroKnowledgeHandover {
        /// Whose key is missing, in words.
        whose: &'static str,
    },
    /// It is kept by another system, whose word counts.
    #[error("accounts and spaces are kept at {origin}; change them there")]
    KeptElsewhere {
        /// Where.
        origin: String,
    },
    /// The persona has no account, or another password, where accounts are kept.
    #[error("{origin} does not know this persona with the password of our seed secret; seed it there first")]
    UnknownElsewhere {
        /// Where.
        origin: String,
    },
    /// The system where accounts are kept did not give what it was asked for.
    #[error("{origin}, where accounts are kept, {error}")]
    External {
        /// Where.
        origin: String,
        /// Why.
        #[source]
        error: crate::external::ExternalError,
    },
    /// The key is kept elsewhere, and is given to its owner alone.
    #[error("this space's key is kept elsewhere and given to its owner alone, who has not been here lately")]
    OwnerAway,
    /// Keys cannot go while a space that was handed over is being sealed anew.
    #[error(
        "a space that was handed over is still being sealed anew with this account's key; try again in ten minutes"
    )]
    HandoverUnderWay,
    /// There are as many of something as there may be.
    #[error("there may be {max} {what} at most")]
    SpaceLimit {
        /// Of what, in words.
        what: &'static str,
        /// The limit.
        max: i64,
    },
    /// The email belongs to an account of another kind, which is left as it is.
    #[error("the account is not a persona; it was left as it is")]
    NotAPersona,
    /// The account is being erased. When that is done its email is free again.
    #[error("the account is being erased; try again when it is gone")]
    Suspended,
    /// The account has no master key yet.
    #[error("the vault is not initialised; make it before reading its key")]
    VaultNotInitialised,
    /// The login is too old to be gone on with, or not one of ours.
    #[error("this login cannot be gone on with; log in again")]
    LoginEnded,
    /// The account is not one that can become a persona's.
    #[error("only an ordinary person's account can be marked as a persona's")]
    NotStampable,
    /// Only the owner has the master key.
    #[error(
        "this account is zero-knowledge: only its owner's own client has the key; decrypt there, or give the server \
         a key again with POST /api/v1/me/encryption-vault/zero-knowledge"
    )]
    ZeroKnowledge,
    /// A zero-knowledge account's key cannot be replaced here, because it is not here.
    #[error("a zero-knowledge account's key is not here to be rotated; turn zero knowledge off first")]
    RotateForbidden,
    /// Zero knowledge would destroy the only copy of the key.
    #[error("without a recovery wrap the key would be lost; leave one first with POST …/recovery-wrap")]
    RecoveryWrapMissing,
    /// The recovery wrap is the only copy of the key.
    #[error("the recovery wrap is the only copy of this zero-knowledge account's key and stays")]
    ZeroKnowledgeActive,
    /// The key has sealed as much as it may.
    #[error(
        "the master key has sealed as many fields as one key safely can; replace it with POST \
         /api/v1/me/encryption-vault/rotate"
    )]
    KeyExhausted,
    /// More password checks are waiting than memory is set aside for.
    #[error("too many password checks are waiting; try again in a few seconds")]
    Busy,
    /// The database was written by a newer program, and is left as it is.
    #[error("the identity database has migration {migration}, which this program does not know; upgrade it")]
    NewerSchema {
        /// The number of the unknown migration.
        migration: i64,
    },
    /// Something is sealed with a key-encryption key other than the configured one.
    #[error(
        "{what} is sealed with key-encryption key \"{sealed_with}\", but \"{configured}\" is configured; \
         configure the key \"{sealed_with}\""
    )]
    WrongKeyEncryptionKey {
        /// What could not be opened.
        what: &'static str,
        /// The id of the key it was sealed with.
        sealed_with: String,
        /// The ids of the keys that are configured.
        configured: String,
    },
    /// The database did not answer as it should.
    #[error("the identity database did not answer")]
    Database(#[source] DatabaseError),
    /// A cryptographic step could not be done.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// What the database said.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// A statement did not run.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The file could not be made.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// Somebody reads on from before.
    #[error(
        "somebody who reads on from before keeps what was deleted from being written over; it may still be in the files"
    )]
    ReaderInTheWay,
    /// A stored value is outside what its column may hold.
    #[error("column {column} holds a value this program does not know")]
    Value {
        /// The column, as `table.column`.
        column: &'static str,
    },
}

/// Why a cryptographic step could not be done. Says what it was about, never the material.
#[derive(Debug, thiserror::Error)]
pub enum CryptoError {
    /// The operating system gave no random bytes, so no key was made.
    #[error("the operating system gives no random bytes")]
    NoRandomness,
    /// The key has the right id, but does not open it: other bytes under the same id, or a changed row.
    #[error(
        "{what} does not open with key-encryption key \"{kek_id}\": it was sealed with other bytes under the same \
         id, or the stored row was changed"
    )]
    DoesNotOpen {
        /// What could not be opened.
        what: &'static str,
        /// The id of the key that was tried.
        kek_id: String,
    },
    /// Something could not be sealed.
    #[error("{what} could not be sealed")]
    NotSealed {
        /// What could not be sealed.
        what: &'static str,
    },
    /// The password hash could not be computed.
    #[error("the password could not be hashed")]
    NotHashed,
    /// A signing key is not usable.
    #[error("signing key \"{kid}\" is not a usable Ed25519 key")]
    BadSigningKey {
        /// The key's id.
        kid: String,
    },
    /// A token could not be signed.
    #[error("the token could not be signed")]
    NotSigned,
}

impl From<sqlx::Error> for IdentityError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<MigrateError> for IdentityError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::VersionMissing(migration) => Self::NewerSchema { migration },
            error => Self::Database(error.into()),
        }
    }
}

impl IdentityError {
    /// A stored value that no version of ours wrote into `column`.
    pub(crate) fn unknown_value(column: &'static str) -> Self {
        Self::Database(DatabaseError::Value { column })
    }
}
