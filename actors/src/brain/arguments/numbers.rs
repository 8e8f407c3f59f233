//! Numbers inside a schema's bounds.

use serde_json::{Number, Value};

use crate::brain::dice::Dice;
use crate::brain::schema::Schema;

/// How far above its lower bound a number usually is.
const SPREAD: f64 = 20.0;

/// A whole number; `None` when the bounds hold none.
pub(super) fn integer(schema: &Schema<'_>, dice: &mut Dice) -> Option<Value> {
    let (low, high) = bounds(schema, 1.0);
    let step = schema
        .number("multipleOf")
        .filter(|step| *step >= 1.0 && step.fract() == 0.0)
        .unwrap_or(1.0);
    let (low, high) = ((low / step).ceil(), (high / step).floor());
    if low > high {
        return None;
    }
    let steps = dice.between(whole(low)?, whole(high)?);
    Some(Value::Number(Number::from(steps.checked_mul(whole(step)?)?)))
}

/// A number, fractions included; `None` when the bounds hold none.
pub(super) fn number(schema: &Schema<'_>, dice: &mut Dice) -> Option<Value> {
    if let Some(step) = schema.number("multipleOf") {
        // Whole numbers are multiples of 0.5 and of 0.01; other fractions would need exact arithmetic.
        let fits = step >= 1.0 || (1.0 / step).fract() == 0.0;
        return if fits { integer(schema, dice) } else { None };
    }
    let (low, high) = bounds(schema, f64::EPSILON);
    if low > high {
        return None;
    }
    // Two decimals, as people write; the bound itself where rounding would leave the range.
    let number = low + (high - low) * dice.share();
    let rounded = (number * 100.0).round() / 100.0;
    let number = if (low..=high).contains(&rounded) {
        rounded
    } else {
        number
    };
    Number::from_f64(number).map(Value::Number)
}

/// Lower and upper bound, both included, an exclusive one moved in by `step`. Where a side is open, it is near.
fn bounds(schema: &Schema<'_>, step: f64) -> (f64, f64) {
    let tightest =
        |included: Option<f64>, excluded: Option<f64>, inner: fn(f64, f64) -> f64| match (included, excluded)
        {
            (Some(included), Some(excluded)) => Some(inner(included, excluded)),
            (one, other) => one.or(other),
        };
    let inside = |bound: f64, by: f64| {
        if step < 1.0 {
            bound + by * bound.abs().max(1.0)
        } else {
            bound + by
        }
    };
    let above = schema.number("exclusiveMinimum").map(|bound| inside(bound, step));
    let below = schema
        .number("exclusiveMaximum")
        .map(|bound| inside(bound, -step));
    let low = tightest(schema.number("minimum"), above, f64::max);
    let high = tightest(schema.number("maximum"), below, f64::min);
    match (low, high) {
        (Some(low), Some(high)) => (low, high.min(low + SPREAD.max((high - low) / 2.0))),
        (Some(low), None) => (low, low + SPREAD),
        (None, Some(high)) => (high - SPREAD, high),
        (None, None) => (1.0, 1.0 + SPREAD),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "checked to be a whole number well inside the range"
)]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}
