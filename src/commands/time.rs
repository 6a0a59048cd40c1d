//! Times as people write them on the command line.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use crate::exit::Failure;

/// Seconds since the Unix epoch of a time in UTC: a date, a date and time, or a timestamp with its offset.
pub(super) fn seconds(option: &str, text: &str) -> Result<i64, Failure> {
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Ok(timestamp.as_second());
    }
    let civil = text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(DateTime::from));
    let zoned = civil.and_then(|civil| civil.to_zoned(TimeZone::UTC));
    zoned.map(|zoned| zoned.timestamp().as_second()).map_err(|_| {
        Failure::Usage(format!("{option} {text:?} is not a time: write 2026-05-01, 2026-05-01T12:30:00 or …Z"))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_unless_they_say_otherwise() {
        for (text, expected) in [
            ("1970-01-02", 86_400),
            ("1970-01-01T00:00:05", 5),
            ("1970-01-01 00:00:05", 5),
            ("1970-01-01T02:00:00+02:00", 0),
            ("1970-01-01T00:00:01Z", 1),
        ] {
            assert_eq!(seconds("--since", text).unwrap(), expected, "{text}");
        }
        assert!(matches!(seconds("--since", "yesterday"), Err(Failure::Usage(text)) if text.contains("yesterday")));
    }
}
