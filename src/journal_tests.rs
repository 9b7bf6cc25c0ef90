#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Mutex, MutexGuard};

use super::*;

/// An output that someone can hold up.
#[derive(Clone, Default)]
struct Pipe {
    text: Arc<Mutex<Vec<u8>>>,
    gate: Arc<Mutex<()>>,
}

impl Pipe {
    fn text(&self) -> String {
        String::from_utf8(self.text.lock().unwrap().clone()).unwrap()
    }
    fn pause(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap()
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _open = self.gate.lock().unwrap();
        self.text.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn formatted(level: Level, target: &str, message: &str, colour: bool) -> String {
    let now: Zoned = "2026-11-23T10:11:12.5+01:00[+01:00]".parse().unwrap();
    line(
        &now,
        &log::Record::builder()
            .level(level)
            .target(target)
            .args(format_args!("{message}"))
            .build(),
        colour,
    )
}

#[test]
fn a_line_is_time_level_message() {
    assert_eq!(
        formatted(Level::Info, "boardlock::daemon", "ready", false),
        "2026-11-23T10:11:12.500+01:00 info  ready\n"
    );
    assert_eq!(
        formatted(Level::Warn, "fuser::session", "odd", false),
        "2026-11-23T10:11:12.500+01:00 warn  fuser::session: odd\n"
    );
}

#[test]
fn a_message_stays_on_its_line_and_keeps_only_colours() {
    let green = paint(AnsiColor::Green.on_default(), "b1");
    let message = format!("{green} a\nb\x1b[2J \x1b]0;title\x07 c");
    let plain = formatted(Level::Info, "boardlock", &message, false);
    assert!(
        plain.ends_with("b1 a\\nb\\x1b[2J \\x1b]0;title\\x07 c\n"),
        "{plain}"
    );
    assert!(!plain.contains('\x1b'));
    let coloured = formatted(Level::Info, "boardlock", &message, true);
    assert!(
        coloured.contains(&green) && !coloured.contains("\x1b[2J"),
        "{coloured}"
    );
}

#[test]
fn names_are_made_printable() {
    for (name, shown) in [
        (&b"beagle-1"[..], "beagle-1"),
        ("pl\u{e4}tine".as_bytes(), "pl\u{e4}tine"),
        (b"a\nb\tc\rd", r"a\nb\tc\rd"),
        (b"\x1b[31mred\x7f", r"\x1b[31mred\x7f"),
        (b"x\xff\xfey", r"x\xff\xfey"),
        (b"cut \xe2\x82", r"cut \xe2\x82"),
        (b"back\\n", r"back\\n"),
        ("c1 \u{9b}2J".as_bytes(), r"c1 \u{9b}2J"),
        ("\u{202e}txt".as_bytes(), r"\u{202e}txt"),
        (b"", ""),
    ] {
        assert_eq!(printable(name), shown);
    }
}

#[test]
fn nobody_reading_holds_nobody_up() {
    let pipe = Pipe::default();
    let (journal, sink) = queue(8, pipe.clone(), Form::Line { colour: false }).unwrap();
    let paused = pipe.pause();
    let begin = Instant::now();
    for n in 0..1000 {
        sink.send(format!("record {n}\n").into_bytes());
    }
    assert!(
        !journal.flush(Duration::from_millis(50)),
        "nothing can be written"
    );
    assert!(begin.elapsed() < Duration::from_secs(5));
    drop(paused);
    assert!(journal.flush(Duration::from_secs(5)));
    let text = pipe.text();
    let written = text.lines().filter(|l| l.starts_with("record ")).count();
    let told: usize = text
        .lines()
        .filter_map(|l| {
            l.split_once(" warn  ")?
                .1
                .split_once(" log lines were dropped")
        })
        .map(|(count, _)| count.parse::<usize>().unwrap())
        .sum();
    assert!(written >= 8, "{text}");
    assert_eq!(written + told, 1000, "{text}");
}

#[test]
fn a_count_is_told_before_the_records_after_it() {
    let pipe = Pipe::default();
    let (journal, sink) = queue(2, pipe.clone(), Form::Line { colour: false }).unwrap();
    let paused = pipe.pause();
    for n in 0..10 {
        sink.send(format!("early {n}\n").into_bytes());
    }
    drop(paused);
    assert!(journal.flush(Duration::from_secs(5)));
    sink.send(b"late\n".to_vec());
    assert!(journal.flush(Duration::from_secs(5)));
    let text = pipe.text();
    let place = |what| {
        text.find(what)
            .unwrap_or_else(|| panic!("no {what} in {text}"))
    };
    assert!(place("dropped") < place("late"), "{text}");
}
