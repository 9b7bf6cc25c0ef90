//! The form of the file, and what makes no sense in it. Each error says where it is.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use glob::Pattern;
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use toml::Spanned;

use super::accounts::{Accounts, Once};
use super::suggest::nearest;
use crate::cli::duration;
use crate::lock::boards::{Board, Boards, MayTake, Rack};
use crate::lock::ids::{Gid, Uid};
use crate::lock::node::{DEPTH_MAX, NAME_MAX, PATH_MAX, check_name};
use crate::printable::printable;
use crate::schema::DIRECTORY as RESERVED;

/// What is wrong, and at which line and column, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
    /// What is wrong there.
    pub what: String,
}

/// As it stands in the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct Written {
    #[serde(default)]
    temporary: Vec<Spanned<String>>,
    #[serde(default)]
    directories: BTreeMap<Spanned<String>, WrittenRack>,
    #[serde(default)]
    boards: BTreeMap<Spanned<String>, WrittenBoard>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct WrittenRack {
    description: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct WrittenBoard {
    description: Option<String>,
    #[serde(default)]
    pools: Vec<Spanned<String>>,
    #[serde(default)]
    tags: Vec<Spanned<String>>,
    longest_lease: Option<Spanned<String>>,
    users: Option<Vec<Spanned<Account>>>,
    groups: Option<Vec<Spanned<Account>>>,
    out_of_service: Option<Spanned<String>>,
}

/// A user or a group, by name or number.
#[derive(Debug)]
enum Account {
    Number(u32),
    Name(String),
}

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Account, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Account;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name or a number")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Account, E> {
                Ok(Account::Name(name.to_owned()))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Account, E> {
                let number = u32::try_from(number).ok().filter(|n| *n != u32::MAX);
                number
                    .map(Account::Number)
                    .ok_or_else(|| E::custom("no user or group has this number"))
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Account, E> {
                self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Something wrong, at a place in the text.
type Found = (Range<usize>, String);

/// Reads an inventory. Users and groups are looked up in `accounts`.
///
/// # Errors
/// What is wrong first.
pub fn parse(text: &str, accounts: &dyn Accounts) -> Result<Boards, Wrong> {
    // As some editors begin a file with one.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let written: Written = toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        wrong(text, &span, error.message())
    })?;
    written
        .boards(&Once::new(accounts))
        .map_err(|(span, what)| wrong(text, &span, &what))
}

/// Where bytes are no text, after so much of them that is.
pub(super) fn not_text(before: &str) -> Wrong {
    let before = before.strip_prefix('\u{feff}').unwrap_or(before);
    let end = before.len()..before.len();
    wrong(before, &end, "this is no UTF-8")
}

fn wrong(text: &str, span: &Range<usize>, what: &str) -> Wrong {
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or(before);
    Wrong {
        line: before.matches('\n').count() + 1,
        column: line.chars().count() + 1,
        // toml's messages can have several lines.
        what: what.lines().collect::<Vec<_>>().join("; "),
    }
}

impl Written {
    fn boards(self, accounts: &dyn Accounts) -> Result<Boards, Found> {
        let mut directories = BTreeMap::new();
        for (path, rack) in self.directories {
            check_path(&path)?;
            let description = rack.description;
            directories.insert(path, Rack { description });
        }
        let mut boards = BTreeMap::new();
        for (path, board) in self.boards {
            check_path(&path)?;
            if directories.contains_key(path.get_ref().as_str()) {
                let what = format!("{} is a directory, too", printable(path.get_ref()));
                return Err((path.span(), what));
            }
            let board = board.checked(accounts)?;
            boards.insert(path, board);
        }
        for path in directories.keys().chain(boards.keys()) {
            let Some((above, _)) = path.get_ref().rsplit_once('/') else {
                continue;
            };
            if !directories.contains_key(above) {
                let others = directories.keys().filter(|other| *other != path);
                let names = others.map(|name| name.get_ref().as_bytes());
                let meant = nearest(above.as_bytes(), names);
                let meant = meant.map(|name| format!("; is {} meant?", printable(name)));
                let what = format!(
                    "there is no directory {} for it: it needs [directories.{}]{}",
                    printable(above),
                    key(above),
                    meant.unwrap_or_default()
                );
                return Err((path.span(), what));
            }
        }
        let mut temporary = Vec::new();
        for pattern in self.temporary {
            temporary.push(check_pattern(&pattern).map_err(|what| (pattern.span(), what))?);
        }
        Ok(Boards::new(plain(boards), plain(directories), temporary))
    }
}

/// A name as a key in the file.
fn key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    match name.bytes().all(bare) {
        true => name.to_owned(),
        false => format!("\"{}\"", printable(name).replace('"', "\\\"")),
    }
}

