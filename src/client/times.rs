//! Moments and spans as people read them: the time on their clock, and how long ago.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// What is now, and which time zone the reader lives in.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Now, in seconds since 1970.
    pub now: i64,
    /// Where.
    pub zone: TimeZone,
    /// Whether seconds are told. What stays on a screen for a minute does not tell them.
    pub seconds: bool,
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A moment, at three lengths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// `2026-11-29 14:02 (5 min ago)`.
    pub long: String,
    /// The same without the date where it is today's.
    pub middle: String,
    /// `14:02 5m`, `Nov 28 1d`.
    pub short: String,
}

impl Clock {
    /// Of a reader here, at a moment.
    pub fn here(now: i64) -> Clock {
        Clock {
            now,
            zone: TimeZone::system(),
            seconds: true,
        }
    }

    /// A moment, in seconds since 1970.
    pub fn tell(&self, moment: i64) -> Told {
        let away = self.now.abs_diff(moment);
        let ahead = moment > self.now;
        let (words, brief) = (self.span(away), self.brief(away));
        let words = match (self.is_none(away), ahead) {
            (true, _) => "now".to_owned(),
            (_, true) => format!("in {words}"),
            (_, false) => format!("{words} ago"),
        };
        let Some(there) = self.there(moment) else {
            return Told {
                long: words.clone(),
                middle: words,
                short: brief,
            };
        };
        let today = self.there(self.now).map(|now| now.date());
        let time = there.strftime("%H:%M").to_string();
        let dated = there.strftime("%Y-%m-%d %H:%M").to_string();
        let is_today = today == Some(there.date());
        let short = if is_today {
            time.clone()
        } else if today.is_some_and(|today| today.year() == there.date().year()) {
            there.strftime("%b %d").to_string()
        } else {
            there.strftime("%Y-%m-%d").to_string()
        };
        Told {
            long: format!("{dated} ({words})"),
            middle: format!("{} ({words})", if is_today { &time } else { &dated }),
            short: format!("{short} {brief}"),
        }
    }

    /// Until when something is good: as [`Self::tell`], but what is over says so when it
    /// is short, too.
    pub fn tell_end(&self, moment: i64) -> Told {
        let mut told = self.tell(moment);
        if moment < self.now
            && let Some((time, brief)) = told.short.rsplit_once(' ')
        {
            told.short = format!("{time} -{brief}");
        }
        told
    }

    /// The time of day, with the date where that is another day.
    pub fn time(&self, moment: i64) -> String {
        let Some(there) = self.there(moment) else {
            return moment.to_string();
        };
        let today = self.there(self.now).map(|now| now.date());
        let form = if today == Some(there.date()) {
            "%H:%M:%S"
        } else {
            "%Y-%m-%d %H:%M:%S"
        };
        there.strftime(form).to_string()
    }

    fn there(&self, moment: i64) -> Option<jiff::Zoned> {
        let moment = Timestamp::from_second(moment).ok()?;
        Some(moment.to_zoned(self.zone.clone()))
    }

    fn is_none(&self, seconds: u64) -> bool {
        self.seconds && seconds == 0
    }

    /// A span in words: the two greatest units.
    pub fn span(&self, seconds: u64) -> String {
        match seconds {
            0..MINUTE if !self.seconds => "less than 1 min".to_owned(),
            0..MINUTE => format!("{seconds} s"),
            MINUTE..HOUR => format!("{} min", seconds / MINUTE),
            HOUR..DAY => two(seconds / HOUR, " h", seconds % HOUR / MINUTE, " min"),
            _ => two(seconds / DAY, " d", seconds % DAY / HOUR, " h"),
        }
    }

    /// The same in few characters.
    pub fn brief(&self, seconds: u64) -> String {
        match seconds {
            0..MINUTE if !self.seconds => "<1m".to_owned(),
            _ => brief(seconds),
        }
    }
}

/// A span in few characters: `45s`, `5m`, `1h58m`, `2d3h`.
pub fn brief(seconds: u64) -> String {
    match seconds {
        0..MINUTE => format!("{seconds}s"),
        MINUTE..HOUR => format!("{}m", seconds / MINUTE),
        HOUR..DAY => two(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m").replace(' ', ""),
        _ => two(seconds / DAY, "d", seconds % DAY / HOUR, "h").replace(' ', ""),
    }
}

fn two(great: u64, unit: &str, small: u64, other: &str) -> String {
    match small {
        0 => format!("{great}{unit}"),
        _ => format!("{great}{unit} {small}{other}"),
    }
}

/// The moment that RFC 3339 text names, in seconds since 1970.
pub fn moment(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// 14:07:30 in Berlin.
    const NOW: &str = "2026-11-29T13:07:30Z";

    fn clock() -> Clock {
        Clock {
            now: moment(NOW).unwrap(),
            zone: TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap(),
            seconds: true,
        }
    }

    fn told(text: &str) -> [String; 3] {
        let told = clock().tell(moment(text).unwrap());
        [told.long, told.middle, told.short]
    }

    #[test]
    fn moments() {
        for (text, [long, middle, short]) in [
            (
                "2026-11-29T13:02:07Z",
                [
                    "2026-11-29 14:02 (5 min ago)",
                    "14:02 (5 min ago)",
                    "14:02 5m",
                ],
            ),
            (NOW, ["2026-11-29 14:07 (now)", "14:07 (now)", "14:07 0s"]),
            (
                "2026-11-29T15:05:30Z",
                [
                    "2026-11-29 16:05 (in 1 h 58 min)",
                    "16:05 (in 1 h 58 min)",
                    "16:05 1h58m",
                ],
            ),
            (
                "2026-11-28T13:07:30Z",
                [
                    "2026-11-28 14:07 (1 d ago)",
                    "2026-11-28 14:07 (1 d ago)",
                    "Nov 28 1d",
                ],
            ),
            // Summer time counts for the moment, not for now.
            (
                "2026-08-01T10:00:00Z",
                [
                    "2026-08-01 12:00 (120 d 3 h ago)",
                    "2026-08-01 12:00 (120 d 3 h ago)",
                    "Aug 01 120d3h",
                ],
            ),
            (
                "2025-11-29T13:07:30Z",
                [
                    "2025-11-29 14:07 (365 d ago)",
                    "2025-11-29 14:07 (365 d ago)",
                    "2025-11-29 365d",
                ],
            ),
        ] {
            assert_eq!(told(text), [long, middle, short], "{text}");
        }
    }

    #[test]
    fn what_is_over_says_so() {
        let ended = moment("2026-11-29T12:07:30Z").unwrap();
        assert_eq!(clock().tell_end(ended).short, "13:07 -1h");
        assert_eq!(clock().tell_end(ended).middle, "13:07 (1 h ago)");
        let ahead = moment("2026-11-29T14:07:30Z").unwrap();
        assert_eq!(clock().tell_end(ahead).short, "15:07 1h");
    }

    #[test]
    fn what_stays_on_the_screen_tells_no_seconds() {
        let mut clock = clock();
        clock.seconds = false;
        let told = clock.tell(clock.now);
        assert_eq!(told.middle, "14:07 (less than 1 min ago)");
        assert_eq!(told.short, "14:07 <1m");
    }

    #[test]
    fn moments_out_of_range_are_no_panic() {
        for moment in [i64::MIN, i64::MAX] {
            clock().tell(moment);
            clock().tell_end(moment);
            clock().time(moment);
        }
    }
}
