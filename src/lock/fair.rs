//! What is remembered for a while for many users: each has a share, and all of it has
//! a bound, so that nobody makes what is kept for another be forgotten.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

use super::ids::Uid;

/// Values by their keys, each of which is a user's.
#[derive(Debug)]
pub(crate) struct Fair<K, V> {
    values: HashMap<K, (Uid, u64, V)>,
    /// The keys of each user, the oldest first.
    shares: HashMap<Uid, BTreeMap<u64, K>>,
    /// How many each user has.
    sizes: BTreeSet<(usize, Uid)>,
    last: u64,
    /// How many a user has at most, and how many there are of all.
    each: usize,
    all: usize,
}

impl<K: Copy + Eq + Hash, V> Fair<K, V> {
    /// For at most `each` of a user and `all` together.
    pub fn new(each: usize, all: usize) -> Fair<K, V> {
        Fair {
            values: HashMap::new(),
            shares: HashMap::new(),
            sizes: BTreeSet::new(),
            last: 0,
            each,
            all,
        }
    }

    /// Keeps a value, as the newest of this user's. The key of what was forgotten
    /// for it: the oldest of the same user's, or, where there is no room, of the
    /// user's who has the most.
    pub fn insert(&mut self, uid: Uid, key: K, value: V) -> Option<K> {
        self.remove(&key);
        self.last += 1;
        let last = self.last;
        self.values.insert(key, (uid, last, value));
        self.share(uid, |share| {
            share.insert(last, key);
        });
        let own = self.shares.get(&uid).map_or(0, BTreeMap::len);
        let from = match self.sizes.last() {
            _ if own > self.each => uid,
            Some((_, most)) if self.values.len() > self.all => *most,
            _ => return None,
        };
        let oldest = *self.shares.get(&from)?.first_key_value()?.1;
        self.remove(&oldest);
        Some(oldest)
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key).map(|(_, _, value)| value)
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (uid, place, value) = self.values.remove(key)?;
        self.share(uid, |share| {
            share.remove(&place);
        });
        Some(value)
    }

    /// The keys, the oldest first.
    pub fn keys(&self) -> Vec<K> {
        let mut keys: Vec<(u64, K)> = self
            .values
            .iter()
            .map(|(key, (_, place, _))| (*place, *key))
            .collect();
        keys.sort_unstable_by_key(|(place, _)| *place);
        keys.into_iter().map(|(_, key)| key).collect()
    }

    fn share(&mut self, uid: Uid, change: impl FnOnce(&mut BTreeMap<u64, K>)) {
        let share = self.shares.entry(uid).or_default();
        self.sizes.remove(&(share.len(), uid));
        change(share);
        let size = share.len();
        if size == 0 {
            self.shares.remove(&uid);
        } else {
            self.sizes.insert((size, uid));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Uid = Uid(1);

    #[test]
    fn a_user_forgets_only_what_is_its_own() {
        let mut fair = Fair::new(3, 100);
        fair.insert(ALICE, 0, 'a');
        for key in 1..1000 {
            let forgotten = fair.insert(Uid(2), key, 'b');
            assert_eq!(forgotten, (key > 3).then(|| key - 3));
        }
        assert_eq!(fair.keys(), [0, 997, 998, 999]);
        assert_eq!(fair.remove(&0), Some('a'));
        assert_eq!(fair.get(&0), None);
        assert_eq!((fair.shares.len(), fair.sizes.len()), (1, 1));
    }

    #[test]
    fn where_there_is_no_room_it_is_who_has_the_most_who_forgets() {
        let mut fair = Fair::new(10, 12);
        fair.insert(ALICE, 0, ());
        for key in 1..=10 {
            assert_eq!(fair.insert(Uid(2), key, ()), None);
        }
        // Of many users with one each nobody forgets before that one.
        for (key, forgotten) in (11..20).zip([None, Some(1), Some(2), Some(3)]) {
            assert_eq!(fair.insert(Uid(key), key, ()), forgotten);
            if key == 14 {
                break;
            }
        }
        assert_eq!(fair.get(&0), Some(&()));
        assert_eq!(fair.keys().len(), 12);
    }

    #[test]
    fn a_key_that_comes_again_is_the_newest() {
        let mut fair = Fair::new(2, 100);
        fair.insert(ALICE, 1, 'a');
        fair.insert(ALICE, 2, 'b');
        assert_eq!(fair.insert(ALICE, 1, 'c'), None);
        assert_eq!(fair.insert(Uid(2), 3, 'd'), None);
        assert_eq!(fair.insert(ALICE, 4, 'e'), Some(2));
        assert_eq!((fair.get(&1), fair.get(&2)), (Some(&'c'), None));
    }
}