fn plain<T>(map: BTreeMap<Spanned<String>, T>) -> BTreeMap<Vec<u8>, T> {
    map.into_iter()
        .map(|(path, value)| (path.into_inner().into_bytes(), value))
        .collect()
}

impl WrittenBoard {
    fn checked(self, accounts: &dyn Accounts) -> Result<Board, Found> {
        let longest_lease = match &self.longest_lease {
            Some(text) => {
                let length = duration::parse(text.get_ref()).map_err(|what| (text.span(), what))?;
                Some(length)
            }
            None => None,
        };
        let out_of_service = match self.out_of_service {
            Some(reason) if reason.get_ref().trim().is_empty() => {
                let what = "say why it is out of service, or leave this out".to_owned();
                return Err((reason.span(), what));
            }
            reason => reason.map(Spanned::into_inner),
        };
        Ok(Board {
            description: self.description,
            pools: words(self.pools, "pool")?,
            tags: words(self.tags, "tag")?,
            longest_lease,
            may_take: may_take(self.users, self.groups, accounts)?,
            out_of_service,
        })
    }
}

fn may_take(
    users: Option<Vec<Spanned<Account>>>,
    groups: Option<Vec<Spanned<Account>>>,
    accounts: &dyn Accounts,
) -> Result<Option<MayTake>, Found> {
    if users.is_none() && groups.is_none() {
        return Ok(None);
    }
    let mut may_take = MayTake::default();
    for user in users.into_iter().flatten() {
        let (number, name) = number(&user, "user", |name| accounts.user(name))?;
        may_take.users.extend(number.map(|uid| (Uid(uid), name)));
    }
    for group in groups.into_iter().flatten() {
        let (number, name) = number(&group, "group", |name| accounts.group(name))?;
        may_take.groups.extend(number.map(|gid| (Gid(gid), name)));
    }
    Ok(Some(may_take))
}

/// The number of a user or group, and what it was given as. None where a name that is
/// not known is nobody's.
fn number(
    account: &Spanned<Account>,
    kind: &str,
    find: impl FnOnce(&str) -> Result<Option<u32>, String>,
) -> Result<(Option<u32>, String), Found> {
    match account.get_ref() {
        Account::Number(number) => Ok((Some(*number), number.to_string())),
        Account::Name(name) => {
            let unusable = name.is_empty() || name.contains('\0');
            let found = match unusable {
                true => Err(format!("'{}' is no {kind}'s name", printable(name))),
                false => find(name),
            };
            match found {
                Ok(number) => Ok((number, name.clone())),
                Err(what) => Err((account.span(), what)),
            }
        }
    }
}

/// Words that can stand on a command line.
fn words(written: Vec<Spanned<String>>, kind: &str) -> Result<Vec<String>, Found> {
    let mut words: Vec<String> = Vec::new();
    for word in written {
        let text = word.get_ref();
        let odd = |c: char| c.is_control() || c.is_whitespace() || c == ',';
        if text.is_empty() || text.contains(odd) {
            let what = format!(
                "'{}' is no {kind}'s name: it needs to be one word, without commas",
                printable(text)
            );
            return Err((word.span(), what));
        }
        if !words.contains(text) {
            words.push(text.clone());
        }
    }
    Ok(words)
}

/// Checks a path, as what is made in the directory is checked.
fn check_path(path: &Spanned<String>) -> Result<(), Found> {
    let text = path.get_ref();
    let fail = |what: &str| Err((path.span(), format!("'{}' {what}", printable(text))));
    if text.starts_with('/') {
        return fail("is an absolute path: give the one from the lock directory");
    }
    for name in text.split('/') {
        if name.is_empty() {
            return fail("has an empty name in it");
        }
        if name == "." || name == ".." {
            return fail("has a name in it that every directory has");
        }
        if name.len() > NAME_MAX {
            return fail("has a name of more than 255 bytes in it");
        }
        if check_name(name.as_bytes()).is_err() {
            return fail("has control characters in it");
        }
    }
    if text.split('/').next() == Some(RESERVED) {
        return fail("is boardlock's own");
    }
    if text.len() > PATH_MAX || text.matches('/').count() > DEPTH_MAX {
        return fail("is too long, or too deep");
    }
    Ok(())
}

fn check_pattern(pattern: &Spanned<String>) -> Result<Pattern, String> {
    let text = pattern.get_ref();
    let shown = printable(text);
    if text.contains('/') {
        return Err(format!(
            "'{shown}' has a directory in it; a pattern is one of names"
        ));
    }
    if text.trim_matches('*').is_empty() {
        return Err(format!("'{shown}' would let every name through, or none"));
    }
    Pattern::new(text).map_err(|error| format!("'{shown}' is no pattern: {}", error.msg))
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
