//! A talk spurt of a voice source: what is held of it while it goes nowhere, and whether it goes on.
//!
//! A microphone sends from the moment its key is down; where to, the floor decides later. Until then the packets are
//! held; a route takes them all, in order. No route at all means that the floor was refused or given back.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::packet::MediaPacket;
use crate::sequence::difference32;

/// Seconds a packet is held at most.
pub const MAX_HOLD: f64 = 1.5;
/// Packets held at most; beyond it the oldest is lost and counted as clipped.
pub const MAX_HELD: usize = 200;
/// Seconds without a packet until a spurt is over.
pub const QUIET_AFTER: f64 = 0.15;
/// Seconds without a packet after which what was held before belongs to an older press.
pub const PAUSE: f64 = 0.5;
/// `clipped` of a spurt that has had no route.
pub const NEVER_ROUTED: f64 = -1.0;

/// The spurts of one source, one after the other. Times are monotonic seconds.
#[derive(Debug)]
pub struct Spurt {
    hold: f64,
    clock_rate: u32,
    held: VecDeque<Rc<MediaPacket>>,
    began: u32, // RTP timestamp of the spurt's first packet
    last: f64,
    /// Whether a spurt goes on.
    pub active: bool,
    /// Seconds at the beginning of the present spurt that no route got, NEVER_ROUTED while it has had none.
    pub clipped: f64,
}

impl Spurt {
    /// No spurt yet; `hold`: seconds a packet waits for a route, at most MAX_HOLD.
    pub fn new(hold: f64) -> Self {
        Self {
            hold: hold.min(MAX_HOLD),
            clock_rate: 48_000,
            held: VecDeque::new(),
            began: 0,
            last: f64::NEG_INFINITY,
            active: false,
            clipped: NEVER_ROUTED,
        }
    }

    /// A new packet of the source; whether a spurt begins with it.
    pub fn received(&mut self, packet: Rc<MediaPacket>, clock_rate: u32, routed: bool) -> bool {
        let begins = !self.active;
        if begins {
            self.active = true;
            self.clipped = if routed { 0.0 } else { NEVER_ROUTED };
        }
        let pause = packet.arrival - self.last;
        self.clock_rate = clock_rate;
        self.last = packet.arrival;
        if !routed {
            if pause > PAUSE {
                self.held.clear();
            }
            if self.held.is_empty() && self.clipped == NEVER_ROUTED {
                self.began = packet.timestamp;
            }
            if self.held.len() == MAX_HELD {
                self.held.pop_front();
            }
            self.held.push_back(packet);
        }
        begins
    }

    /// The source got a route: what leaves first. What is older than `hold` is too late.
    pub fn routed(&mut self, now: f64) -> Vec<Rc<MediaPacket>> {
        let horizon = now - self.hold;
        let held: Vec<_> = self.held.drain(..).filter(|packet| packet.arrival >= horizon).collect();
        if self.active && self.clipped == NEVER_ROUTED {
            let lost = held.first().map_or(0, |first| difference32(first.timestamp, self.began).max(0));
            self.clipped = f64::from(lost) / f64::from(self.clock_rate);
        }
        held
    }

    /// The source has no route any more, or shall have none.
    pub fn discard(&mut self) {
        self.held.clear();
    }

