//! The words of a shell command: quotes, expansions, redirections.

use super::lists::Lists;

/// A list, an expansion in it, one in that, ...: no sane command is deeper.
const DEPTH: u32 = 16;
/// Commands looked at, those tried in vain behind a wrapper among them.
const FUEL: u32 = 500;

/// Reads a command. Every part of it answers None as soon as it meets
/// something that may be work or that it does not understand.
pub(super) struct Reader<'a> {
    pub text: &'a [u8],
    pub at: usize,
    pub depth: u32,
    pub fuel: u32,
    /// `until` and `while` loops that are open here.
    pub loops: u32,
    pub lists: &'a Lists,
    pub fish: bool,
}

/// A word without its quotes.
pub(super) struct Word {
    pub text: Vec<u8>,
    /// Nothing in it is expanded: the text is what the shell will see.
    pub literal: bool,
    /// How much of its beginning stands there unquoted.
    plain: Option<usize>,
}

impl AsRef<[u8]> for Word {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

impl Word {
    fn new() -> Word {
        Word {
            text: Vec::new(),
            literal: true,
            plain: None,
        }
    }

    fn quote(&mut self) {
        self.plain.get_or_insert(self.text.len());
    }

    fn expand(&mut self) {
        self.literal = false;
        self.quote();
    }

    /// The word, if all of it stands there as it is.
    pub fn bare(&self) -> Option<&[u8]> {
        (self.literal && self.plain.is_none()).then_some(&self.text)
    }

    /// `A=b`.
    pub fn is_assignment(&self) -> bool {
        let plain = self.text.get(..self.plain.unwrap_or(self.text.len()));
        let Some(end) = plain.and_then(|text| text.iter().position(|&byte| byte == b'=')) else {
            return false;
        };
        let name = self.text.get(..end).unwrap_or_default();
        is_name(name.strip_suffix(b"+").unwrap_or(name))
    }
}

pub(super) fn is_name(text: &[u8]) -> bool {
    text.first().is_some_and(|byte| !byte.is_ascii_digit())
        && text
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// What ends a list of commands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    End,
    Paren,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a [u8], fish: bool, lists: &'a Lists) -> Reader<'a> {
        Reader {
            text,
            at: 0,
            depth: DEPTH,
            fuel: FUEL,
            loops: 0,
            lists,
            fish,
        }
    }

    pub fn peek(&self) -> Option<u8> {
        self.ahead(0)
    }

    pub fn ahead(&self, by: usize) -> Option<u8> {
        self.text.get(self.at + by).copied()
    }

    fn starts_with(&self, prefix: &[u8]) -> bool {
        self.text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(prefix))
    }

