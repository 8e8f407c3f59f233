//! `--until SEQ|TIME`, as several commands take it.

use events::StreamSeq;
use projections::Until;

/// Reads a sequence number or a time.
pub(super) fn parse_until(text: &str) -> Result<Until, String> {
    if let Ok(seq) = text.parse() {
        return Ok(Until::Seq(StreamSeq(seq)));
    }
    text.parse()
        .map(Until::Time)
        .map_err(|_| "neither a sequence number nor a time like 2026-01-05T08:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_sequence_or_a_time_and_nothing_else() {
        assert_eq!(parse_until("17"), Ok(Until::Seq(StreamSeq(17))));
        assert!(matches!(parse_until("2026-01-05T08:00:00Z"), Ok(Until::Time(_))));
        assert!(parse_until("tomorrow").is_err());
    }
}
