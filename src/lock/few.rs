//! A list that is empty almost always, and takes but a pointer while it is.

use std::ops::{Deref, DerefMut};

/// The list. An empty one has no allocation, also when it was none before.
#[derive(Clone, Debug, PartialEq)]
pub struct Few<T>(Option<Box<Items<T>>>);

/// Behind one pointer instead of the three words of a `Vec`.
type Items<T> = Vec<T>;

impl<T> Few<T> {
    /// An empty list.
    pub const fn new() -> Few<T> {
        Few(None)
    }

    /// Puts an item at the end.
    pub fn push(&mut self, item: T) {
        match &mut self.0 {
            Some(items) => items.push(item),
            None => self.0 = Some(Box::new(vec![item])),
        }
    }

    /// Keeps those of which `keep` says so.
    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        if let Some(items) = &mut self.0 {
            items.retain(keep);
            if items.is_empty() {
                self.0 = None;
            }
        }
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.0 = None;
    }

    /// Takes all out, as a `Vec`.
    pub fn take(&mut self) -> Vec<T> {
        self.0.take().map(|items| *items).unwrap_or_default()
    }
}

impl<T> Default for Few<T> {
    fn default() -> Few<T> {
        Few::new()
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(items: Vec<T>) -> Few<T> {
        Few((!items.is_empty()).then(|| Box::new(items)))
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Some(items) => items,
            None => &[],
        }
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            Some(items) => items,
            None => &mut [],
        }
    }
}

impl<'a, T> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_one_takes_but_a_pointer() {
        assert_eq!(size_of::<Few<u64>>(), size_of::<usize>());
        let mut few = Few::new();
        few.push(1);
        few.push(2);
        few.retain(|item| *item != 1);
        assert_eq!(few[..], [2]);
        few.retain(|item| *item != 2);
        assert!(few.0.is_none());
        assert_eq!(Few::from(vec![3]).take(), [3]);
    }
}