    /// Whether a spurt has just ended; then it is over. Ask every 50 ms or so while `active`.
    pub fn quiet(&mut self, now: f64) -> bool {
        if !self.active || now - self.last < QUIET_AFTER {
            return false;
        }
        self.active = false;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Codec;
    use crate::vp8::Picture;

    fn packet(number: i64, arrival: f64) -> Rc<MediaPacket> {
        Rc::new(MediaPacket {
            number,
            timestamp: (960 * number) as u32,
            marker: false,
            codec: Codec::Opus,
            payload: Rc::from([number as u8]),
            arrival,
            picture: Picture::NONE,
            level: -1,
            orientation: -1,
            before: None,
        })
    }

    /// 20 ms packets; the time of the last one.
    fn speak(spurt: &mut Spurt, first: i64, last: i64, start: f64, routed: bool) -> f64 {
        for number in first..=last {
            spurt.received(packet(number, start + 0.02 * (number - first) as f64), 48_000, routed);
        }
        start + 0.02 * (last - first) as f64
    }

    fn numbers(packets: &[Rc<MediaPacket>]) -> Vec<i64> {
        packets.iter().map(|packet| packet.number).collect()
    }

    #[test]
    fn everything_since_the_key_went_down_leaves_first() {
        let mut spurt = Spurt::new(1.5);
        let end = speak(&mut spurt, 0, 20, 100.0, false);
        assert_eq!(numbers(&spurt.routed(end + 0.01)), (0..21).collect::<Vec<_>>());
        assert_eq!(spurt.clipped, 0.0);
    }

    #[test]
    fn what_is_older_than_the_hold_is_clipped_and_counted() {
        let mut spurt = Spurt::new(5.0);
        let end = speak(&mut spurt, 0, 99, 100.0, false); // 2 s
        assert_eq!(numbers(&spurt.routed(end)), (24..100).collect::<Vec<_>>());
        assert!((0.46..=0.52).contains(&spurt.clipped));
    }

    #[test]
    fn more_than_can_be_held_is_clipped_and_counted() {
        let mut spurt = Spurt::new(1.5);
        for number in 0..250 {
            spurt.received(packet(number, 100.0), 48_000, false);
        }
        assert_eq!(numbers(&spurt.routed(100.0)), (50..250).collect::<Vec<_>>());
        assert_eq!(spurt.clipped, 1.0);
    }

    #[test]
    fn a_refused_press_is_not_heard_with_the_next_one() {
        let mut spurt = Spurt::new(1.5);
        let end = speak(&mut spurt, 0, 5, 100.0, false);
        spurt.discard();
        assert!(spurt.quiet(end + 0.2));
        let end = speak(&mut spurt, 6, 8, end + 0.3, false);
        assert_eq!(numbers(&spurt.routed(end)), [6, 7, 8]);
        assert_eq!(spurt.clipped, 0.0);
    }

    #[test]
    fn a_pause_makes_what_was_held_an_older_press() {
        let mut spurt = Spurt::new(1.5);
        let end = speak(&mut spurt, 0, 5, 100.0, false);
        let end = speak(&mut spurt, 6, 8, end + 0.6, false);
        assert_eq!(numbers(&spurt.routed(end)), [6, 7, 8]);
    }

    #[test]
    fn a_spurt_ends_after_150_ms_of_silence_once() {
        let mut spurt = Spurt::new(1.5);
        assert!(spurt.received(packet(0, 100.0), 48_000, true));
        assert!(!spurt.received(packet(1, 100.0), 48_000, true));
        assert!(!spurt.quiet(100.14));
        assert!(spurt.quiet(100.16));
        assert!(!spurt.quiet(100.3));
        assert_eq!(spurt.clipped, 0.0);
    }

    #[test]
    fn a_spurt_that_nobody_was_to_hear_says_so() {
        let mut spurt = Spurt::new(1.5);
        let end = speak(&mut spurt, 0, 5, 100.0, false);
        assert!(spurt.quiet(end + 1.0));
        assert_eq!(spurt.clipped, NEVER_ROUTED);
    }

    #[test]
    fn nothing_leaves_twice_out_of_order_or_too_late() {
        let mut next = crate::chance::numbers();
        let mut spurt = Spurt::new(1.5);
        let (mut now, mut number, mut routed) = (100.0, 0, false);
        let mut left = Vec::new();
        for _ in 0..50_000 {
            let seed = next();
            now += (seed >> 40 & 0xFF) as f64 / 400.0;
            match seed % 4 {
                0 => {
                    spurt.received(packet(number, now), 48_000, routed);
                    number += 1;
                }
                1 => {
                    routed = true;
                    let held = spurt.routed(now);
                    assert!(held.iter().all(|packet| now - packet.arrival <= 1.5 + 1e-9));
                    left.extend(numbers(&held));
                }
                2 => {
                    routed = false;
                    spurt.discard();
                }
                _ => {
                    spurt.quiet(now);
                }
            }
            assert!(spurt.clipped == NEVER_ROUTED || spurt.clipped >= 0.0);
        }
        assert!(!left.is_empty() && left.is_sorted_by(|earlier, later| earlier < later));
    }
}
