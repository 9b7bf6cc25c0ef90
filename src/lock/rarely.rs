//! What is as it always is almost everywhere, and takes but a pointer there.

use std::ops::Deref;

/// What can be kept like this.
pub trait Usual: Default + PartialEq + 'static {
    /// As it is almost everywhere.
    fn usual() -> &'static Self;
}

/// It: no allocation where it is as usual.
#[derive(Clone, Debug)]
pub struct Rarely<T>(Option<Box<T>>);

impl<T: Usual> Rarely<T> {
    /// What is to be changed; what is as usual after that is not kept.
    pub fn change<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        match &mut self.0 {
            Some(kept) => {
                let answer = change(kept);
                if **kept == *T::usual() {
                    self.0 = None;
                }
                answer
            }
            None => {
                let mut new = T::default();
                let answer = change(&mut new);
                *self = new.into();
                answer
            }
        }
    }
}

impl<T: Usual> From<T> for Rarely<T> {
    fn from(kept: T) -> Rarely<T> {
        Rarely((kept != *T::usual()).then(|| Box::new(kept)))
    }
}

impl<T> Default for Rarely<T> {
    fn default() -> Rarely<T> {
        Rarely(None)
    }
}

impl<T: Usual> Deref for Rarely<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.0 {
            Some(kept) => kept,
            None => T::usual(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Number(u64);

    impl Usual for Number {
        fn usual() -> &'static Number {
            &Number(0)
        }
    }

    #[test]
    fn what_is_as_usual_is_not_kept() {
        let mut number = Rarely::<Number>::default();
        number.change(|number| number.0 = 0);
        assert!(number.0.is_none());
        number.change(|number| number.0 = 3);
        assert_eq!(number.0.as_deref(), Some(&Number(3)));
        assert_eq!(*number, Number(3));
        number.change(|number| number.0 = 0);
        assert!(number.0.is_none());
        assert_eq!(*number, Number(0));
    }
}
