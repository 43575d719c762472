//! The packets a sender may be asked for again: bounded in number and in age.

use std::collections::VecDeque;

#[derive(Debug)]
struct Entry<T> {
    number: i64,
    time: f64,
    older: u64, // serial of the entry before it in the same bucket; below `first` = gone
    packet: T,
}

/// Packets of one stream by extended number, which may be negative and come in any order.
///
/// Holds at most `max_packets`, none older than `max_age` seconds once newer ones arrive; the one added first goes
/// first. Times are monotonic seconds.
#[derive(Debug)]
pub struct History<T> {
    max_packets: usize,
    max_age: f64,
    // In the order of arrival. Entries are counted from 1; `newest` has the last one added to each bucket, the bucket
    // of a number being its low bits. Chains lead from newer to older entries only, so what falls off the front needs
    // no unlinking: a serial below `first` ends a chain. As numbers rise nearly one by one, chains are short.
    entries: VecDeque<Entry<T>>,
    first: u64,
    newest: Box<[u64]>,
    highest: i64,
}

impl<T> History<T> {
    /// An empty history of at most `max_packets` packets and `max_age` seconds.
    pub fn new(max_packets: usize, max_age: f64) -> Self {
        Self {
            max_packets,
            max_age,
            entries: VecDeque::new(),
            first: 1,
            newest: vec![0; max_packets.next_power_of_two()].into_boxed_slice(),
            highest: i64::MIN,
        }
    }

    /// Keep a packet. A number that is already held keeps its first packet.
    pub fn add(&mut self, number: i64, packet: T, now: f64) {
        let horizon = now - self.max_age;
        while self.entries.front().is_some_and(|oldest| oldest.time < horizon) {
            self.drop_first();
        }
        if number > self.highest {
            self.highest = number; // never seen, no need to look for it
        } else if self.find(number).is_some() {
            return;
        }
        let serial = self.first + self.entries.len() as u64;
        let bucket = self.bucket(number);
        let older = std::mem::replace(&mut self.newest[bucket], serial);
        self.entries.push_back(Entry { number, time: now, older, packet });
        if self.entries.len() > self.max_packets {
            self.drop_first();
        }
    }

    /// The packet with this extended number, or None when it is not held or too old.
    pub fn get(&self, number: i64, now: f64) -> Option<&T> {
        let entry = self.find(number)?;
        (entry.time >= now - self.max_age).then_some(&entry.packet)
    }

    fn find(&self, number: i64) -> Option<&Entry<T>> {
        let mut serial = self.newest[self.bucket(number)];
        while let Some(place) = serial.checked_sub(self.first) {
            let entry = self.entries.get(place as usize)?;
            if entry.number == number {
                return Some(entry);
            }
            serial = entry.older;
        }
        None
    }

    #[inline]
    fn bucket(&self, number: i64) -> usize {
        number as usize & (self.newest.len() - 1) // the length is a power of two
    }

    #[inline]
    fn drop_first(&mut self) {
        self.entries.pop_front();
        self.first += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn held_by_extended_number() {
        let mut history = History::new(1_000, 1.0);
        for number in 65_530..65_550 {
            history.add(number, number.to_string(), 0.0);
        }
        assert_eq!(history.get(65_540, 0.5).map(String::as_str), Some("65540"));
        assert_eq!(history.get(4, 0.5), None);
        assert_eq!(history.get(65_540 - 1_024, 0.5), None);
    }

    #[test]
    fn at_most_a_thousand_packets() {
        let mut history = History::new(1_000, 1.0);
        for number in 0..1_500 {
            history.add(number, number, 0.0);
        }
        assert_eq!(history.entries.len(), 1_000);
        assert_eq!(history.get(499, 0.0), None);
        assert_eq!(history.get(500, 0.0), Some(&500));
    }

    #[test]
    fn numbers_with_gaps_do_not_push_each_other_out() {
        let mut history = History::new(1_000, 1.0);
        for number in 0..1_000 {
            history.add(number * 1_024 - 500_000, number, 0.0);
        }
        assert_eq!(history.entries.len(), 1_000);
        assert!((0..1_000).all(|number| history.get(number * 1_024 - 500_000, 0.0) == Some(&number)));
    }

    #[test]
    fn at_most_a_second() {
        let mut history = History::new(1_000, 1.0);
        history.add(1, 1, 10.0);
        history.add(2, 2, 10.6);
        assert_eq!(history.get(1, 11.0), Some(&1));
        assert_eq!(history.get(1, 11.01), None); // too old even before anything pushes it out
        history.add(3, 3, 11.1);
        assert_eq!(history.entries.len(), 2);
        assert_eq!(history.get(2, 11.1), Some(&2));
    }

    #[test]
    fn what_is_too_old_is_freed() {
        let mut history = History::new(1_000, 1.0);
        let packet = Rc::new(());
        for number in -50..50 {
            history.add(number, packet.clone(), 0.0);
        }
        assert_eq!(Rc::strong_count(&packet), 101);
        history.add(50, packet.clone(), 2.0);
        assert_eq!(Rc::strong_count(&packet), 2);
    }

    #[test]
    fn the_first_packet_of_a_number_stays() {
        let mut history = History::new(1_000, 1.0);
        history.add(-1, "first", 0.0);
        history.add(-1, "second", 0.0);
        assert_eq!(history.get(-1, 0.0), Some(&"first"));
        assert_eq!(history.entries.len(), 1);
    }

    #[test]
    fn any_order_gives_what_a_plain_list_would() {
        let mut next = crate::chance::numbers();
        for limit in [0, 1, 2, 7, 8, 20, 100] {
            let mut history = History::new(limit, 1.0);
            let mut list: Vec<(i64, f64, u64)> = Vec::new();
            let mut now = 0.0;
            for step in 0..8_000 {
                let seed = next();
                now += (seed >> 32 & 0xFF) as f64 / 5_000.0;
                let number = (seed % 201) as i64 - 100 + step as i64 / 40;
                history.add(number, step, now);
                list.retain(|held| held.1 >= now - 1.0);
                if list.iter().all(|held| held.0 != number) {
                    list.push((number, now, step));
                }
                if list.len() > limit {
                    list.remove(0);
                }
                assert_eq!(history.entries.len(), list.len());
                let asked = number + (seed >> 50) as i64 % 64 - 32;
                let at = now + (seed >> 24 & 0xFF) as f64 / 500.0;
                let found = list.iter().find(|held| held.0 == asked && held.1 >= at - 1.0);
                assert_eq!(history.get(asked, at), found.map(|held| &held.2));
            }
        }
    }
}
