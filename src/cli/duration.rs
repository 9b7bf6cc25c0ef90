//! Durations as people write them: `90`, `90s`, `30m`, `2h`, `1d`, `1h30m`.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

use crate::printable::printable;

/// Longer than anyone means; keeps every time computed from it in range.
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 3600);

/// Reads a duration of at least a second; a number alone counts seconds.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let shown = || printable(text);
    let duration = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // Too many digits for a number is too long all the same.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let span: Span = text.parse().map_err(|_| {
            format!(
                "'{}' is no duration; write it as 90s, 30m, 2h, 1d or 1h30m",
                shown()
            )
        })?;
        if span.get_years() != 0 || span.get_months() != 0 {
            return Err(format!(
                "'{}': months and years differ in length; write it in days, as 30d",
                shown()
            ));
        }
        let signed = span
            .to_duration(SpanRelativeTo::days_are_24_hours())
            .map_err(|_| format!("'{}' is out of range", shown()))?;
        Duration::try_from(signed).map_err(|_| format!("'{}' is negative", shown()))?
    };
    if duration < Duration::from_secs(1) {
        return Err(format!("'{}' is shorter than a second", shown()));
    }
    if duration > LONGEST {
        return Err(format!("'{}' is longer than ten years (3650d)", shown()));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn forms() {
        for (text, seconds) in [
            ("90", 90),
            ("90s", 90),
            ("30m", 1800),
            ("2h", 7200),
            ("1d", 86400),
            ("1w", 604800),
            ("1h30m", 5400),
            ("1h 30m", 5400),
            ("1 hour, 30 minutes", 5400),
            ("1.5h", 5400),
            (" 5m ", 300),
            ("3650d", 3650 * 86400),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn refused_with_the_reason() {
        for (text, reason) in [
            ("", "no duration"),
            ("soon", "no duration"),
            ("5 parsecs", "no duration"),
            ("-5s", "negative"),
            ("5s ago", "negative"),
            ("0", "shorter than a second"),
            ("0s", "shorter than a second"),
            ("999ms", "shorter than a second"),
            ("1mo", "months and years"),
            ("1y", "months and years"),
            ("3651d", "longer than ten years"),
            ("99999999999999999999999999", "longer than ten years"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
