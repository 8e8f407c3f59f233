//! Strings of a format, of a pattern, of a length.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::brain::dice::Dice;
use crate::brain::schema::Schema;

/// How far ahead a date may be, in days.
const DAYS_AHEAD_MAX: i64 = 21;
/// Repetitions written for an open end such as `+`, beyond the least.
const EXTRA_REPEATS_MAX: u32 = 6;
/// Attempts at a text of a pattern that also has the right length.
const LENGTH_TRIES: u32 = 20;
/// What fills a text up to its least length.
const CHARS_FILLER: char = '.';

/// Text of a known `format`; `None` for one we do not know, which is then no more than a hint.
pub(super) fn of_format(format: &str, now: Timestamp, dice: &mut Dice) -> Option<String> {
    let text = match format {
        "date" => some_day(now, dice)?.to_string(),
        "date-time" => {
            let hour = i8::try_from(dice.between(7, 20)).ok()?;
            some_day(now, dice)?
                .at(hour, 0, 0, 0)
                .to_zoned(TimeZone::UTC)
                .ok()?
                .timestamp()
                .to_string()
        }
        "time" => format!("{:02}:00:00Z", dice.between(7, 20)),
        "duration" => format!("PT{}M", dice.between(5, 90)),
        "uuid" => dice.uuid().to_string(),
        "email" => format!("friend{}@mana.test", dice.between(1, 99)),
        "uri" | "url" => format!("https://example.com/{}", dice.between(1, 99)),
        "hostname" => "example.com".to_owned(),
        "ipv4" => format!("192.0.2.{}", dice.between(1, 254)),
        "ipv6" => format!("2001:db8::{:x}", dice.between(1, 0xffff)),
        _ => return None,
    };
    Some(text)
}

fn some_day(now: Timestamp, dice: &mut Dice) -> Option<Date> {
    let today = now.to_zoned(TimeZone::UTC).date();
    today.checked_add(dice.between(0, DAYS_AHEAD_MAX).days()).ok()
}

/// Whether a pattern for the property `field` is the shape of `2026-01-05`.
pub(super) fn is_day(field: &str, pattern: &str) -> bool {
    let digits = pattern.replace(r"\d", "[0-9]");
    (field == "date" || field.ends_with("Date") || field.ends_with("_date"))
        && digits.trim_matches(['^', '$']) == "[0-9]{4}-[0-9]{2}-[0-9]{2}"
}

/// Text that matches `pattern` and has the schema's length; `None` when the pattern is beyond us.
pub(super) fn of_pattern(pattern: &str, schema: &Schema<'_>, dice: &mut Dice) -> Option<String> {
    let hir = regex_syntax::ParserBuilder::new()
        .unicode(true)
        .build()
        .parse(pattern)
        .ok()?;
    let (least, most) = lengths(schema);
    (0..LENGTH_TRIES).find_map(|_| {
        let mut text = String::new();
        write_match(&hir, &mut text, dice)?;
        (least..=most).contains(&text.chars().count()).then_some(text)
    })
}

/// Appends a match of `hir`; `None` for a class nothing printable belongs to.
fn write_match(hir: &Hir, text: &mut String, dice: &mut Dice) -> Option<()> {
    match hir.kind() {
        // Anchors hold because the text is the whole value; word boundaries are left to luck and the length check.
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(class) => text.push(one_of(class, dice)?),
        HirKind::Capture(capture) => write_match(&capture.sub, text, dice)?,
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| write_match(part, text, dice))?,
        HirKind::Alternation(options) => write_match(dice.pick(options)?, text, dice)?,
        HirKind::Repetition(repetition) => {
            let most = repetition
                .max
                .unwrap_or(u32::MAX)
                .min(repetition.min.saturating_add(EXTRA_REPEATS_MAX));
            let times = dice.between(i64::from(repetition.min), i64::from(most));
            (0..times).try_for_each(|_| write_match(&repetition.sub, text, dice))?;
        }
    }
    Some(())
}

/// A member of the class, from ASCII's printable characters where it has any.
fn one_of(class: &Class, dice: &mut Dice) -> Option<char> {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class.iter().map(|range| (range.start(), range.end())).collect(),
        Class::Bytes(class) => class
            .iter()
            .map(|range| (char::from(range.start()), char::from(range.end())))
            .collect(),
    };
    let printable: Vec<(char, char)> = ranges
        .iter()
        .map(|(start, end)| ((*start).max(' '), (*end).min('~')))
        .filter(|(start, end)| start <= end)
        .collect();
    let (start, end) = dice
        .pick(if printable.is_empty() { &ranges } else { &printable })
        .copied()?;
    let code = dice.between(i64::from(u32::from(start)), i64::from(u32::from(end)));
    char::from_u32(u32::try_from(code).ok()?).or(Some(start))
}

/// `text` with the schema's length, cut or filled up; `None` when no length fits.
pub(super) fn fit(text: &str, schema: &Schema<'_>) -> Option<String> {
    let (least, most) = lengths(schema);
    if least > most {
        return None;
    }
    let mut fitted: String = text.chars().take(most).collect();
    let chars = fitted.chars().count();
    fitted.extend(std::iter::repeat_n(CHARS_FILLER, least.saturating_sub(chars)));
    Some(fitted)
}

fn lengths(schema: &Schema<'_>) -> (usize, usize) {
    (
        schema.count("minLength").unwrap_or(0),
        schema.count("maxLength").unwrap_or(usize::MAX),
    )
}
