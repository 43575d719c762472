//! How one sink's numbers follow from the numbers of the layers that feed it, one after the other.
//!
//! A `Stretch` is a run of outgoing packets with one fixed relation to one layer; a new one begins at every switch and
//! after every packet dropped on purpose. The log of the last ones answers the two questions that come late: which
//! source packet was this number (NACK), and which number does this source packet get (reordered arrival).

use std::collections::VecDeque;
use std::rc::Rc;

use crate::sequence::nearest16;

/// Stretches a log remembers.
pub const MAX_STRETCHES: usize = 64;
const MAX_CLOSED: usize = 256; // closed gaps a number line remembers
const MIN_STEP: i64 = 1; // ticks: time never stands still or runs back at a switch
const MAX_DISAGREEMENT: f64 = 1.0; // s between sender reports and arrival before arrival is believed instead

/// (source timestamp, outgoing timestamp) of replayed frames, by rising source timestamp.
pub type Squeezed = Rc<[(u32, u32)]>;

/// One relation: out = in + offset for sequence numbers (both extended) and timestamps.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// The identity of the layer.
    pub layer: u64,
    /// The layer's number of its first packet.
    pub first_number: i64,
    /// The extended outgoing number of its first packet.
    pub first_out: i64,
    /// `first_out` - `first_number`.
    pub offset: i64,
    /// Ticks, modulo 2^32.
    pub timestamp_offset: u32,
    /// To be added to VP8's PictureID, modulo 2^7 or 2^15.
    pub picture_delta: i64,
    /// To be added to VP8's TL0PICIDX, modulo 2^8.
    pub tl0_delta: i64,
    /// Timestamps of replayed frames, which go before the offset.
    pub squeezed: Option<Squeezed>,
}

impl Stretch {
    /// A stretch that sends the layer's `first_number` as `first_out`; pictures keep their numbers.
    pub fn new(layer: u64, first_number: i64, first_out: i64, timestamp_offset: u32) -> Self {
        Self {
            layer,
            first_number,
            first_out,
            offset: first_out - first_number,
            timestamp_offset,
            picture_delta: 0,
            tl0_delta: 0,
            squeezed: None,
        }
    }

    /// The outgoing timestamp of a source timestamp.
    #[inline]
    pub fn timestamp(&self, source_timestamp: u32) -> u32 {
        if let Some(squeezed) = &self.squeezed
            && let Ok(place) = squeezed.binary_search_by_key(&source_timestamp, |&(source, _)| source)
        {
            return squeezed[place].1;
        }
        source_timestamp.wrapping_add(self.timestamp_offset)
    }

    /// The relation that goes on behind packets dropped on purpose; pictures keep their numbers.
    pub fn after_drop(&self, first_number: i64, first_out: i64) -> Self {
        Self { first_number, first_out, offset: first_out - first_number, ..self.clone() }
    }
}

/// The last stretches of a sink, the newest being the current one; at most `MAX_STRETCHES`.
#[derive(Clone, Debug, Default)]
pub struct StretchLog {
    stretches: VecDeque<Rc<Stretch>>,
}

impl StretchLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// A stretch that begins where the last one ended. One that was never used is replaced.
    pub fn append(&mut self, stretch: Rc<Stretch>) {
        if self.stretches.back().is_some_and(|last| last.first_out == stretch.first_out) {
            self.stretches.pop_back();
        }
        if self.stretches.len() == MAX_STRETCHES {
            self.stretches.pop_front();
        }
        self.stretches.push_back(stretch);
    }

    /// The stretch in which the extended outgoing number `out` was sent.
    pub fn by_out(&self, out: i64) -> Option<Rc<Stretch>> {
        self.stretches.iter().rev().find(|stretch| out >= stretch.first_out).cloned()
    }

    /// The stretch to which a late packet of the layer being forwarded belongs.
    ///
    /// None when it lies before the last switch of layer, or among the packets dropped on purpose.
    pub fn by_number(&self, layer: u64, number: i64) -> Option<Rc<Stretch>> {
        let mut upper = i64::MAX; // first outgoing number that is no longer this stretch's
        for stretch in self.stretches.iter().rev() {
            if stretch.layer != layer {
                return None;
            }
            if number >= stretch.first_number {
                return (number + stretch.offset < upper).then(|| stretch.clone());
            }
            upper = stretch.first_out;
        }
        None
    }
}

/// The extended outgoing number that a peer means by 16 bits, nearest to the highest one sent.
#[inline]
pub fn extended_out(sequence: u16, highest: i64) -> i64 {
    nearest16(sequence, highest)
}

