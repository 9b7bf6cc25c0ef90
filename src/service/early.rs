//! Interrupts that overtook their requests: a request that may have to wait for
//! /proc is not put aside yet when another thread reads that a signal ended it.

use std::collections::HashSet;
use std::hash::Hash;

/// As many are kept: no more requests are overtaken at a time.
const MOST: usize = 1024;

/// The requests that they are about. To be used under the lock under which requests
/// are put aside.
#[derive(Debug)]
pub struct Early<T>(HashSet<T>);

impl<T> Default for Early<T> {
    fn default() -> Early<T> {
        Early(HashSet::new())
    }
}

impl<T: Eq + Hash> Early<T> {
    /// The interrupt of a request that does not wait: it does not yet, if it may be
    /// `overtaken`, or not any more.
    pub fn keep(&mut self, request: T, overtaken: bool) {
        if !overtaken {
            self.0.clear();
        } else if self.0.len() < MOST {
            self.0.insert(request);
        }
    }

    /// Whether the interrupt of a request that is put aside now came before.
    pub fn take(&mut self, request: &T) -> bool {
        self.0.remove(request)
    }
}
