//! Which packets of an incoming stream are missing, and when to ask for them (receiver side of RFC 4585 NACK).
//!
//! A gap is left alone for a moment, since most are reordering; then the packet is asked for, and again every round
//! trip, until it comes, is too old, or has been asked for often enough. Giving up: the caller asks for a key frame.

use std::collections::VecDeque;

use crate::sequence::Unwrapper16;

const REORDER_WAIT: f64 = 0.010; // s until a gap is a loss
const MIN_INTERVAL: f64 = 0.020; // s between requests for the same packet, at least
const MAX_TRIES: u32 = 10;
const MAX_AGE: f64 = 1.0; // s after which a packet is of no use
const MAX_PACKETS: i64 = 500; // waited for at most, and how far back
const RESTART_STRAYS: u32 = 16; // packets far back, in a row, that mean that the numbers began anew

/// What to do now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// Ask for these 16-bit sequence numbers; at most 500, in rising order.
    pub lost: Vec<u16>,
    /// Ask for a key frame.
    pub give_up: bool,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    number: i64,
    since: f64,
    due: f64,
    tries: u32,
}

/// Losses of one stream (one SSRC; RTX unwrapped before). Times in monotonic seconds.
///
/// Call `received` for every packet in the order of arrival and `poll` at `next_deadline` or on any regular tick.
/// At most 500 packets are waited for.
#[derive(Clone, Debug)]
pub struct LossTracker {
    unwrapper: Unwrapper16,
    missing: VecDeque<Missing>, // by rising number, as gaps open
    deadline: f64,
    give_up: bool,
    strays: u32,
}

impl Default for LossTracker {
    fn default() -> Self {
        Self::new()
    }
}

impl LossTracker {
    /// A tracker that has seen nothing.
    pub fn new() -> Self {
        Self {
            unwrapper: Unwrapper16::new(),
            missing: VecDeque::new(),
            deadline: f64::INFINITY,
            give_up: false,
            strays: 0,
        }
    }

    /// A packet with this 16-bit sequence number arrived, by itself or out of an RTX packet.
    pub fn received(&mut self, sequence: u16, now: f64) {
        let highest = self.unwrapper.highest();
        let extended = self.unwrapper.unwrap(sequence);
        let Some(highest) = highest else {
            self.strays = 0;
            return;
        };
        if extended > highest {
            self.strays = 0;
            self.forget_older_than(extended - MAX_PACKETS);
            if extended > highest + 1 {
                self.open_gap(highest + 1, extended, now);
            }
        } else if let Ok(place) = self.missing.binary_search_by_key(&extended, |missing| missing.number) {
            self.missing.remove(place);
        } else if extended < highest - MAX_PACKETS {
            // A sender that begins its numbers anew looks like one that is endlessly late.
            self.strays += 1;
            if self.strays >= RESTART_STRAYS {
                self.restart(sequence);
            }
        }
    }

    /// What is due. `rtt`: seconds of a round trip to the sender, 0 when unknown.
    #[inline]
    pub fn poll(&mut self, now: f64, rtt: f64) -> Repair {
        if now < self.deadline && !self.give_up {
            return Repair::default();
        }
        self.poll_due(now, rtt)
    }

    fn poll_due(&mut self, now: f64, rtt: f64) -> Repair {
        let mut lost = Vec::new();
        let mut deadline = f64::INFINITY;
        let wait = rtt.max(MIN_INTERVAL);
        let before = self.missing.len();
        self.missing.retain_mut(|missing| {
            let end = missing.since + MAX_AGE;
            let due = now >= missing.due;
            if now >= end || (due && missing.tries >= MAX_TRIES) {
                return false;
            }
            if due {
                missing.tries += 1;
                missing.due = now + wait;
                lost.push(missing.number as u16);
            }
            deadline = deadline.min(missing.due).min(end);
            true
        });
        self.deadline = deadline;
        self.abandon(before - self.missing.len());
        Repair { lost, give_up: std::mem::take(&mut self.give_up) }
    }

    /// A key frame starts at this sequence number: what is missing before it is no longer needed.
    pub fn key_frame(&mut self, sequence: u16) {
        self.drop_before(self.unwrapper.peek(sequence));
        self.give_up = false;
    }

    /// When `poll` has something to say; None when nothing is missing.
    #[inline]
    pub fn next_deadline(&self) -> Option<f64> {
        if self.give_up {
            return Some(0.0);
        }
        (!self.missing.is_empty()).then_some(self.deadline)
    }

    fn open_gap(&mut self, mut first: i64, end: i64, now: f64) {
        let limit = end - MAX_PACKETS;
        if first < limit {
            self.abandon((limit - first) as usize);
            first = limit;
        }
        let due = now + REORDER_WAIT;
        self.missing.extend((first..end).map(|number| Missing { number, since: now, due, tries: 0 }));
        self.deadline = self.deadline.min(due);
    }

    #[inline]
    fn forget_older_than(&mut self, limit: i64) {
        if self.missing.front().is_some_and(|oldest| oldest.number < limit) {
            let count = self.drop_before(limit);
            self.abandon(count);
        }
    }

    /// Wait no longer for what is below `limit`; how many that were.
    fn drop_before(&mut self, limit: i64) -> usize {
        let count = self.missing.partition_point(|missing| missing.number < limit);
        self.missing.drain(..count);
        count
    }

    fn abandon(&mut self, count: usize) {
        self.give_up |= count > 0;
    }