/// Ticks from the last packet of the old layer to the first of the new one; at least 1.
///
/// `arrival_delta`: s between their arrivals. `report_delta`: s between their capture times by both layers' sender
/// reports, None without them; it is believed unless it lies more than a second away from the arrivals.
pub fn timestamp_step(clock_rate: u32, arrival_delta: f64, report_delta: Option<f64>) -> i64 {
    let delta = match report_delta {
        Some(delta) if (delta - arrival_delta).abs() <= MAX_DISAGREEMENT => delta,
        _ => arrival_delta,
    };
    ((delta * f64::from(clock_rate)).round_ties_even() as i64).max(MIN_STEP)
}

/// Outgoing timestamps that bring kept frames to the present: `step` ticks apart, the newest at `last`.
///
/// `timestamps`: the distinct source timestamps in sending order.
pub fn squeeze(timestamps: &[u32], last: u32, step: u32) -> Squeezed {
    let mut at = last;
    let mut squeezed = Vec::with_capacity(timestamps.len());
    for &stamp in timestamps.iter().rev() {
        squeezed.push((stamp, at));
        at = at.wrapping_sub(step);
    }
    // Stable, and newest first: should a timestamp come twice after all, its newest place counts.
    squeezed.sort_by_key(|&(stamp, _)| stamp);
    squeezed.dedup_by_key(|&mut (stamp, _)| stamp);
    squeezed.into()
}

/// A layer's own count of its packets: extended sequence numbers without those of padding-only packets.
///
/// Padding consumes sequence numbers that no viewer shall miss. A number below a closed gap keeps its place, and a gap
/// that is a real loss is never closed.
#[derive(Clone, Debug, Default)]
pub struct NumberLine {
    /// The highest raw extended sequence number so far.
    pub highest: Option<i64>,
    shift: i64,
    closed: VecDeque<(i64, i64)>, // (raw, shift below it)
}

impl NumberLine {
    /// A line that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The raw extended number of 16 bits, nearest to the highest so far. Nothing is remembered.
    #[inline]
    pub fn extend(&self, sequence: u16) -> i64 {
        match self.highest {
            Some(highest) => nearest16(sequence, highest),
            None => i64::from(sequence),
        }
    }

    /// The layer's number of a packet with content; the highest moves on when it is the newest.
    #[inline]
    pub fn number(&mut self, raw: i64) -> i64 {
        if self.highest.is_none_or(|highest| raw > highest) {
            self.highest = Some(raw);
            return raw - self.shift;
        }
        let mut shift = self.shift;
        for &(closed, below) in self.closed.iter().rev() {
            if raw > closed {
                break;
            }
            shift = below;
        }
        raw - shift
    }

