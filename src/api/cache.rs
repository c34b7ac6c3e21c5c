//! A cache bounded by bytes: the value used least lately goes first.

use std::hash::Hash;

use lru::LruCache;
use parking_lot::Mutex;

/// Cache of values that cost more to make than to keep, by key. Values are cheap to clone: their bytes are shared.
#[derive(Debug)]
pub(super) struct Cache<K: Hash + Eq, V> {
    most_bytes: usize,
    entries: Mutex<Entries<K, V>>,
}

#[derive(Debug)]
struct Entries<K: Hash + Eq, V> {
    /// Values with the bytes that each is counted for.
    lru: LruCache<K, (V, usize)>,
    bytes: usize,
}

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    /// A cache of at most so many bytes, as they are counted by [`Cache::put`].
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { most_bytes, entries: Mutex::new(Entries { lru: LruCache::unbounded(), bytes: 0 }) }
    }

    /// The value of a key, if it is still here.
    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.entries.lock().lru.get(key).map(|(value, _)| value.clone())
    }

    /// Keeps a value that takes so many bytes, its key included. A value larger than the whole cache is not kept.
    pub(super) fn put(&self, key: K, value: V, bytes: usize) {
        if bytes > self.most_bytes {
            return;
        }
        let mut entries = self.entries.lock();
        let replaced = entries.lru.put(key, (value, bytes)).map_or(0, |(_, bytes)| bytes);
        entries.bytes = entries.bytes.saturating_sub(replaced).saturating_add(bytes);
        while entries.bytes > self.most_bytes
            && let Some((_, (_, freed))) = entries.lru.pop_lru()
        {
            entries.bytes = entries.bytes.saturating_sub(freed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn the_least_lately_used_value_goes_first() {
        let cache = Cache::new(10);
        cache.put("a", 1, 4);
        cache.put("b", 2, 4);
        assert_eq!(cache.get(&"a"), Some(1));
        cache.put("c", 3, 4);
        assert_eq!((cache.get(&"a"), cache.get(&"b"), cache.get(&"c")), (Some(1), None, Some(3)));
        cache.put("d", 4, 11);
        assert_eq!((cache.get(&"d"), cache.get(&"a")), (None, Some(1)));
    }

    proptest::proptest! {
        #[test]
        fn the_bound_holds(puts in proptest::collection::vec((0u8..20, 1usize..40), 0..100)) {
            let cache = Cache::new(64);
            let mut last = HashMap::new();
            for (number, (key, bytes)) in puts.into_iter().enumerate() {
                cache.put(key, number, bytes);
                last.insert(key, (number, bytes));
                let here: Vec<_> = (0..20).filter_map(|key| cache.get(&key).map(|value| (key, value))).collect();
                let sum: usize = here.iter().map(|(key, _)| last[key].1).sum();
                proptest::prop_assert!(sum <= 64);
                proptest::prop_assert_eq!(sum, cache.entries.lock().bytes);
                proptest::prop_assert!(here.iter().all(|(key, value)| last[key].0 == *value));
                proptest::prop_assert_eq!(cache.get(&key), Some(number), "the newest is here");
            }
        }
    }
}
