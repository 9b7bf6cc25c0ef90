//! The form of a state file: a line that says what it is, a frame that says whose
//! it is, and frames of records, each of which is what one event changed.
//!
//! A frame is its length and the CRC-32 of its content, both as four bytes, the
//! lowest first, and the content in postcard's wire format. Space that is
//! reserved behind the last frame is zeros.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::lock::ids::{Handle, WaitId};
use crate::lock::saved::{Counters, Key, Saved, Value};

/// What a state file begins with; the number is the form's.
pub const MAGIC: &[u8] = b"boardlock state 1\n";

/// What all of them begin with, of later forms too.
pub const ANY_MAGIC: &[u8] = b"boardlock state ";

/// No frame is longer: a length that is does not come from us.
const LONGEST: usize = 64 << 20;

/// So many requests at most can be done and not answered yet.
pub const UNANSWERED: usize = 64;

/// How many bytes are summed up at most to find out what follows damage.
const EFFORT: usize = 256 << 20;

/// Length and checksum.
const HEAD: usize = 8;

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
    let head = to.len();
    to.extend([0; HEAD]);
    let mut filled = postcard::to_extend(value, std::mem::take(to))?;
    let (length, crc) = {
        let content = filled.get(head + HEAD..).unwrap_or_default();
        (content.len(), crc32fast::hash(content))
    };
    let length = u32::try_from(length).map_err(|_| postcard::Error::SerializeBufferFull)?;
    if let Some(space) = filled.get_mut(head..head + HEAD) {
        space[..4].copy_from_slice(&length.to_le_bytes());
        space[4..].copy_from_slice(&crc.to_le_bytes());
    }
    *to = filled;
    Ok(())
}

/// A frame at `at`: its content and where the next one begins.
enum Found<'a> {
    Frame(&'a [u8], usize),
    /// Nothing was written here.
    End,
    /// What is here is not whole.
    Broken,
}

fn frame(file: &[u8], at: usize) -> Found<'_> {
    let rest = file.get(at..).unwrap_or_default();
    if rest.iter().take(HEAD).all(|byte| *byte == 0) {
        return Found::End;
    }
    let number = |at: usize| {
        let bytes = rest.get(at..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    };
    let (Some(length), Some(crc)) = (number(0), number(4)) else {
        return Found::Broken;
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    match rest.get(HEAD..HEAD.saturating_add(length)) {
        Some(content) if length <= LONGEST && crc32fast::hash(content) == crc => {
            Found::Frame(content, at + HEAD + length)
        }
        _ => Found::Broken,
    }
}

/// Reads a state file.
///
/// # Errors
/// What cannot be read, and where something is damaged that is not only what was
/// being written when the daemon died: then boards that are held may be missing.
pub fn read(file: &[u8]) -> Result<Content, Unreadable> {
    if !file.starts_with(MAGIC) {
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
            Found::Broken if is_last(file, at) => break,
            Found::End | Found::Broken => return Err(Unreadable::Damaged(at)),
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

/// Whether what is broken at `at` is what was written last: no whole frame
/// follows.
///
/// Users choose some of what is looked through, and could make every byte of it
/// look like the length of a long frame. After so much effort it counts as
/// followed by one: what is not known is told.
fn is_last(file: &[u8], at: usize) -> bool {
    let from = at.saturating_add(1);
    let mut effort = EFFORT;
    (from..file.len()).all(|at| {
        let Some(left) = effort.checked_sub(claimed(file, at)) else {
            return false;
        };
        effort = left;
        match frame(file, at) {
            // Any four zeros are the checksum of nothing.
            Found::Frame(content, _) => {
                content.is_empty() || postcard::from_bytes::<Frame>(content).is_err()
            }
            Found::End | Found::Broken => true,
        }
    })
}

/// How many bytes have to be summed up to tell whether a frame is at `at`.
fn claimed(file: &[u8], at: usize) -> usize {
    let rest = file.get(at..).unwrap_or_default();
    let Some(length) = rest.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)) else {
        return 0;
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let room = rest.len().saturating_sub(HEAD);
    if length > room.min(LONGEST) {
        0
    } else {
        length
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn damage_in_what_looks_like_frames_everywhere_is_told_soon() {
        let mut file = MAGIC.to_vec();
        let owner = Owner {
            dir: b"/locks".to_vec(),
            boot: "boot".to_owned(),
            pids: 1,
        };
        push(&mut file, &owner).unwrap();
        let at = file.len();
        // Each fourth byte begins a length of half of it.
        file.extend([0, 0, 0x40, 0].repeat(2 << 20));
        let begin = std::time::Instant::now();
        assert_eq!(read(&file).unwrap_err(), Unreadable::Damaged(at));
        assert!(begin.elapsed().as_secs() < 60);
    }
}
