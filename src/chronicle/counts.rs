//! How often and how long, as Prometheus reads it (its text format 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::lock::effect::{Effect, End};

/// The upper ends of the classes of how long boards are held, in seconds.
const HOLDS: &[f64] = &[
    0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 14_400.0, 86_400.0, 604_800.0,
];

/// Those of how long it takes to hand one over.
const HANDOVERS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0,
];

/// How often each kind of thing happened since this process began to serve.
#[derive(Debug)]
pub struct Counts {
    claims: u64,
    locks: u64,
    shared: u64,
    passed: u64,
    waits: u64,
    releases: BTreeMap<&'static str, u64>,
    refusals: BTreeMap<&'static str, u64>,
    holds: Histogram,
    handovers: Histogram,
    changes: u64,
}

/// What is so at the moment.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Boards that are held.
    pub held: usize,
    /// Locks that wait.
    pub waiters: usize,
    /// Open files of boards.
    pub open_files: usize,
    /// Whether what is held can be recorded.
    pub recorded: bool,
    /// Whether another process served before, on the same connection.
    pub resumed: bool,
    /// Holds that ended and could not be recorded.
    pub lost: u64,
    /// When this process began to serve,
    /// in seconds since 1970.
    pub began: i64,
}

/// How many values were in each class.
#[derive(Debug)]
struct Histogram {
    ends: &'static [f64],
    classes: Vec<u64>,
    sum: Duration,
    count: u64,
}

impl Histogram {
    fn new(ends: &'static [f64]) -> Histogram {
        Histogram {
            ends,
            classes: vec![0; ends.len()],
            sum: Duration::ZERO,
            count: 0,
        }
    }

    fn add(&mut self, value: Duration) {
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        let secs = value.as_secs_f64();
        let ends = self.ends.iter();
        if let Some((class, _)) = self
            .classes
            .iter_mut()
            .zip(ends)
            .find(|(_, end)| secs <= **end)
        {
            *class += 1;
        }
    }
}

impl Default for Counts {
    fn default() -> Counts {
        // What never happened yet is there, too, or nobody could tell how much more
        // it has become.
        Counts {
            claims: 0,
            locks: 0,
            shared: 0,
            passed: 0,
            waits: 0,
            releases: End::HOW.iter().map(|how| (*how, 0)).collect(),
            refusals: BTreeMap::new(),
            holds: Histogram::new(HOLDS),
            handovers: Histogram::new(HANDOVERS),
            changes: 0,
        }
    }
}

impl Counts {
    /// Counts what the table decided.
    pub fn add(&mut self, effect: &Effect) {
        self.changes += 1;
        match effect {
            Effect::Acquired(held) if held.by_locks => self.locks += 1,
            Effect::Acquired(_) => self.claims += 1,
            Effect::Shared(_) => self.shared += 1,
            Effect::Passed(_) => self.passed += 1,
            Effect::Waits { .. } => self.waits += 1,
            Effect::Refused { refusal, .. } => {
                *self.refusals.entry(refusal.word()).or_default() += 1;
            }
            Effect::Released { end, after, .. } => {
                *self.releases.entry(end.how()).or_default() += 1;
                if *end != End::Locked {
                    self.holds.add(*after);
                }
            }
            Effect::Watch(_) | Effect::Unwatch(_) | Effect::Answer { .. } => {}
            Effect::Cut { .. } => {}
            Effect::SendBack(_) | Effect::Changed(_) => {}
        }
    }

    /// A board went from who had it to who waited, so long after its end was known.
    pub fn handed_over(&mut self, took: Duration) {
        self.changes += 1;
        self.handovers.add(took);
    }