    /// Take the newest packet out of the count because it was only padding; false when it is not the newest.
    pub fn close(&mut self, raw: i64) -> bool {
        if self.highest.is_some_and(|highest| raw <= highest) {
            return false;
        }
        if self.closed.len() == MAX_CLOSED {
            self.closed.pop_front();
        }
        self.closed.push_back((raw, self.shift));
        self.shift += 1;
        self.highest = Some(raw);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(stretches: impl IntoIterator<Item = Stretch>) -> StretchLog {
        let mut log = StretchLog::new();
        for stretch in stretches {
            log.append(Rc::new(stretch));
        }
        log
    }

    #[test]
    fn padding_closes_gaps_and_losses_do_not() {
        let mut line = NumberLine::new();
        assert_eq!(line.number(line.extend(65_534)), 65_534);
        assert!(line.close(line.extend(65_535)));
        assert!(line.close(line.extend(0)));
        assert_eq!(line.number(line.extend(2)), 65_536); // 1 is missing
        assert_eq!(line.number(line.extend(1)), 65_535);
        assert_eq!(line.number(line.extend(65_534)), 65_534);
        assert!(!line.close(line.extend(1)));
        assert_eq!(line.number(line.extend(3)), 65_537);
    }

    #[test]
    fn media_packets_are_numbered_without_the_padding() {
        let mut next = crate::chance::numbers();
        for _ in 0..1_000 {
            let start = i64::from(next() as u16);
            let mut line = NumberLine::new();
            let (mut padding, mut numbers) = (Vec::new(), Vec::new());
            for index in 0..60 {
                let seed = next();
                let raw = line.extend((start + index) as u16);
                match seed % 3 {
                    0 => numbers.push((raw, line.number(raw))),
                    1 => {
                        assert!(line.close(raw));
                        padding.push(start + index);
                    }
                    _ => {}
                }
            }
            for (raw, number) in numbers {
                let below = padding.iter().filter(|&&closed| closed < raw).count() as i64;
                assert_eq!(number, raw - below);
                assert_eq!(line.number(raw), number);
            }
        }
    }

    #[test]
    fn only_the_last_closed_gaps_are_remembered() {
        let mut line = NumberLine::new();
        for raw in 0..1_000 {
            line.close(raw);
        }
        assert_eq!(line.number(1_000), 0);
        assert_eq!(line.number(10), 10 - (1_000 - MAX_CLOSED as i64));
    }

    #[test]
    fn a_stretch_log_finds_both_ways() {
        let dropped = Stretch::new(1, 100, 1000, 7).after_drop(110, 1005);
        let log = log([Stretch::new(1, 100, 1000, 0), dropped, Stretch::new(2, 500, 1020, 0)]);
        assert!(log.by_out(999).is_none());
        let found = log.by_out(1004).unwrap();
        assert_eq!((found.layer, 1004 - found.offset), (1, 104));
        let found = log.by_out(1005).unwrap();
        assert_eq!((1005 - found.offset, found.timestamp_offset), (110, 7));
        assert_eq!(log.by_out(5000).unwrap().layer, 2);
        assert!(log.by_number(1, 104).is_none()); // before the switch
        assert!(log.by_number(2, 499).is_none());
        assert_eq!(log.by_number(2, 500).unwrap().first_out, 1020);
    }

    #[test]
    fn late_packets_find_the_place_before_a_drop_but_not_inside_it() {
        let first = Stretch::new(1, 100, 1000, 0);
        let second = first.after_drop(110, 1005);
        let log = log([first, second]);
        assert_eq!(log.by_number(1, 104).unwrap().first_number, 100);
        assert!(log.by_number(1, 105).is_none());
        assert!(log.by_number(1, 109).is_none());
        assert_eq!(111 + log.by_number(1, 111).unwrap().offset, 1006);
    }

    #[test]
    fn an_unused_stretch_is_replaced() {
        let log = log([Stretch::new(1, 100, 1000, 0), Stretch::new(2, 7, 1000, 0)]);
        assert_eq!(log.by_out(1000).unwrap().layer, 2);
        assert!(log.by_number(1, 100).is_none());
    }

    #[test]
    fn the_oldest_stretch_goes_first() {
        let log = log((0..100).map(|index| Stretch::new(1, index * 10, index * 8, 0)));
        assert!(log.by_out(36 * 8 - 1).is_none());
        assert_eq!(log.by_out(36 * 8).unwrap().first_number, 360);
        assert_eq!(log.stretches.len(), MAX_STRETCHES);
    }

    #[test]
    fn sixteen_bits_mean_the_nearest_number() {
        assert_eq!(extended_out(65_535, 70_000), 65_535);
        assert_eq!(extended_out(4_463, 70_000), 69_999);
        assert_eq!(extended_out(4_465, 70_000), 70_001);
        assert_eq!(extended_out(0, 65_530), 65_536);
        assert_eq!(extended_out(65_535, 0), -1);
    }

    #[test]
    fn time_goes_on_at_a_switch() {
        assert_eq!(timestamp_step(90_000, 0.1, None), 9_000);
        assert_eq!(timestamp_step(90_000, 0.1, Some(0.033)), 2_970);
        assert_eq!(timestamp_step(90_000, 0.1, Some(-0.5)), 1);
        assert_eq!(timestamp_step(90_000, 0.1, Some(5.0)), 9_000);
        assert_eq!(timestamp_step(90_000, 0.1, Some(f64::NAN)), 9_000);
        assert_eq!(timestamp_step(90_000, -3.0, None), 1);
    }

    #[test]
    fn squeezed_frames_end_at_the_present() {
        let squeezed = squeeze(&[10, 20, 30], 5, 100);
        assert_eq!(*squeezed, [(10, u32::MAX - 194), (20, u32::MAX - 94), (30, 5)]);
        assert_eq!(*squeeze(&[u32::MAX, 3], 5, 1), [(3, 5), (u32::MAX, 4)]);
        assert_eq!(*squeeze(&[7, 8, 7], 5, 1), [(7, 5), (8, 4)]);
        assert!(squeeze(&[], 5, 1).is_empty());
        let stretch =
            Stretch { squeezed: Some(squeezed), ..Stretch::new(1, 0, 0, u32::MAX) }.after_drop(3, 1);
        assert_eq!([10, 30, 40].map(|stamp| stretch.timestamp(stamp)), [u32::MAX - 194, 5, 39]);
    }
}
