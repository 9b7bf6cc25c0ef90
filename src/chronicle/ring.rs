//! The events, as one text that grows at its end and is forgotten from its start, a
//! line at a time.

use std::collections::VecDeque;

/// So many bytes of it are kept.
const KEPT: usize = 1 << 20;

/// The text.
#[derive(Debug, Default)]
pub struct Ring {
    text: VecDeque<u8>,
    /// How many bytes came before what is kept.
    gone: u64,
}

impl Ring {
    /// Adds a line.
    pub fn push(&mut self, line: &str) {
        self.text.extend(line.as_bytes());
        self.text.push_back(b'\n');
        while self.text.len() > KEPT {
            let end = self.text.iter().position(|byte| *byte == b'\n');
            let length = end.map_or(self.text.len(), |at| at + 1);
            self.text.drain(..length);
            self.gone = self.gone.saturating_add(length as u64);
        }
    }

    /// Where what is kept begins: with a whole line.
    pub fn start(&self) -> u64 {
        self.gone
    }

    /// How many bytes there ever were.
    pub fn end(&self) -> u64 {
        self.gone.saturating_add(self.text.len() as u64)
    }

    /// What is kept from a place on, at most `most` bytes of it.
    pub fn read(&self, from: u64, most: usize) -> Vec<u8> {
        let start = usize::try_from(from.saturating_sub(self.gone)).unwrap_or(usize::MAX);
        let start = start.min(self.text.len());
        let end = start.saturating_add(most).min(self.text.len());
        self.text.range(start..end).copied().collect()
    }
}

/// A reader, who believes that he reads a file whose start stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reader {
    /// What he believes he reads is so much further on.
    ahead: u64,
    /// Up to where he has read.
    at: u64,
}

impl Reader {
    /// One who reads on what another text was before: all of this one is new to him.
    pub fn of_another(offset: u64, ring: &Ring) -> Reader {
        Reader {
            ahead: ring.start().wrapping_sub(offset),
            at: ring.start(),
        }
    }

    /// Reads. Whoever wants what is forgotten reads on with the first line that is kept.
    pub fn read(&mut self, ring: &Ring, offset: u64, most: usize) -> Vec<u8> {
        if offset == 0 {
            self.ahead = 0;
        }
        let mut from = offset.wrapping_add(self.ahead);
        if from < ring.start() {
            from = ring.start();
            self.ahead = from.wrapping_sub(offset);
        }
        let text = ring.read(from, most);
        self.at = from.saturating_add(text.len() as u64);
        text
    }

    /// Whether there is more than he has read.
    pub fn has_news(&self, ring: &Ring) -> bool {
        self.at < ring.end()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Reads to the end, from `at` on; where that was.
    fn rest(reader: &mut Reader, ring: &Ring, at: &mut u64) -> String {
        let mut all = Vec::new();
        loop {
            let part = reader.read(ring, *at, 1000);
            if part.is_empty() {
                return String::from_utf8(all).unwrap();
            }
            *at += part.len() as u64;
            all.extend(part);
        }
    }

    #[test]
    fn it_is_read_on_as_it_grows() {
        let (mut ring, mut reader, mut at) = (Ring::default(), Reader::default(), 0);
        assert!(!reader.has_news(&ring));
        ring.push("one");
        assert!(reader.has_news(&ring));
        assert_eq!(rest(&mut reader, &ring, &mut at), "one\n");
        assert!(!reader.has_news(&ring));
        ring.push("two");
        assert_eq!(rest(&mut reader, &ring, &mut at), "two\n");
        assert_eq!(at, ring.end());
        // From the start again.
        assert_eq!(rest(&mut reader, &ring, &mut 0), "one\ntwo\n");
    }

    #[test]
    fn who_was_left_behind_reads_on_with_a_whole_line() {
        let (mut ring, mut reader, mut at) = (Ring::default(), Reader::default(), 0);
        ring.push("first");
        assert_eq!(rest(&mut reader, &ring, &mut at), "first\n");
        let line = "x".repeat(99);
        for _ in 0..3 * KEPT / 100 {
            ring.push(&line);
        }
        assert!(ring.text.len() <= KEPT && ring.text.len() > KEPT - 100);
        let text = rest(&mut reader, &ring, &mut at);
        assert!(text.lines().all(|read| read == line));
        assert_eq!(text.len(), ring.text.len());
        ring.push("last");
        assert_eq!(rest(&mut reader, &ring, &mut at), "last\n");
        // Who opens it now is told the same, from what he takes for the start.
        let mut other = Reader::default();
        let text = rest(&mut other, &ring, &mut 0);
        assert!(text.starts_with(&line) && text.ends_with("last\n"));
        // And who reads its end first, as tail(1) does.
        let mut tail = Reader::default();
        assert_eq!(tail.read(&ring, ring.end() - 5, 1000), b"last\n");
        assert!(!tail.has_news(&ring));
    }

    #[test]
    fn who_read_another_text_is_told_all_of_this() {
        let mut ring = Ring::default();
        ring.push("new");
        let mut at = 12_345;
        let mut reader = Reader::of_another(at, &ring);
        assert!(reader.has_news(&ring));
        assert_eq!(rest(&mut reader, &ring, &mut at), "new\n");
        ring.push("more");
        assert_eq!(rest(&mut reader, &ring, &mut at), "more\n");
    }
}
