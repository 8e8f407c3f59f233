//! The driver's metrics, each with its limit in its description.

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

use crate::log::{Appended, LogError, Rejection};

const APPENDS: &str = "dramatis_log_appends_total";
const IN_FLIGHT: &str = "dramatis_log_appends_in_flight";
const IN_FLIGHT_MAX: &str = "dramatis_log_appends_in_flight_max";
const CONFLICTS: &str = "dramatis_log_conflicts_total";

/// Handles kept, so that an append looks nothing up.
#[derive(Debug)]
pub(super) struct Telemetry {
    stored: Counter,
    duplicate: Counter,
    refused: Counter,
    busy: Counter,
    unavailable: Counter,
    failed: Counter,
    conflicts_own: Counter,
    conflicts_foreign: Counter,
    in_flight: Gauge,
}

impl Telemetry {
    /// Says what each metric is, and starts them at zero. A recorder that is installed later hears nothing.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    pub(super) fn new(in_flight_max: usize) -> Self {
        describe_counter!(APPENDS, Unit::Count, "Appends to the log, by outcome");
        describe_counter!(
            CONFLICTS,
            Unit::Count,
            "Appends the server refused by the guard: `own` when an earlier try had succeeded, `foreign` when another \
             writer was first"
        );
        describe_gauge!(IN_FLIGHT, Unit::Count, "Appends that wait for their answer now");
        describe_gauge!(
            IN_FLIGHT_MAX,
            Unit::Count,
            "Appends that may wait at once; more are given back as busy"
        );
        gauge!(IN_FLIGHT_MAX).set(in_flight_max as f64);
        let telemetry = Self {
            stored: counter!(APPENDS, "outcome" => "stored"),
            duplicate: counter!(APPENDS, "outcome" => "duplicate"),
            refused: counter!(APPENDS, "outcome" => "refused"),
            busy: counter!(APPENDS, "outcome" => "busy"),
            unavailable: counter!(APPENDS, "outcome" => "unavailable"),
            failed: counter!(APPENDS, "outcome" => "failed"),
            conflicts_own: counter!(CONFLICTS, "whose" => "own"),
            conflicts_foreign: counter!(CONFLICTS, "whose" => "foreign"),
            in_flight: gauge!(IN_FLIGHT),
        };
        telemetry.in_flight.set(0.0);
        telemetry
    }

    pub(super) fn appended(&self, outcome: &Result<Result<Appended, Rejection>, LogError>) {
        let counter = match outcome {
            Ok(Ok(appended)) if appended.duplicate => &self.duplicate,
            Ok(Ok(_)) => &self.stored,
            Ok(Err(_)) => &self.refused,
            Err(LogError::Busy { .. }) => &self.busy,
            Err(LogError::Unavailable(_)) => &self.unavailable,
            Err(LogError::Unfit(_) | LogError::Codec(_)) => &self.failed,
        };
        counter.increment(1);
    }

    pub(super) fn conflict(&self, is_own: bool) {
        let counter = if is_own {
            &self.conflicts_own
        } else {
            &self.conflicts_foreign
        };
        counter.increment(1);
    }

    /// Counts one append as in flight until the guard is dropped.
    pub(super) fn in_flight(&self) -> InFlight<'_> {
        self.in_flight.increment(1.0);
        InFlight(&self.in_flight)
    }
}

/// See [`Telemetry::in_flight`].
pub(super) struct InFlight<'a>(&'a Gauge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
