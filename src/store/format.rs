//! The form of a state file: a line that says what it is, a frame that says whose
//! it is, and frames of records, each of which is what one event changed.
//!
//! A frame is the length of its content, the CRC-32 of that and the CRC-32 of these
//! two, each as four bytes, the lowest first, and the content in postcard's wire
//! format. So a frame that was not all written says how long it would be: nothing
//! in it, which users choose in part, is ever taken for another. Space that is
//! reserved behind the last frame is zeros.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::lock::ids::{Handle, WaitId};
use crate::lock::saved::{Counters, Key, Saved, Value};

/// What a state file begins with; the number is the form's.
pub const MAGIC: &[u8] = b"boardlock state 2\n";

/// What one of the form before begins with, in which fewer kinds of values are. As long
/// as the other.
pub const FIRST_MAGIC: &[u8] = b"boardlock state 1\n";

/// The number in it.
pub const FORM: u32 = 2;

/// What all of them begin with, of later forms too.
pub const ANY_MAGIC: &[u8] = b"boardlock state ";

/// So many requests at most can be done and not answered yet.
pub const UNANSWERED: usize = 64;

/// Length and checksums.
const HEAD: usize = 12;

/// Whose state it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The lock directory.
    pub dir: Vec<u8>,
    /// The boot that boot times and processes belong to
    /// (/proc/sys/kernel/random/boot_id).
    pub boot: String,
    /// The pid namespace in which processes have their numbers: its inode.
    pub pids: u64,
}

/// What an event changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// As they are from then on.
    pub counters: Counters,
    /// What is other from then on; none if it is no more.
    pub values: Vec<(Key, Option<Value>)>,
    /// The requests that were done, with the open files that they made.
    pub done: Vec<(WaitId, Option<Handle>)>,
}

/// The checksum and length of what is written of a value, which fits into a frame.
pub type Digest = (u32, u32);

/// What an event changed, written as a [`Frame`] is, each value once.
#[derive(Debug, Default)]
pub struct Entries {
    bytes: Vec<u8>,
    count: usize,
}

impl Entries {
    /// Adds what is other from then on, if `is_news` says so of what is written of it.
    ///
    /// # Errors
    /// What postcard says.
    pub fn add(
        &mut self,
        key: &Key,
        value: Option<&Value>,
        is_news: impl FnOnce(Option<Digest>) -> bool,
    ) -> postcard::Result<()> {
        let begin = self.bytes.len();
        let mut bytes = postcard::to_extend(key, std::mem::take(&mut self.bytes))?;
        let mut digest = None;
        match value {
            Some(value) => {
                bytes.push(1);
                let from = bytes.len();
                bytes = postcard::to_extend(value, bytes)?;
                let written = bytes.get(from..).unwrap_or_default();
                digest = Some(digest_of(written)?);
            }
            None => bytes.push(0),
        }
        self.bytes = bytes;
        if is_news(digest) {
            self.count += 1;
        } else {
            self.bytes.truncate(begin);
        }
        Ok(())
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The frame that they are in.
    ///
    /// # Errors
    /// What postcard says.
    pub fn frame(
        &self,
        counters: &Counters,
        done: &[(WaitId, Option<Handle>)],
    ) -> postcard::Result<Vec<u8>> {
        let mut content = Vec::with_capacity(self.bytes.len() + 128);
        content.resize(HEAD, 0);
        content = postcard::to_extend(counters, content)?;
        content = postcard::to_extend(&self.count, content)?;
        content.extend(&self.bytes);
        content = postcard::to_extend(done, content)?;
        let head = head(content.get(HEAD..).unwrap_or_default())?;
        if let Some(room) = content.first_chunk_mut() {
            *room = head;
        }
        Ok(content)
    }
}

/// What stands in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// Whose it is.
    pub owner: Owner,
    /// What it comes to.
    pub saved: Saved,
    /// The requests that were done last.
    pub done: VecDeque<(WaitId, Option<Handle>)>,
    /// How long the part is that was written whole.
    pub length: usize,
    /// Whether something follows that was not all written.
    pub torn: bool,
}

/// Why a file cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is no state file.
    Foreign,
    /// It is one of a later boardlock.
    Later,
    /// It is damaged at this byte, and what follows is not known.
    Damaged(usize),
}

/// Puts a value into a frame at the end of `to`.
///
/// # Errors
/// What postcard says; nothing that is saved makes it say anything.
pub fn push(to: &mut Vec<u8>, value: &impl Serialize) -> postcard::Result<()> {
    enclose(to, &postcard::to_stdvec(value)?)
}

/// Puts what a value is written as into a frame at the end of `to`.
///
/// # Errors
/// When it is longer than four bytes can tell.
pub fn enclose(to: &mut Vec<u8>, content: &[u8]) -> postcard::Result<()> {
    to.extend(head(content)?);
    to.extend(content);
    Ok(())
}

/// The digest of what is written of a value.
///
/// # Errors
/// When it is longer than any frame.
pub fn digest_of(written: &[u8]) -> postcard::Result<Digest> {
    Ok((crc32fast::hash(written), short(written.len())?))
}