    fn restart(&mut self, sequence: u16) {
        self.strays = 0;
        self.missing.clear();
        self.deadline = f64::INFINITY;
        self.unwrapper.reset();
        self.unwrapper.unwrap(sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(numbers: &[u16]) -> Repair {
        Repair { lost: numbers.to_vec(), give_up: false }
    }

    fn give_up() -> Repair {
        Repair { lost: Vec::new(), give_up: true }
    }

    fn tracker(packets: &[(u16, f64)]) -> LossTracker {
        let mut tracker = LossTracker::new();
        for &(sequence, now) in packets {
            tracker.received(sequence, now);
        }
        tracker
    }

    #[test]
    fn a_gap_is_asked_for_after_ten_milliseconds_and_again_every_round_trip() {
        let mut tracker = tracker(&[(65533, 0.0), (1, 0.1)]);
        assert!((tracker.next_deadline().unwrap() - 0.110).abs() < 1e-9);
        assert_eq!(tracker.poll(0.105, 0.05), Repair::default());
        assert_eq!(tracker.poll(0.110, 0.05), lost(&[65534, 65535, 0]));
        assert_eq!(tracker.poll(0.150, 0.05), Repair::default());
        assert_eq!(tracker.poll(0.160, 0.05), lost(&[65534, 65535, 0]));
        tracker.received(65535, 0.165);
        assert_eq!(tracker.poll(0.211, 0.05), lost(&[65534, 0]));
    }

    #[test]
    fn repeats_are_never_faster_than_twenty_milliseconds() {
        let mut tracker = tracker(&[(1, 0.0), (3, 0.0)]);
        assert_eq!(tracker.poll(0.010, 0.001), lost(&[2]));
        assert_eq!(tracker.poll(0.029, 0.001), Repair::default());
        assert_eq!(tracker.poll(0.030, 0.001), lost(&[2]));
    }

    #[test]
    fn reordering_is_not_asked_for() {
        let mut tracker = tracker(&[(10, 0.0), (12, 0.001), (11, 0.005)]);
        assert_eq!(tracker.next_deadline(), None);
        assert_eq!(tracker.poll(1.0, 0.1), Repair::default());
    }

    #[test]
    fn giving_up_after_ten_requests_asks_for_one_key_frame() {
        let mut tracker = tracker(&[(1, 0.0), (3, 0.0)]);
        let (mut now, mut asked) = (0.0, 0);
        loop {
            let repair = tracker.poll(now, 0.02);
            if repair.give_up {
                break;
            }
            asked += repair.lost.len();
            now += 0.005;
            assert!(now < 0.5);
        }
        assert_eq!(asked, 10);
        assert_eq!(tracker.poll(now + 1.0, 0.02), Repair::default());
    }

    #[test]
    fn giving_up_after_a_second_on_a_slow_link() {
        let mut tracker = tracker(&[(1, 0.0), (3, 0.0)]);
        assert_eq!(tracker.poll(0.01, 0.6), lost(&[2]));
        assert_eq!(tracker.poll(0.61, 0.6), lost(&[2]));
        assert_eq!(tracker.next_deadline(), Some(1.0));
        assert_eq!(tracker.poll(0.999, 0.6), Repair::default());
        assert_eq!(tracker.poll(1.0, 0.6), give_up());
    }

    #[test]
    fn losses_more_than_five_hundred_packets_back_are_forgotten() {
        let mut tracker = tracker(&[(0, 0.0)]);
        for sequence in 2..502 {
            tracker.received(sequence, 0.0);
        }
        assert_eq!(tracker.missing.len(), 1);
        tracker.received(502, 0.0);
        assert_eq!(tracker.missing.len(), 0);
        assert_eq!(tracker.next_deadline(), Some(0.0));
        assert_eq!(tracker.poll(0.0, 0.1), give_up());
    }

    #[test]
    fn a_wide_gap_gives_up_at_once_and_keeps_the_newest_five_hundred() {
        let mut tracker = tracker(&[(0, 0.0), (1_000, 0.0)]);
        assert_eq!(tracker.missing.len(), 500);
        assert_eq!(tracker.poll(0.0, 0.1), give_up());
        assert_eq!(tracker.poll(0.01, 0.1).lost, (500..1_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_key_frame_makes_earlier_losses_pointless() {
        let mut tracker = tracker(&[(1, 0.0), (5, 0.0), (8, 0.0)]);
        tracker.key_frame(5);
        assert_eq!(tracker.poll(0.01, 0.1), lost(&[6, 7]));
    }

    #[test]
    fn duplicates_and_late_packets_change_nothing() {
        let mut tracker = tracker(&[(5, 0.0), (6, 0.0), (6, 0.0), (5, 0.0), (4, 0.0)]);
        assert_eq!(tracker.poll(1.0, 0.1), Repair::default());
        assert_eq!(tracker.missing.len(), 0);
    }

    #[test]
    fn a_sender_that_numbers_anew_is_followed() {
        let mut tracker = tracker(&[(30_000, 0.0)]);
        for sequence in 100..116 {
            tracker.received(sequence, 0.1);
        }
        tracker.received(117, 0.2);
        assert_eq!(tracker.poll(0.3, 0.1), lost(&[116]));
    }

    #[test]
    fn hostile_sequences_keep_it_bounded() {
        let mut next = crate::chance::numbers();
        let mut tracker = LossTracker::new();
        let mut now = 0.0;
        for _ in 0..50_000 {
            let seed = next();
            now += (seed >> 40 & 0xFF) as f64 / 1_280.0;
            let near = seed & 7 != 0;
            tracker.received(if near { (seed >> 8) as u16 & 1023 } else { (seed >> 8) as u16 }, now);
            if seed >> 60 == 0 {
                tracker.key_frame((seed >> 16) as u16);
            }
            assert!(tracker.poll(now, 0.05).lost.len() <= 500);
            assert!(tracker.missing.len() <= 500);
            assert!(tracker.missing.iter().is_sorted_by_key(|missing| missing.number));
        }
    }
}
