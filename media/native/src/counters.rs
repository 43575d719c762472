//! Counts of what went wrong or was refused, by name.

use rustc_hash::FxHashMap;

/// Counters by name; a name that was never counted is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(FxHashMap<&'static str, u64>);

impl Counters {
    /// One more.
    pub fn add(&mut self, name: &'static str) {
        self.add_many(name, 1);
    }

    /// `count` more.
    pub fn add_many(&mut self, name: &'static str, count: u64) {
        let counter = self.0.entry(name).or_default();
        *counter = counter.wrapping_add(count);
    }

    /// The count of a name.
    #[cfg(test)]
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Every name that was counted with its count, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().map(|(name, count)| (*name, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::Counters;

    #[test]
    fn names_are_counted_apart() {
        let mut counters = Counters::default();
        assert_eq!(counters.iter().count(), 0);
        counters.add("a");
        counters.add_many("b", 5);
        counters.add("a");
        assert_eq!((counters.get("a"), counters.get("b"), counters.get("c")), (2, 5, 0));
        let mut all: Vec<_> = counters.iter().collect();
        all.sort_unstable();
        assert_eq!(all, [("a", 2), ("b", 5)]);
    }
}