    /// Grows with each change, at least.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// All of it.
    pub fn render(&self, gauges: &Gauges) -> String {
        let mut out = Text::default();
        out.head(
            "boardlock_build_info",
            "gauge",
            "The boardlock that serves.",
        );
        out.value(
            "boardlock_build_info",
            &[("version", env!("CARGO_PKG_VERSION"))],
            1,
        );
        out.one(
            "boardlock_start_time_seconds",
            "gauge",
            "When the process that serves began to, since 1970. Counters begin at 0 then.",
            gauges.began,
        );
        out.one(
            "boardlock_resumed",
            "gauge",
            "1 if it went on with what another process served.",
            u8::from(gauges.resumed),
        );
        out.one(
            "boardlock_state_recorded",
            "gauge",
            "0 while what is held cannot be recorded, and no boards are given out.",
            u8::from(gauges.recorded),
        );
        out.one(
            "boardlock_boards_held",
            "gauge",
            "Boards that are held.",
            gauges.held,
        );
        out.one(
            "boardlock_waiters",
            "gauge",
            "Locks that wait for a board.",
            gauges.waiters,
        );
        out.one(
            "boardlock_open_files",
            "gauge",
            "Open files of boards.",
            gauges.open_files,
        );
        let name = "boardlock_acquisitions_total";
        out.head(name, "counter", "Boards that were acquired.");
        out.value(name, &[("kind", "claim")], self.claims);
        out.value(name, &[("kind", "lock")], self.locks);
        out.one(
            "boardlock_shares_total",
            "counter",
            "Shared locks that joined one.",
            self.shared,
        );
        out.one(
            "boardlock_passes_total",
            "counter",
            "Claims that another process went on holding.",
            self.passed,
        );
        out.one(
            "boardlock_waits_total",
            "counter",
            "Locks that had to wait.",
            self.waits,
        );
        let name = "boardlock_releases_total";
        out.head(name, "counter", "Holds that ended, by how.");
        for (how, count) in &self.releases {
            out.value(name, &[("how", how)], *count);
        }
        let name = "boardlock_refusals_total";
        out.head(
            name,
            "counter",
            "Refusals by reason, each caller's once for a hold.",
        );
        for (reason, count) in &self.refusals {
            out.value(name, &[("reason", reason)], *count);
        }
        out.one(
            "boardlock_history_lost_total",
            "counter",
            "Holds that ended and could not be recorded in the history's file.",
            gauges.lost,
        );
        out.histogram(
            "boardlock_hold_seconds",
            "How long boards were held.",
            &self.holds,
        );
        out.histogram(
            "boardlock_handover_seconds",
            "From when the end of a hold was known to when who waited was told.",
            &self.handovers,
        );
        out.0
    }
}

/// The text.
#[derive(Default)]
struct Text(String);

// Writing to a String does not fail.
impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        // Labels are words of ours: nothing in them is to be escaped.
        for (at, (label, text)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{label}=\"{text}\"");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.head(name, kind, help);
        self.value(name, &[], value);
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        let mut below = 0;
        for (end, count) in histogram.ends.iter().zip(&histogram.classes) {
            below += count;
            self.value(&bucket, &[("le", &end.to_string())], below);
        }
        self.value(&bucket, &[("le", "+Inf")], histogram.count);
        let sum = histogram.sum.as_secs_f64();
        self.value(&format!("{name}_sum"), &[], sum);
        self.value(&format!("{name}_count"), &[], histogram.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_in_their_classes() {
        let mut counts = Counts::default();
        for millis in [1, 2, 50, 5000] {
            counts.handed_over(Duration::from_millis(millis));
        }
        let text = counts.render(&Gauges::default());
        for line in [
            "# TYPE boardlock_handover_seconds histogram",
            "boardlock_handover_seconds_bucket{le=\"0.0005\"} 0",
            "boardlock_handover_seconds_bucket{le=\"0.001\"} 1",
            "boardlock_handover_seconds_bucket{le=\"0.0025\"} 2",
            "boardlock_handover_seconds_bucket{le=\"1\"} 3",
            "boardlock_handover_seconds_bucket{le=\"+Inf\"} 4",
            "boardlock_handover_seconds_sum 5.053",
            "boardlock_handover_seconds_count 4",
            "boardlock_releases_total{how=\"forced\"} 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
    }
}
