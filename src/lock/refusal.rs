//! Why the table says no. `fuse::errno` gives each its errno.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A refusal: what the caller may not do, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Refusal {
    /// Another holds the board.
    Busy,
    /// Another holds the board and the caller asked not to wait (O_NONBLOCK).
    BusyNow,
    /// The lock would wait for somebody who waits for its caller.
    Deadlock,
    /// The caller stopped waiting, by a signal.
    Interrupted,
    /// More ranges of a board are locked than are kept, or a wait has become
    /// longer than the kernel lets a request be.
    NoLocks,
    /// Nobody holds the board, the open file is of a hold that is over.
    NotHeld,
    /// The name is taken.
    Exists,
    /// There is no such board.
    Missing,
    /// The board was freed, or made anew, since the caller looked it up: the
    /// kernel walks the path again.
    Gone,
    /// Only who holds a claim may give it another name.
    NotHolder,
    /// Neither the holder's side nor anybody else who may release it.
    NotYours,
    /// A program that unlinks in order to take, of what another has.
    UnlinksToTake,
    /// The caller was refused this board during this hold: it cleans up what
    /// it never had.
    RefusedBefore,
    /// The script that the caller worked for has ended.
    Orphan,
    /// The caller's process cannot be seen, and no lease limits its claim.
    Unseen,
    /// The directory is claimed, and not by the caller's side.
    InsideAnothers,
    /// A symbolic link stands that points to this name.
    LinkedTo,
    /// A symbolic link would lead to another's board.
    TargetTaken,
    /// The link's target has a `/`.
    TargetPath,
    /// The inventory has no such board.
    NoSuchBoard,
    /// Nobody may take the board for now, the inventory says.
    OutOfService,
    /// The inventory has the board for others.
    NotAdmitted,
    /// It is a directory that the administrator laid out.
    LaidOut,
    /// The name has control characters.
    BadName,
    /// The name has more than 255 bytes.
    LongName,
    /// The user has as many boards as one may have.
    UserFull,
    /// The lock directory has as many boards as it may have.
    TableFull,
    /// More content than a board keeps.
    TooLarge,
    /// The directory has boards in it.
    NotEmpty,
    /// A directory where a file was meant.
    IsDirectory,
    /// A file where a directory was meant.
    NotDirectory,
    /// No such kind of file here: only regular files, directories and
    /// symbolic links are locks.
    WrongKind,
    /// Owner, mode or an attribute that the caller may not change.
    NotPermitted,
    /// Renaming with flags that have no meaning for locks.
    RenameFlags,
    /// No extended attribute of this name.
    NoAttribute,
    /// Extended attributes of this name cannot be made.
    UnknownAttribute,
    /// A value that the attribute cannot have.
    BadValue,
    /// The attribute is set already, and was to be made (XATTR_CREATE).
    AttributeExists,
    /// The program that was to go on did not come to serve.
    NotUpgraded,
    /// The name, or what it is in, is the lock directory's own.
    Reserved,
}

impl Refusal {
    /// Whether the caller wanted the board and did not get it because another
    /// has it; such a caller may not unlink it during the same hold. Nor may one that
    /// would not have got it from anybody.
    pub fn is_defeat(self) -> bool {
        matches!(self, Refusal::Busy | Refusal::BusyNow | Refusal::Exists) || self.is_by_inventory()
    }

    /// Whether the inventory keeps the caller from ever having the board.
    pub fn is_by_inventory(self) -> bool {
        matches!(
            self,
            Refusal::NoSuchBoard | Refusal::OutOfService | Refusal::NotAdmitted
        )
    }
}

