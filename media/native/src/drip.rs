//! Held packets on their way out a little faster than they were spoken, so that listeners catch up without a jump.
//!
//! Once a press of the button is granted they leave at 1.25 times the pace, in order, with their own timestamps; new
//! packets queue behind them until the replay has caught up with the present.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::packet::MediaPacket;
use crate::sequence::difference32;

/// How much faster than spoken.
pub const PACE: f64 = 1.25;
/// Seconds that a pause in the timestamps may hold up what follows.
pub const MAX_GAP: f64 = 0.2;
/// Packets waiting at most; beyond it the oldest is lost.
pub const MAX_WAITING: usize = 400;

/// The replay of one layer. Times are monotonic seconds.
#[derive(Debug)]
pub struct Drip {
    clock_rate: f64,
    waiting: VecDeque<Rc<MediaPacket>>,
    due: f64,          // of the next packet
    last: Option<u32>, // timestamp of the one before it
}

impl Drip {
    /// A replay of `held` that begins at `now`; `clock_rate`: RTP ticks per second.
    pub fn new(held: Vec<Rc<MediaPacket>>, clock_rate: u32, now: f64) -> Self {
        let mut drip =
            Self { clock_rate: f64::from(clock_rate), waiting: VecDeque::from(held), due: now, last: None };
        drip.limit();
        drip
    }

    /// New packets go behind the held ones.
    pub fn add(&mut self, packets: impl IntoIterator<Item = Rc<MediaPacket>>) {
        self.waiting.extend(packets);
        self.limit();
    }

    /// Packets whose time has come.
    pub fn take(&mut self, now: f64) -> Vec<Rc<MediaPacket>> {
        let mut count = 0;
        for packet in &self.waiting {
            let mut at = self.due;
            if let Some(last) = self.last {
                let gap = f64::from(difference32(packet.timestamp, last)) / self.clock_rate / PACE;
                at += gap.clamp(0.0, MAX_GAP);
            }
            if at > now {
                break;
            }
            self.due = at;
            self.last = Some(packet.timestamp);
            count += 1;
        }
        self.waiting.drain(..count).collect()
    }

    /// Whether the replay has caught up and packets may go straight out again.
    #[inline]
    pub fn done(&self) -> bool {
        self.waiting.is_empty()
    }

    fn limit(&mut self) {
        let excess = self.waiting.len().saturating_sub(MAX_WAITING);
        self.waiting.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Codec;
    use crate::vp8::Picture;

    fn voice(number: i64, timestamp: u32) -> Rc<MediaPacket> {
        Rc::new(MediaPacket {
            number,
            timestamp,
            marker: false,
            codec: Codec::Opus,
            payload: Rc::from(*b"o"),
            arrival: 0.0,
            picture: Picture::NONE,
            level: -1,
            orientation: -1,
            before: None,
        })
    }

    fn taken(drip: &mut Drip, now: f64) -> Vec<i64> {
        drip.take(now).iter().map(|packet| packet.number).collect()
    }

    #[test]
    fn pace_and_order() {
        let first = u32::MAX - 960;
        let held = (0..4).map(|number| voice(number, first.wrapping_add(960 * number as u32))).collect();
        let mut drip = Drip::new(held, 48_000, 10.0);
        assert_eq!(taken(&mut drip, 10.0), [0]);
        assert!(taken(&mut drip, 10.015).is_empty());
        assert_eq!(taken(&mut drip, 10.0161), [1]);
        drip.add([voice(4, 960 * 4 - 961)]);
        assert_eq!(taken(&mut drip, 10.0481), [2, 3]);
        assert!(!drip.done());
        assert_eq!(taken(&mut drip, 10.0641), [4]);
        assert!(drip.done());
    }

    #[test]
    fn a_pause_in_the_timestamps_holds_nothing_up_for_long() {
        let mut drip = Drip::new(vec![voice(0, 0), voice(1, 48_000 * 60)], 48_000, 0.0);
        assert_eq!(taken(&mut drip, 0.0), [0]);
        assert!(taken(&mut drip, 0.1999).is_empty());
        assert_eq!(taken(&mut drip, 0.2001), [1]);
    }

    #[test]
    fn timestamps_that_run_back_leave_at_once() {
        let mut drip = Drip::new(vec![voice(0, 5_000), voice(1, 4_000), voice(2, 4_000)], 48_000, 0.0);
        assert_eq!(taken(&mut drip, 0.0), [0, 1, 2]);
    }

    #[test]
    fn too_many_lose_the_oldest() {
        let mut drip = Drip::new((0..450).map(|number| voice(number, 0)).collect(), 48_000, 0.0);
        drip.add([voice(450, 0)]);
        assert_eq!(taken(&mut drip, 0.0), (51..451).collect::<Vec<_>>());
    }
}
