//! The STRING of a `sh -c STRING`: does it do nothing but claim?
//!
//! A shell's grammar only as far as the question needs it. Whatever is not
//! understood is work: then the shell holds, which the log will tell if it was
//! wrong, while a caller that holds in place of a shell at work would not let
//! go in time.

use super::lists::Lists;
use super::names::{self, ShellRun};
use super::words::{Reader, Until, Word, is_name};

/// What a person would write on one line is far below.
const LONGEST: usize = 64 << 10;

/// How wrappers take the words before the command: how many of their own, and
/// their options without an argument.
const OWN_WORDS: &[(&str, usize, &str)] = &[
    ("sudo", 0, "ABEHKPSVbiknsv"),
    ("sudo-rs", 0, "ABEHKPSVbiknsv"),
    ("doas", 0, "Lns"),
    ("su", 1, "Plmp"),
    ("runuser", 1, "Plmp"),
    ("env", 0, "0iv"),
    ("timeout", 1, "fpv"),
    ("taskset", 1, "acp"),
    ("chrt", 1, "Rabdefimorv"),
    ("setsid", 0, "cfw"),
    ("setarch", 1, "3BFILRSTXZv"),
    ("chroot", 1, ""),
    ("time", 0, "apqv"),
    ("strace", 0, "CDFTZcdfhiknqrtvxyz"),
    ("xargs", 0, "0optrx"),
    ("flock", 1, "Fenosuxv"),
    ("setlock", 1, "NXnx"),
    ("setuidgid", 1, ""),
    ("envdir", 1, ""),
    ("s6-setlock", 1, "NWnrw"),
    ("s6-setuidgid", 1, ""),
    ("logsave", 1, "asv"),
    ("unbuffer", 0, "p"),
    ("chronic", 0, "ev"),
    ("unshare", 0, "CTUcfimnpru"),
];

#[rustfmt::skip]
const LONG_FLAGS: &[&str] = &[
    "--non-interactive", "--preserve-env", "--foreground", "--preserve-status", "--login",
    "--ignore-environment", "--verbose", "--wait", "--fork", "--null", "--no-run-if-empty",
    "--nonblock", "--exclusive", "--shared", "--nb", "--pty", "--set-home", "--background",
];

/// Wrappers that take a command as a string.
const STRINGS: &[&str] = &["su", "runuser", "flock", "script"];

/// Whether `string`, run by a shell (fish reads it differently), claims or
/// releases and does nothing else.
pub(super) fn only_claims(string: &[u8], fish: bool, lists: &Lists) -> bool {
    string.len() <= LONGEST && Reader::new(string, fish, lists).list(Until::End).is_some()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    If,
    Loop,
    For,
    Case,
    Brace,
}

