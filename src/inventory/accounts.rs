//! The users and groups of this machine.

use std::cell::RefCell;
use std::collections::HashMap;

use nix::unistd::{Group, User};

use crate::printable::printable;

/// Where the numbers of users and groups are looked up.
pub trait Accounts {
    /// The number of a user; none where a name that is not known counts as nobody's.
    ///
    /// # Errors
    /// Why there is none.
    fn user(&self, name: &str) -> Result<Option<u32>, String>;

    /// The same of a group.
    ///
    /// # Errors
    /// Why there is none.
    fn group(&self, name: &str) -> Result<Option<u32>, String>;
}

/// Those of the system (nsswitch.conf(5)). A name of digits alone that nobody has is a
/// number, as for chown(1).
#[derive(Clone, Copy, Debug)]
pub struct System;

impl Accounts for System {
    fn user(&self, name: &str) -> Result<Option<u32>, String> {
        let found = User::from_name(name).map(|user| user.map(|user| user.uid.as_raw()));
        found_as("user", name, found)
    }

    fn group(&self, name: &str) -> Result<Option<u32>, String> {
        let found = Group::from_name(name).map(|group| group.map(|group| group.gid.as_raw()));
        found_as("group", name, found)
    }
}

fn found_as(
    kind: &str,
    name: &str,
    found: nix::Result<Option<u32>>,
) -> Result<Option<u32>, String> {
    let shown = printable(name);
    match found {
        Ok(Some(number)) => Ok(Some(number)),
        Ok(None) => match name.parse() {
            Ok(number) if number != u32::MAX => Ok(Some(number)),
            _ => Err(format!("there is no {kind} {shown}")),
        },
        Err(error) => Err(format!("cannot look up the {kind} {shown}: {error}")),
    }
}

/// The same, for an inventory that was good once: a name that is not known any more is
/// nobody's.
#[derive(Clone, Copy, Debug)]
pub struct Lenient;

impl Accounts for Lenient {
    fn user(&self, name: &str) -> Result<Option<u32>, String> {
        Ok(or_nobody(System.user(name)))
    }

    fn group(&self, name: &str) -> Result<Option<u32>, String> {
        Ok(or_nobody(System.group(name)))
    }
}

/// What was found of a name, or why nothing was.
type Found = Result<Option<u32>, String>;

/// Others, each asked for a name once: an inventory has few names in thousands of places,
/// and a directory service may be slow.
pub(super) struct Once<'a> {
    accounts: &'a dyn Accounts,
    users: RefCell<HashMap<String, Found>>,
    groups: RefCell<HashMap<String, Found>>,
}

impl<'a> Once<'a> {
    pub(super) fn new(accounts: &'a dyn Accounts) -> Once<'a> {
        Once {
            accounts,
            users: RefCell::default(),
            groups: RefCell::default(),
        }
    }
}

impl Accounts for Once<'_> {
    fn user(&self, name: &str) -> Result<Option<u32>, String> {
        once(&self.users, name, |name| self.accounts.user(name))
    }

    fn group(&self, name: &str) -> Result<Option<u32>, String> {
        once(&self.groups, name, |name| self.accounts.group(name))
    }
}

fn once(
    known: &RefCell<HashMap<String, Found>>,
    name: &str,
    find: impl FnOnce(&str) -> Found,
) -> Found {
    if let Some(found) = known.borrow().get(name) {
        return found.clone();
    }
    let found = find(name);
    known.borrow_mut().insert(name.to_owned(), found.clone());
    found
}

fn or_nobody(found: Result<Option<u32>, String>) -> Option<u32> {
    found.unwrap_or_else(|error| {
        log::warn!("the last good inventory: {error}: nobody may take a board by it");
        None
    })
}