fn short(length: usize) -> postcard::Result<u32> {
    u32::try_from(length).map_err(|_| postcard::Error::SerializeBufferFull)
}

/// What goes before the content of a frame.
fn head(content: &[u8]) -> postcard::Result<[u8; HEAD]> {
    let length = short(content.len())?;
    let mut head = [0; HEAD];
    let (what, sum) = head.split_at_mut(8);
    let (size, crc) = what.split_at_mut(4);
    size.copy_from_slice(&length.to_le_bytes());
    crc.copy_from_slice(&crc32fast::hash(content).to_le_bytes());
    sum.copy_from_slice(&crc32fast::hash(what).to_le_bytes());
    Ok(head)
}

/// What is at a place.
enum Found<'a> {
    /// A frame: its content and where the next one begins.
    Frame(&'a [u8], usize),
    /// Nothing was written here.
    End,
    /// What is here is not whole; it would end here, as far as it says.
    Broken(usize),
}

fn frame(file: &[u8], at: usize) -> Found<'_> {
    let rest = file.get(at..).unwrap_or_default();
    if rest.iter().take(HEAD).all(|byte| *byte == 0) {
        return Found::End;
    }
    let begin = at.saturating_add(HEAD);
    let number = |at: usize| {
        let bytes = rest.get(at..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    };
    let (Some(length), Some(crc), Some(sum)) = (number(0), number(4), number(8)) else {
        return Found::Broken(begin);
    };
    if rest.get(..8).map(crc32fast::hash) != Some(sum) {
        return Found::Broken(begin);
    }
    let end = begin.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
    match file.get(begin..end) {
        Some(content) if crc32fast::hash(content) == crc => Found::Frame(content, end),
        _ => Found::Broken(end),
    }
}

/// Reads a state file.
///
/// # Errors
/// What cannot be read, and where something is damaged that is not only what was
/// being written when the daemon died: then boards that are held may be missing.
pub fn read(file: &[u8]) -> Result<Content, Unreadable> {
    if !file.starts_with(MAGIC) && !file.starts_with(FIRST_MAGIC) {
        return Err(if file.starts_with(ANY_MAGIC) {
            Unreadable::Later
        } else {
            Unreadable::Foreign
        });
    }
    let mut at = MAGIC.len();
    let Found::Frame(content, next) = frame(file, at) else {
        return Err(Unreadable::Damaged(at));
    };
    let owner = postcard::from_bytes(content).map_err(|_| Unreadable::Damaged(at))?;
    at = next;
    let mut values = std::collections::BTreeMap::new();
    let mut counters = Counters::default();
    let mut done = VecDeque::new();
    loop {
        match frame(file, at) {
            Found::Frame(content, next) => {
                let frame: Frame =
                    postcard::from_bytes(content).map_err(|_| Unreadable::Damaged(at))?;
                counters = frame.counters;
                for (key, value) in frame.values {
                    match value {
                        Some(value) => values.insert(key, value),
                        None => values.remove(&key),
                    };
                }
                done.extend(frame.done);
                while done.len() > UNANSWERED {
                    done.pop_front();
                }
                at = next;
            }
            Found::End if is_blank(file, at) => break,
            // It is what was written last.
            Found::Broken(end) if is_blank(file, end) => break,
            Found::End | Found::Broken(_) => return Err(Unreadable::Damaged(at)),
        }
    }
    Ok(Content {
        owner,
        saved: Saved { counters, values },
        done,
        length: at,
        torn: !is_blank(file, at),
    })
}

fn is_blank(file: &[u8], from: usize) -> bool {
    file.get(from..)
        .unwrap_or_default()
        .iter()
        .all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn begun() -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        let owner = Owner {
            dir: b"/locks".to_vec(),
            boot: "boot".to_owned(),
            pids: 1,
        };
        push(&mut file, &owner).unwrap();
        file
    }

    fn change() -> Frame {
        Frame {
            counters: Counters {
                token: 7,
                ..Counters::default()
            },
            ..Frame::default()
        }
    }

    #[test]
    fn a_frame_in_what_was_not_all_written_is_none() {
        let mut whole = begun();
        push(&mut whole, &change()).unwrap();
        let length = whole.len();
        let mut inner = Vec::new();
        push(&mut inner, &change()).unwrap();
        // At each place in it.
        enclose(&mut whole, &inner.repeat(3)).unwrap();
        for cut in length..whole.len() {
            let content = read(&whole[..cut]).unwrap();
            assert_eq!((content.length, content.torn), (length, cut > length));
        }
    }

    #[test]
    fn a_frame_whose_length_is_not_known_is_told_where_more_follows() {
        let mut whole = begun();
        let at = whole.len();
        push(&mut whole, &change()).unwrap();
        for byte in at..at + HEAD {
            let mut damaged = whole.clone();
            damaged[byte] ^= 1;
            assert_eq!(read(&damaged).unwrap_err(), Unreadable::Damaged(at));
        }
    }
}