impl Reader<'_> {
    /// Reads commands to the end or to the closing parenthesis.
    pub fn list(&mut self, until: Until) -> Option<()> {
        self.deeper(|reader| {
            let loops = reader.loops;
            let mut open = Vec::new();
            let result = reader.commands(until, &mut open);
            reader.loops = loops;
            result.filter(|()| open.is_empty())
        })
    }

    fn commands(&mut self, until: Until, open: &mut Vec<Block>) -> Option<()> {
        loop {
            self.blanks();
            let Some(byte) = self.peek() else {
                return (until == Until::End).then_some(());
            };
            match byte {
                b'\n' | b'|' => self.at += 1,
                b'&' if self.ahead(1) != Some(b'>') => self.at += 1,
                b';' => match self.ahead(1) {
                    Some(b';' | b'&') => {
                        self.at += if self.ahead(2) == Some(b'&') { 3 } else { 2 };
                        if open.last() != Some(&Block::Case) {
                            return None;
                        }
                        self.pattern(open)?;
                    }
                    _ => self.at += 1,
                },
                b')' => {
                    self.at += 1;
                    return (until == Until::Paren).then_some(());
                }
                // ((: arithmetic
                b'(' if self.ahead(1) == Some(b'(') => return None,
                b'(' => {
                    self.at += 1;
                    self.list(Until::Paren)?;
                }
                _ => self.command(open)?,
            }
        }
    }

    /// Reads a simple command, or the keywords before one.
    fn command(&mut self, open: &mut Vec<Block>) -> Option<()> {
        let mut words: Vec<Word> = Vec::new();
        let mut after_word = false;
        loop {
            self.blanks();
            if self.redirection()? {
                after_word = false;
                continue;
            }
            match self.peek() {
                // A function, an array.
                Some(b'(') if after_word => return None,
                None | Some(b'\n' | b';' | b'&' | b'|' | b'(' | b')') => break,
                Some(_) => {}
            }
            let word = self.word()?;
            after_word = true;
            if words.is_empty() {
                if word.is_assignment() {
                    continue;
                }
                if self.keyword(&word, open)? {
                    after_word = false;
                    continue;
                }
                if word.bare() == Some(b"[[") {
                    self.conditional()?;
                }
            }
            words.push(word);
        }
        self.simple(&words)
    }

    /// Whether the word is the shell's own; what it opens and closes.
    fn keyword(&mut self, word: &Word, open: &mut Vec<Block>) -> Option<bool> {
        let Some(text) = word.bare() else {
            return Some(false);
        };
        let top = open.last().copied();
        match text {
            b"if" => open.push(Block::If),
            b"while" | b"until" => {
                open.push(Block::Loop);
                self.loops += 1;
            }
            b"for" => {
                self.for_head()?;
                open.push(Block::For);
            }
            b"!" | b"else" => {}
            b"and" | b"or" | b"not" if self.fish => {}
            b"begin" if self.fish => open.push(Block::Brace),
            b"end" if self.fish => {
                if open.pop()? == Block::Loop {
                    self.loops -= 1;
                }
            }
            _ if self.fish => return Some(false),
            b"then" | b"elif" if top == Some(Block::If) => {}
            b"fi" if top == Some(Block::If) => {
                open.pop();
            }
            b"do" if matches!(top, Some(Block::Loop | Block::For)) => {}
            b"done" if top == Some(Block::For) => {
                open.pop();
            }
            b"done" if top == Some(Block::Loop) => {
                open.pop();
                self.loops -= 1;
            }
            b"case" => {
                self.blanks();
                self.word()?;
                self.lines();
                if self.word()?.bare() != Some(b"in") {
                    return None;
                }
                open.push(Block::Case);
                self.pattern(open)?;
            }
            b"esac" if top == Some(Block::Case) => {
                open.pop();
            }
            b"{" => open.push(Block::Brace),
            b"}" if top == Some(Block::Brace) => {
                open.pop();
            }
            _ => return Some(false),
        }
        Some(true)
    }

    /// `NAME in WORD ...` up to the separator.
    fn for_head(&mut self) -> Option<()> {
        self.blanks();
        self.word()?.bare().filter(|name| is_name(name))?;
        self.lines();
        if self.peek() == Some(b';') {
            return Some(());
        }
        let start = self.at;
        match self.word()?.bare() {
            Some(b"do") => self.at = start,
            Some(b"in") => loop {
                self.blanks();
                match self.peek()? {
                    b';' | b'\n' => break,
                    _ => drop(self.word()?),
                }
            },
            _ => return None,
        }
        Some(())
    }

    /// The pattern of a case, or the case's end.
    fn pattern(&mut self, open: &mut Vec<Block>) -> Option<()> {
        self.lines();
        if self.peek() == Some(b'(') {
            self.at += 1;
            self.blanks();
        }
        if self.word()?.bare() == Some(b"esac") {
            open.pop();
            return Some(());
        }
        loop {
            self.blanks();
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b')' => return Some(()),
                b'|' => {
                    self.blanks();
                    self.word()?;
                }
                _ => return None,
            }
        }
    }

    /// The inside of `[[ ]]`.
    fn conditional(&mut self) -> Option<()> {
        loop {
            self.lines();
            match self.peek()? {
                b'&' | b'|' | b'(' | b')' | b'<' | b'>' => self.at += 1,
                _ => {
                    if self.word()?.bare() == Some(b"]]") {
                        return Some(());
                    }
                }
            }
        }
    }

    /// Whether a command's words claim, or do nothing at all.
    fn simple(&mut self, words: &[Word]) -> Option<()> {
        self.fuel = self.fuel.checked_sub(1)?;
        let Some(first) = words.first() else {
            return Some(());
        };
        let rest = words.get(1..)?;
        if !first.literal {
            return None;
        }
        match first.text.as_slice() {
            // With redirections alone it keeps a file open.
            b"exec" if rest.is_empty() => return None,
            b"exec" | b"builtin" => return self.deeper(|reader| reader.simple(rest)),
            b"command" => {
                let rest = match rest.first().and_then(Word::bare) {
                    Some(b"-v" | b"-V") => return Some(()),
                    Some(b"-p") => rest.get(1..)?,
                    _ => rest,
                };
                return self.deeper(|reader| reader.simple(rest));
            }
            b"sleep" => return (self.loops > 0).then_some(()),
            _ => {}
        }
        let name = installed(&first.text)?;
        if self.lists.is_neutral(name) || self.lists.is_one_shot(name) {
            return Some(());
        }
        if self.lists.is_wrapper(name) {
            return self.deeper(|reader| reader.wrapped(name, rest));
        }
        if names::is_shell(name) {
            return self.shell(words);
        }
        if name == b"cmake" {
            return names::cmake_tool(words).then_some(());
        }
        let (name, at) = names::program(words)?;
        let literal = words.get(..=at)?.iter().all(|word| word.literal);
        if at == 0 || !literal {
            return None;
        }
        if names::is_shell(name) {
            return self.shell(words.get(at..)?);
        }
        (self.lists.is_one_shot(name) || self.lists.is_neutral(name)).then_some(())
    }

    /// A shell within the shell.
    fn shell(&mut self, words: &[Word]) -> Option<()> {
        let ShellRun::String(string) = names::shell_run(words) else {
            return None;
        };
        let fish = names::argv0(&words.first()?.text) == b"fish";
        // Expanded, it may say anything.
        words.iter().all(|word| word.literal).then_some(())?;
        self.nested(string, fish)
    }

    /// The command among a wrapper's words.
    fn wrapped(&mut self, name: &[u8], words: &[Word]) -> Option<()> {
        if name == b"find" {
            return self.found(words);
        }
        if STRINGS.iter().any(|known| known.as_bytes() == name) {
            let string = words.windows(2).find_map(|pair| match pair {
                [option, string] => {
                    matches!(option.bare(), Some(b"-c" | b"--command")).then_some(string)
                }
                _ => None,
            });
            if let Some(string) = string {
                string.literal.then_some(())?;
                return self.nested(&string.text, false);
            }
        }
        let (mut own, flags) = OWN_WORDS
            .iter()
            .find(|(known, ..)| known.as_bytes() == name)
            .map_or((0, ""), |(_, own, flags)| (*own, *flags));
        // Whether this word may be an argument of the option before it.
        let mut argument = false;
        for (at, word) in words.iter().enumerate() {
            let text = word.text.as_slice();
            if word.literal && text.len() > 1 && matches!(text.first(), Some(b'-' | b'+')) {
                argument = may_take_argument(text, flags);
            } else if word.is_assignment() {
                argument = false;
            } else if own > 0 && !argument {
                own -= 1;
            } else if self.simple(words.get(at..)?).is_some() {
                return Some(());
            } else if argument {
                argument = false;
            } else {
                return None;
            }
        }
        None
    }

    /// What find runs.
    fn found(&mut self, words: &[Word]) -> Option<()> {
        let mut runs = false;
        for (at, word) in words.iter().enumerate() {
            if matches!(
                word.bare(),
                Some(b"-exec" | b"-execdir" | b"-ok" | b"-okdir")
            ) {
                runs = true;
                self.simple(words.get(at + 1..).filter(|rest| !rest.is_empty())?)?;
            }
        }
        runs.then_some(())
    }
}

fn may_take_argument(option: &[u8], flags: &str) -> bool {
    if option.starts_with(b"--") {
        let flag = LONG_FLAGS.iter().any(|flag| flag.as_bytes() == option);
        return option.len() > 2 && !flag && !option.contains(&b'=');
    }
    option
        .last()
        .is_some_and(|last| !flags.as_bytes().contains(last))
}

/// The name of a command that stands for the tool of that name: found by PATH
/// or in some bin directory. `./install` is somebody's script.
fn installed(word: &[u8]) -> Option<&[u8]> {
    let Some(end) = word.iter().rposition(|&byte| byte == b'/') else {
        return Some(word);
    };
    let directory = names::base(word.get(..end)?);
    let libraries = names::is_loader(names::base(word));
    (word.starts_with(b"/") && (matches!(directory, b"bin" | b"sbin") || libraries))
        .then_some(names::base(word))
}
