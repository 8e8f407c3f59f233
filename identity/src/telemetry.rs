//! The room's metrics, each with its limit in its description.

use metrics::Unit;

/// Tokens refused, by reason.
pub(crate) const TOKENS_REFUSED: &str = "dramatis_identity_tokens_refused_total";
/// Logins refused.
pub(crate) const LOGINS_REFUSED: &str = "dramatis_identity_logins_refused_total";
/// Logins not looked at, because their email had too many wrong passwords.
pub(crate) const LOGINS_THROTTLED: &str = "dramatis_identity_logins_throttled_total";
/// Password checks admitted and not yet done.
pub(crate) const PASSWORD_CHECKS: &str = "dramatis_identity_password_checks";
/// Verified tokens remembered.
pub(crate) const TOKENS_REMEMBERED: &str = "dramatis_identity_tokens_remembered";

/// Key sets of other issuers fetched.
pub(crate) const KEYS_FETCHED: &str = "dramatis_identity_issuer_keys_fetched_total";

/// Notes that an issuer was asked for its keys.
pub(crate) fn keys_fetched(is_had: bool) {
    let outcome = if is_had { "fetched" } else { "failed" };
    metrics::counter!(KEYS_FETCHED, "outcome" => outcome).increment(1);
}

/// Says what each metric is, and starts them at zero.
pub(crate) fn describe() {
    metrics::describe_counter!(TOKENS_REFUSED, Unit::Count, "Bearer tokens refused, by reason");
    metrics::describe_counter!(
        LOGINS_REFUSED,
        Unit::Count,
        "Logins with a wrong email or password"
    );
    metrics::describe_counter!(
        LOGINS_THROTTLED,
        Unit::Count,
        "Logins put off after 10 wrong passwords for their email in 15 minutes"
    );
    metrics::describe_gauge!(
        PASSWORD_CHECKS,
        Unit::Count,
        "Password hashes being computed or waiting; more than 64 are refused as busy"
    );
    metrics::describe_gauge!(
        TOKENS_REMEMBERED,
        Unit::Count,
        "Verified tokens remembered; the oldest are forgotten beyond 8192"
    );
    metrics::describe_counter!(
        KEYS_FETCHED,
        Unit::Count,
        "Key sets of other issuers asked for, by outcome"
    );
    for outcome in ["fetched", "failed"] {
        metrics::counter!(KEYS_FETCHED, "outcome" => outcome).absolute(0);
    }
    metrics::counter!(LOGINS_REFUSED).absolute(0);
    metrics::counter!(LOGINS_THROTTLED).absolute(0);
    metrics::gauge!(PASSWORD_CHECKS).set(0.0);
    metrics::gauge!(TOKENS_REMEMBERED).set(0.0);
}
