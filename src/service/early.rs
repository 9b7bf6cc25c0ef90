//! Interrupts that overtook their requests: a request that may have to wait for
//! /proc is not put aside yet when another thread reads that a signal ended it.
//!
//! Only of requests that are at work is it remembered, of which there are not more than
//! threads: no number of other interrupts makes one be forgotten.

use std::collections::HashMap;
use std::hash::Hash;

/// The requests that are at work and may be put aside, and whether a signal ended
/// each. To be used under the lock under which requests are put aside.
#[derive(Debug)]
pub struct Early<T>(HashMap<T, bool>);

impl<T> Default for Early<T> {
    fn default() -> Early<T> {
        Early(HashMap::new())
    }
}

impl<T: Eq + Hash> Early<T> {
    /// A request is at work that may be put aside.
    pub fn begin(&mut self, request: T) {
        self.0.insert(request, false);
    }

    /// It is answered, or put aside.
    pub fn end(&mut self, request: &T) {
        self.0.remove(request);
    }

    /// The interrupt of a request that does not wait: it does not yet, if it is at
    /// work, or not any more.
    pub fn keep(&mut self, request: &T) {
        if let Some(ended) = self.0.get_mut(request) {
            *ended = true;
        }
    }

    /// Whether the interrupt of a request that is put aside now came before.
    pub fn take(&mut self, request: &T) -> bool {
        self.0.remove(request) == Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobodys_interrupts_make_anothers_be_forgotten() {
        let mut early = Early::default();
        early.begin(1);
        early.begin(2);
        early.keep(&1);
        for request in 3..10_000 {
            early.keep(&request);
        }
        assert_eq!(early.0.len(), 2, "what is not at work is not kept");
        assert!(early.take(&1));
        assert!(!early.take(&1), "once");
        assert!(!early.take(&2));
        early.begin(3);
        early.keep(&3);
        early.end(&3);
        assert!(early.0.is_empty());
    }
}
