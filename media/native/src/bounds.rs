//! Bounds on what peers and strangers may make us do, and what is measured for them: how long a datagram may be,
//! how often a key may come, bit rates over a window, and what a publisher without transport-wide feedback may send.

use std::collections::HashMap;
use std::hash::Hash;

/// Bytes of a datagram or a frame; longer ones are dropped. WebRTC peers stay below 1,500.
pub const MAX_DATAGRAM: usize = 2_048;
/// Seconds over which rates are measured.
pub const WINDOW: f64 = 1.0;

/// At most `limit` a second for each key, for at most `entries` keys a second; the rest is refused.
#[derive(Debug)]
pub struct RateTable<K> {
    limit: u32,
    entries: usize,
    since: f64,
    counts: HashMap<K, u32>, // strangers choose the keys: a hash that they cannot foresee
}

impl<K: Hash + Eq> RateTable<K> {
    /// An empty table.
    pub fn new(limit: u32, entries: usize) -> Self {
        Self { limit, entries, since: f64::NEG_INFINITY, counts: HashMap::new() }
    }

    /// Whether one more is within the limit; counts it when it is.
    pub fn allow(&mut self, key: K, now: f64) -> bool {
        if now - self.since >= 1.0 {
            self.since = now;
            self.counts.clear();
        }
        if let Some(count) = self.counts.get_mut(&key) {
            let allowed = *count < self.limit;
            *count += u32::from(allowed);
            return allowed;
        }
        if self.limit == 0 || self.counts.len() >= self.entries {
            return false;
        }
        self.counts.insert(key, 1);
        true
    }
}

/// Bit/s over the last window, from a running byte count.
#[derive(Debug)]
pub struct Rate {
    /// Bit/s, 0 until the first window is over.
    pub bits: i64,
    bytes: u64,
    since: f64, // negative before the first total
}

impl Rate {
    /// Nothing measured yet.
    pub const fn new() -> Self {
        Self { bits: 0, bytes: 0, since: -1.0 }
    }

    /// Tell the total so far, in bytes; call it at least once a window.
    pub fn update(&mut self, total: u64, now: f64) {
        if self.since < 0.0 {
            (self.since, self.bytes) = (now, total);
        } else if now - self.since >= WINDOW {
            let bits = 8.0 * total.wrapping_sub(self.bytes) as i64 as f64;
            self.bits = rounded(bits / (now - self.since));
            (self.since, self.bytes) = (now, total);
        }
    }
}

impl Default for Rate {
    fn default() -> Self {
        Self::new()
    }
}

/// What a publisher without transport-wide feedback may send: the classic loss rule over what it sends now.
///
/// Below 2 % loss it may grow by 8 % over what arrives, above 10 % it must shrink by half the loss.
#[derive(Debug)]
pub struct AllowedRate {
    ceiling: i64,
    rate: i64,
}

impl AllowedRate {
    const MIN: i64 = 100_000; // bit/s

    /// `ceiling` in bit/s.
    pub fn new(ceiling: i64) -> Self {
        Self { ceiling, rate: ceiling.min(300_000) }
    }

    /// Tell rate in bit/s and loss (0 to 1) of the last second; the new allowance in bit/s.
    pub fn update(&mut self, received: i64, fraction_lost: f64) -> i64 {
        if fraction_lost > 0.1 {
            self.rate = rounded(received.max(Self::MIN) as f64 * (1.0 - 0.5 * fraction_lost));
        } else if fraction_lost < 0.02 {
            self.rate = self.rate.max(rounded(1.5 * received as f64));
            self.rate = self.rate.saturating_add(rounded(0.08 * self.rate as f64));
        }
        self.rate = self.rate.max(Self::MIN).min(self.ceiling);
        self.rate
    }
}

fn rounded(value: f64) -> i64 {
    value.round_ties_even() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_table_is_bounded_both_ways() {
        let mut table = RateTable::new(3, 2);
        let answers: Vec<bool> = (0..5).map(|_| table.allow("a", 10.0)).collect();
        assert_eq!(answers, [true, true, true, false, false]);
        assert!(table.allow("b", 10.5));
        assert!(!table.allow("c", 10.5));
        assert!(table.allow("c", 11.0));
        assert!(table.allow("a", 11.0));
        assert!(!RateTable::new(0, 2).allow("a", 0.0));
        assert!(!RateTable::new(2, 0).allow("a", 0.0));
    }

    #[test]
    fn a_rate_is_measured_over_whole_windows() {
        let mut rate = Rate::new();
        rate.update(1_000, 5.0);
        rate.update(51_000, 5.5);
        assert_eq!(rate.bits, 0);
        rate.update(126_000, 6.25);
        assert_eq!(rate.bits, 800_000);
        rate.update(126_000, 7.25);
        assert_eq!(rate.bits, 0);
    }

    #[test]
    fn an_allowance_grows_without_loss_shrinks_with_much_and_keeps_its_bounds() {
        let mut allowed = AllowedRate::new(2_000_000);
        assert_eq!(allowed.update(200_000, 0.0), 324_000);
        assert_eq!(allowed.update(1_000_000, 0.01), 1_620_000);
        assert_eq!(allowed.update(1_000_000, 0.05), 1_620_000);
        assert_eq!(allowed.update(1_000_000, 0.2), 900_000);
        assert_eq!(allowed.update(5_000_000, 0.0), 2_000_000);
        assert_eq!(allowed.update(0, 1.0), 100_000);
        assert_eq!(AllowedRate::new(50_000).update(1_000_000, 0.0), 50_000);
    }
}
