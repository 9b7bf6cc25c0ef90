//! A map that knows what of it may have changed: what is to outlive the daemon is
//! written whenever it has, and nobody has to think of it.

use std::collections::HashMap;
use std::hash::Hash;

/// The map.
#[derive(Debug)]
pub(super) struct Tracked<K, V> {
    /// Each by itself: the buckets that are empty, up to half of them, are small.
    map: HashMap<K, Box<V>>,
    /// What was handed out to be changed, put in or taken out; none while nobody
    /// wants to know.
    touched: Option<Vec<K>>,
}

impl<K: Copy + Eq + Hash + Ord, V> Tracked<K, V> {
    pub fn new() -> Tracked<K, V> {
        Tracked {
            map: HashMap::new(),
            touched: None,
        }
    }

    /// Notes from now on what is touched; what is there is.
    pub fn track(&mut self) {
        self.touched = Some(self.map.keys().copied().collect());
    }

    /// What was touched since this was asked last, each once, in order.
    pub fn take_touched(&mut self) -> Vec<K> {
        let mut touched = match &mut self.touched {
            Some(touched) => std::mem::take(touched),
            None => Vec::new(),
        };
        touched.sort_unstable();
        touched.dedup();
        touched
    }

    fn touch(&mut self, key: K) {
        if let Some(touched) = &mut self.touched
            && touched.last() != Some(&key)
        {
            touched.push(key);
        }
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key).map(Box::as_ref)
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.touch(*key);
        self.map.get_mut(key).map(Box::as_mut)
    }

    pub fn contains_key(&self, key: &K) -> bool {
        self.map.contains_key(key)
    }

    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.touch(key);
        self.map.insert(key, Box::new(value)).map(|value| *value)
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.touch(*key);
        self.map.remove(key).map(|value| *value)
    }

    pub fn len(&self) -> usize {
        self.map.len()
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.map.values().map(Box::as_ref)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.map.iter().map(|(key, value)| (key, value.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_touched_is_told_once() {
        let mut map = Tracked::new();
        map.insert(1, 'a');
        assert!(map.take_touched().is_empty(), "nobody wanted to know");
        map.track();
        map.insert(3, 'c');
        map.insert(2, 'b');
        assert_eq!(map.get_mut(&3), Some(&mut 'c'));
        assert_eq!(map.get(&2), Some(&'b'));
        assert_eq!(map.take_touched(), [1, 2, 3]);
        assert!(map.take_touched().is_empty());
        map.remove(&1);
        assert_eq!(map.get_mut(&1), None);
        assert_eq!(map.take_touched(), [1]);
    }
}
