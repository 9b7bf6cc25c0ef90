//! The figures of all rounds: as a table, and for machines.

use serde::Serialize;

/// One figure of one place, once a round.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// What was measured.
    pub what: String,
    /// Where.
    pub place: String,
    /// In what.
    pub unit: &'static str,
    /// A value a round.
    pub values: Vec<f64>,
}

/// What is compared with what.
#[derive(Clone, Debug, Serialize)]
pub struct Ratio {
    /// What is claimed.
    pub title: String,
    /// Each round's.
    pub values: Vec<f64>,
    /// What it is to be at most; at least where `more` is better.
    pub aim: Option<f64>,
    /// Whether more is better.
    pub more: bool,
}

/// All figures.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How many rounds.
    pub rounds: usize,
    /// The kernel, the processor and how many of them.
    pub machine: String,
    /// The figures.
    pub series: Vec<Series>,
    /// What they come to.
    pub ratios: Vec<Ratio>,
}

/// The middle of these.
pub fn median(values: &[f64]) -> f64 {
    at(values, 0.5)
}

/// That which this part of these is not above.
pub fn at(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let place = (last as f64 * part).round() as usize;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

impl Report {
    pub fn new(rounds: usize) -> Report {
        let uname = nix::sys::utsname::uname().unwrap();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = processor
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map_or("", |name| name.trim_start_matches(['\t', ' ', ':']));
        Report {
            rounds,
            machine: format!(
                "Linux {}, {cores} cores, {processor}",
                uname.release().to_string_lossy()
            ),
            series: Vec::new(),
            ratios: Vec::new(),
        }
    }

    /// One more value of a figure.
    pub fn add(&mut self, what: &str, place: &str, unit: &'static str, value: f64) {
        let same = |series: &&mut Series| series.what == what && series.place == place;
        match self.series.iter_mut().find(same) {
            Some(series) => series.values.push(value),
            None => self.series.push(Series {
                what: what.to_owned(),
                place: place.to_owned(),
                unit,
                values: vec![value],
            }),
        }
    }

    pub fn values(&self, what: &str, place: &str) -> Option<&[f64]> {
        let same = |series: &&Series| series.what == what && series.place == place;
        self.series.iter().find(same).map(|found| &found.values[..])
    }

    /// Compares two figures round by round; nothing where one of them is missing.
    pub fn compare(&mut self, title: &str, of: (&str, &str), to: (&str, &str), aim: Option<f64>) {
        self.ratio(title, of, to, aim, false);
    }

    /// The same where more is better.
    pub fn faster(&mut self, title: &str, of: (&str, &str), to: (&str, &str), aim: Option<f64>) {
        self.ratio(title, of, to, aim, true);
    }

    fn ratio(
        &mut self,
        title: &str,
        of: (&str, &str),
        to: (&str, &str),
        aim: Option<f64>,
        more: bool,
    ) {
        let (Some(a), Some(b)) = (self.values(of.0, of.1), self.values(to.0, to.1)) else {
            return;
        };
        let values = a.iter().zip(b).map(|(a, b)| a / b).collect();
        self.ratios.push(Ratio {
            title: title.to_owned(),
            values,
            aim,
            more,
        });
    }

    /// A figure that is compared with nothing but an aim.
    pub fn plain(&mut self, title: &str, value: f64, aim: Option<f64>) {
        self.ratios.push(Ratio {
            title: title.to_owned(),
            values: vec![value],
            aim,
            more: false,
        });
    }

    pub fn print(&self) {
        println!(
            "{}; medians of {} rounds [least .. most]",
            self.machine, self.rounds
        );
        println!();
        let mut before = "";
        for series in &self.series {
            let what = if series.what == before {
                ""
            } else {
                &series.what
            };
            before = &series.what;
            println!(
                "{what:<44}  {:<22}{:>12} {:<6} [{} .. {}]",
                series.place,
                number(median(&series.values)),
                series.unit,
                number(at(&series.values, 0.0)),
                number(at(&series.values, 1.0)),
            );
        }
        println!();
        for ratio in &self.ratios {
            let value = median(&ratio.values);
            let aim = match ratio.aim {
                Some(aim) if ratio.more => format!("aim {aim} or more"),
                Some(aim) => format!("aim {aim} or less"),
                None => String::new(),
            };
            let spread = match ratio.values.len() {
                1 => String::new(),
                _ => format!(
                    "[{} .. {}]",
                    number(at(&ratio.values, 0.0)),
                    number(at(&ratio.values, 1.0))
                ),
            };
            println!(
                "{:<66}{:>8}  {spread:<20} {aim}",
                ratio.title,
                number(value)
            );
        }
    }

    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap() + "\n"
    }
}

/// With three digits that count, or more where it is large.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || size == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