    pub fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.depth = self.depth.checked_sub(1)?;
        let result = read(self);
        self.depth += 1;
        result
    }

    /// Reads a text of its own, as the string of a command within this one.
    pub fn nested(&mut self, text: &[u8], fish: bool) -> Option<()> {
        let mut inner = Reader {
            text,
            at: 0,
            depth: self.depth.checked_sub(1)?,
            fuel: self.fuel,
            loops: self.loops,
            lists: self.lists,
            fish,
        };
        let result = inner.list(Until::End);
        self.fuel = inner.fuel;
        result
    }

    /// Goes to the next token of this line.
    pub fn blanks(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t') => self.at += 1,
                Some(b'\\') if self.ahead(1) == Some(b'\n') => self.at += 2,
                Some(b'#') => {
                    while self.peek().is_some_and(|byte| byte != b'\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    /// Goes to the next token of any line.
    pub fn lines(&mut self) {
        self.blanks();
        while self.peek() == Some(b'\n') {
            self.at += 1;
            self.blanks();
        }
    }

    /// Reads a redirection, if there is one.
    pub fn redirection(&mut self) -> Option<bool> {
        let mut skip = 0;
        while self.ahead(skip).is_some_and(|byte| byte.is_ascii_digit()) {
            skip += 1;
        }
        let start = self.at;
        self.at += skip;
        const OPERATORS: &[&[u8]] = &[b"<<<", b"<>", b"<&", b"<", b">>", b">&", b">|", b">"];
        const BOTH: &[&[u8]] = &[b"&>>", b"&>"];
        // A process substitution is a command, a here-document is not worth it.
        if [&b"<("[..], b">("]
            .iter()
            .any(|open| self.starts_with(open))
            || (self.starts_with(b"<<") && !self.starts_with(b"<<<"))
        {
            return None;
        }
        let both = if skip == 0 { BOTH } else { &[] };
        let mut operators = OPERATORS.iter().chain(both);
        let Some(operator) = operators.find(|operator| self.starts_with(operator)) else {
            self.at = start;
            return Some(false);
        };
        self.at += operator.len();
        self.blanks();
        self.word()?;
        Some(true)
    }

    /// Reads a word; None where there is none.
    pub fn word(&mut self) -> Option<Word> {
        let start = self.at;
        let mut word = Word::new();
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'(' | b')' | b'<' | b'>' => break,
                b'\\' => {
                    match self.ahead(1) {
                        Some(b'\n') => {}
                        next => {
                            word.quote();
                            word.text.push(next.unwrap_or(byte));
                        }
                    }
                    self.at += 2;
                }
                b'\'' => {
                    word.quote();
                    self.single(&mut word)?;
                }
                b'"' => {
                    word.quote();
                    self.double(&mut word)?;
                }
                b'`' => {
                    word.expand();
                    self.backtick(false)?;
                }
                b'$' => self.dollar(&mut word, false)?,
                _ => {
                    if matches!(byte, b'*' | b'?' | b'[') {
                        word.literal = false;
                    }
                    word.text.push(byte);
                    self.at += 1;
                }
            }
        }
        self.at = self.at.min(self.text.len());
        if self.at == start {
            return None;
        }
        // The commands of that name, no patterns.
        if matches!(word.text.as_slice(), b"[" | b"[[") && word.plain.is_none() {
            word.literal = true;
        }
        Some(word)
    }

    fn single(&mut self, word: &mut Word) -> Option<()> {
        let rest = self.text.get(self.at + 1..)?;
        let end = rest.iter().position(|&byte| byte == b'\'')?;
        let inside = rest.get(..end)?;
        if self.fish && inside.contains(&b'\\') {
            return None;
        }
        word.text.extend_from_slice(inside);
        self.at += end + 2;
        Some(())
    }

    fn double(&mut self, word: &mut Word) -> Option<()> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => {
                    let next = self.ahead(1)?;
                    match next {
                        b'\n' => {}
                        b'$' | b'`' | b'"' | b'\\' => word.text.push(next),
                        _ => word.text.extend_from_slice(&[b'\\', next]),
                    }
                    self.at += 2;
                }
                b'`' => {
                    word.expand();
                    self.backtick(true)?;
                }
                b'$' => self.dollar(word, true)?,
                byte => {
                    word.text.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    fn dollar(&mut self, word: &mut Word, in_double: bool) -> Option<()> {
        word.expand();
        match self.ahead(1) {
            Some(b'(') if self.ahead(2) == Some(b'(') => self.deeper(Self::arithmetic),
            Some(b'(') => {
                self.at += 2;
                self.list(Until::Paren)
            }
            Some(b'{') => self.deeper(Self::brace),
            Some(b'\'') if !in_double => {
                self.at += 1;
                let start = self.at;
                self.single(word)?;
                // Where the shells differ in what ends it.
                (!self.text.get(start..self.at)?.ends_with(b"\\'")).then_some(())
            }
            _ => {
                word.text.push(b'$');
                self.at += 1;
                // The names of one character that would look like a quote or
                // an operator otherwise.
                if matches!(
                    self.peek(),
                    Some(b'#' | b'?' | b'*' | b'@' | b'!' | b'$' | b'-')
                ) {
                    self.at += 1;
                }
                Some(())
            }
        }
    }

    fn arithmetic(&mut self) -> Option<()> {
        self.at += 3;
        let mut open = 0usize;
        loop {
            match self.peek()? {
                b'(' => open += 1,
                b')' if open > 0 => open -= 1,
                b')' => {
                    self.at += 2;
                    return (self.text.get(self.at - 1) == Some(&b')')).then_some(());
                }
                b'$' => {
                    self.dollar(&mut Word::new(), true)?;
                    continue;
                }
                b'`' | b'\\' | b'\'' | b'"' => return None,
                _ => {}
            }
            self.at += 1;
        }
    }

    fn brace(&mut self) -> Option<()> {
        self.at += 2;
        // Other shells' commands and evaluations.
        if matches!(self.peek()?, b' ' | b'\t' | b'\n' | b'|' | b'(') {
            return None;
        }
        loop {
            match self.peek()? {
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.at += 2,
                b'"' => self.double(&mut Word::new())?,
                b'$' => self.dollar(&mut Word::new(), true)?,
                b'`' | b'\'' => return None,
                _ => self.at += 1,
            }
        }
    }

    fn backtick(&mut self, in_double: bool) -> Option<()> {
        self.at += 1;
        let mut inside = Vec::new();
        loop {
            match self.peek()? {
                b'`' => break,
                b'\\' => {
                    let next = self.ahead(1)?;
                    if !(matches!(next, b'`' | b'\\' | b'$') || (in_double && next == b'"')) {
                        inside.push(b'\\');
                    }
                    inside.push(next);
                    self.at += 2;
                }
                byte => {
                    inside.push(byte);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        if self.fish {
            return None;
        }
        self.nested(&inside, false)
    }
}