impl Refusal {
    /// A word for it, for programs: part of what is told in `.boardlock`, so it stays.
    pub fn word(self) -> &'static str {
        match self {
            Refusal::Busy => "busy",
            Refusal::BusyNow => "busy_now",
            Refusal::Deadlock => "deadlock",
            Refusal::Interrupted => "interrupted",
            Refusal::NoLocks => "no_locks",
            Refusal::NotHeld => "not_held",
            Refusal::Exists => "exists",
            Refusal::Missing => "missing",
            Refusal::Gone => "gone",
            Refusal::NotHolder => "not_holder",
            Refusal::NotYours => "not_yours",
            Refusal::UnlinksToTake => "unlinks_to_take",
            Refusal::RefusedBefore => "refused_before",
            Refusal::Orphan => "orphan",
            Refusal::Unseen => "unseen",
            Refusal::InsideAnothers => "inside_anothers",
            Refusal::LinkedTo => "linked_to",
            Refusal::TargetTaken => "target_taken",
            Refusal::TargetPath => "target_path",
            Refusal::BadName => "bad_name",
            Refusal::LongName => "long_name",
            Refusal::UserFull => "user_full",
            Refusal::TableFull => "table_full",
            Refusal::TooLarge => "too_large",
            Refusal::NotEmpty => "not_empty",
            Refusal::IsDirectory => "is_directory",
            Refusal::NotDirectory => "not_directory",
            Refusal::WrongKind => "wrong_kind",
            Refusal::NotPermitted => "not_permitted",
            Refusal::RenameFlags => "rename_flags",
            Refusal::NoAttribute => "no_attribute",
            Refusal::UnknownAttribute => "unknown_attribute",
            Refusal::BadValue => "bad_value",
            Refusal::AttributeExists => "attribute_exists",
            Refusal::NotUpgraded => "not_upgraded",
            Refusal::Reserved => "reserved",
            Refusal::NoSuchBoard => "no_such_board",
            Refusal::OutOfService => "out_of_service",
            Refusal::NotAdmitted => "not_admitted",
            Refusal::LaidOut => "laid_out",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Busy => "it is held",
            Refusal::BusyNow => "it is held, and the caller does not wait",
            Refusal::Deadlock => "it would wait for one who waits for the caller",
            Refusal::Interrupted => "the caller stopped waiting",
            Refusal::NoLocks => {
                "too many ranges are locked, too many of the user wait, \
                                 or the wait is too long"
            }
            Refusal::NotHeld => "it was given back, nobody holds it",
            Refusal::Exists => "the name is taken",
            Refusal::Missing => "there is no such board",
            Refusal::Gone => "it changed hands since it was looked up",
            Refusal::NotHolder => "only its holder may give it another name",
            Refusal::NotYours => "it is another's to release",
            Refusal::UnlinksToTake => "this program unlinks to take, which is not giving back",
            Refusal::RefusedBefore => {
                "the caller was refused this board before, it is not its own to release"
            }
            Refusal::Orphan => "the script that it worked for has ended, with all that it held",
            Refusal::Unseen => {
                "its process is in a pid namespace that cannot be seen, and no lease applies"
            }
            Refusal::InsideAnothers => "the directory is claimed by another",
            Refusal::TargetTaken => "the symbolic link would lead to another's board",
            Refusal::LinkedTo => "a symbolic link that points to this name stands",
            Refusal::TargetPath => "a symbolic link may only name what would lie beside it",
            Refusal::NoSuchBoard => "there is no such board in the inventory",
            Refusal::OutOfService => "it is out of service",
            Refusal::NotAdmitted => "the inventory has it for others",
            Refusal::LaidOut => "it is a directory of the inventory, which stays",
            Refusal::BadName => "the name has control characters",
            Refusal::LongName => {
                "the name is longer than 255 bytes, or its path too long or too deep"
            }
            Refusal::UserFull => "the user has as many boards as one may have (--max-per-user)",
            Refusal::TableFull => "there are as many boards as there may be (--max-boards)",
            Refusal::TooLarge => "a board keeps 4096 bytes",
            Refusal::NotEmpty => "there are boards in it",
            Refusal::IsDirectory => "it is a directory",
            Refusal::NotDirectory => "it is no directory",
            Refusal::WrongKind => "only files, directories and symbolic links can be locks",
            Refusal::NotPermitted => "that is not the caller's to change",
            Refusal::RenameFlags => "boards cannot be exchanged",
            Refusal::NoAttribute => "there is no such attribute",
            Refusal::UnknownAttribute => "such attributes cannot be set here",
            Refusal::BadValue => "the attribute cannot have this value",
            Refusal::AttributeExists => "the attribute is set already",
            Refusal::NotUpgraded => "the program that was to go on did not come to serve",
            Refusal::Reserved => "the lock directory tells about itself there, to be read only",
        })
    }
}
