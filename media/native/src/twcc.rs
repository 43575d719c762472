//! Transport-wide congestion control feedback, the receiver's side: RTPFB 15 of
//! draft-holmer-rmcat-transport-wide-cc-extensions-01. One counter numbers every packet of a transport; the
//! receiver reports when each arrived, in ticks of 250 us from a reference time in units of 64 ms. What
//! viewers report is read in `arrivals`.

use std::collections::VecDeque;

use crate::error::Malformed;

/// Microseconds of a tick.
pub const TICK_US: i64 = 250;
/// The same in seconds.
pub const TICK: f64 = 250e-6;
/// Ticks in a unit of the reference time.
pub const TICKS_PER_REFERENCE: i64 = 256;
/// Bytes: with the `FEEDBACK_HEADER` before it and SRTCP it stays in one datagram.
pub const MAX_BODY_SIZE: usize = 1_150;

/// Bytes of base sequence, status count, reference time (24 bits) and feedback count (8).
pub const FIXED: usize = 8;
/// Status of a packet that did not arrive.
pub const ABSENT: u8 = 0;
/// Status of a packet whose delta is a byte.
pub const SMALL: u8 = 1;
/// Status of a packet whose delta has two bytes.
pub const LARGE: u8 = 2;
/// Status of no packet.
pub const RESERVED: u8 = 3;
const MAX_RUN: u32 = 0x1FFF;

/// Encode arrivals, without RTCP header, SSRCs and padding.
///
/// `arrivals`: (extended sequence, arrival us), ascending by sequence, none below `base`. Refused when the
/// range exceeds 65,535 packets, is empty or descends, or when neighbours arrived more than 8.19 s apart:
/// report those in two messages.
pub fn pack_body(
    base: i64,
    arrivals: impl IntoIterator<Item = (i64, i64)>,
    feedback_count: u8,
) -> Result<Vec<u8>, Malformed> {
    let mut runs: Vec<(u8, u32)> = Vec::new();
    let mut deltas: Vec<u8> = Vec::new();
    let mut reference = None;
    let mut last = 0;
    let mut expected = base;
    for (sequence, time_us) in arrivals {
        let now = ticks(time_us);
        if reference.is_none() {
            let units = now.div_euclid(TICKS_PER_REFERENCE);
            reference = Some(units);
            last = units * TICKS_PER_REFERENCE;
        }
        let gap = sequence.checked_sub(expected).unwrap_or(-1);
        if !(0..=0xFFFF).contains(&gap) {
            return Err(Malformed("transport sequence"));
        }
        if gap > 0 {
            add_run(&mut runs, ABSENT, gap as u32);
        }
        let delta = now - last;
        last = now;
        if let Ok(delta) = u8::try_from(delta) {
            deltas.push(delta);
            add_run(&mut runs, SMALL, 1);
        } else if let Ok(delta) = i16::try_from(delta) {
            deltas.extend(delta.to_be_bytes());
            add_run(&mut runs, LARGE, 1);
        } else {
            return Err(Malformed("receive delta"));
        }
        expected = sequence + 1;
    }
    let total = u16::try_from(expected - base).map_err(|_| Malformed("packet status count"))?;
    let Some(reference) = reference else {
        return Err(Malformed("packet status count"));
    };
    let mut body = Vec::with_capacity(FIXED + 2 * runs.len() + deltas.len());
    body.extend((base as u16).to_be_bytes());
    body.extend(total.to_be_bytes());
    body.extend(((reference as u32) << 8 | u32::from(feedback_count)).to_be_bytes());
    write_chunks(&mut body, &mut runs);
    body.extend(deltas);
    Ok(body)
}

/// The nearest tick.
fn ticks(time_us: i64) -> i64 {
    time_us.saturating_add(TICK_US / 2).div_euclid(TICK_US)
}

fn add_run(runs: &mut Vec<(u8, u32)>, symbol: u8, length: u32) {
    match runs.last_mut() {
        Some((same, run)) if *same == symbol => *run += length,
        _ => runs.push((symbol, length)),
    }
}

/// Run-length chunks for runs of seven or more (or all that is left), else vectors of 14 or 7 symbols.
fn write_chunks(body: &mut Vec<u8>, runs: &mut [(u8, u32)]) {
    let mut position = 0;
    while let Some(&(symbol, mut run)) = runs.get(position) {
        if run >= 7 || position == runs.len() - 1 {
            while run > 0 {
                let part = run.min(MAX_RUN);
                body.extend((u16::from(symbol) << 13 | part as u16).to_be_bytes());
                run -= part;
            }
            position += 1;
            continue;
        }
        let mut window = [ABSENT; 14];
        let mut filled = 0;
        let mut large = false;
        for &(following, length) in runs[position..].iter().take(14) {
            let until = (filled + length as usize).min(14);
            window[filled..until].fill(following);
            large |= following == LARGE && until > filled;
            filled = until;
        }
        let fold = |places: usize, width: u16| {
            window[..places].iter().fold(0, |value, symbol| value << width | u16::from(*symbol))
        };
        let (chunk, mut taken) =
            if filled > 7 && !large { (0x8000 | fold(14, 1), 14) } else { (0xC000 | fold(7, 2), 7) };
        body.extend(chunk.to_be_bytes());
        while let Some((_, run)) = runs.get_mut(position) {
            if *run > taken {
                *run -= taken;
                break;
            }
            taken -= *run;
            position += 1;
            if taken == 0 {
                break;
            }
        }
    }
}

/// Check what follows the two SSRCs, without RTCP padding; where the chunks are that speak of no packet.
///
/// As strict as a complete reader: refused for chunks or deltas past the end, no packets or the reserved
/// symbol.
pub(crate) fn check_body(body: &[u8]) -> Result<Vec<usize>, Malformed> {
    let word = |at: usize| body.get(at..at + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let count = match word(2) {
        Some(count) if body.len() >= FIXED => usize::from(count),
        _ => return Err(Malformed("transport feedback")),
    };
    if count == 0 {
        return Err(Malformed("packet status count"));
    }
    let mut empty = Vec::new();
    let mut needed = 0;
    let mut index = 0;
    let mut at = FIXED;
    while index < count {
        let chunk = word(at).ok_or(Malformed("packet status chunk"))?;
        if chunk < 0x8000 {
            let run = usize::from(chunk & 0x1FFF);
            let symbol = (chunk >> 13) as u8;
            if symbol == RESERVED {
                return Err(Malformed("packet status symbol"));
            }
            if run == 0 {
                empty.push(at);
            }
            needed += run.min(count - index) * usize::from(symbol);
            index += run;
        } else if chunk < 0xC000 {
            let places = (count - index).min(14);
            needed += ((chunk & 0x3FFF) >> (14 - places)).count_ones() as usize;
            index += 14;
        } else {
            for place in 0..(count - index).min(7) {
                let symbol = (chunk >> (12 - 2 * place) & 3) as u8;
                if symbol == RESERVED {
                    return Err(Malformed("packet status symbol"));
                }
                needed += usize::from(symbol);
            }
            index += 7;
        }
        at += 2;
    }
    if needed > body.len() - at {
        return Err(Malformed("receive deltas"));
    }
    Ok(empty)
}

/// Receiver side of one transport: note each arrival, take a feedback body when one is due.
///
/// Call `record` for every packet with a transport sequence (padding and RTX too), then `feedback(now)` until
/// it returns None, at the latest at `next_deadline`. Times in seconds unless a name says us.
///
/// A packet that arrives after a message said it was missing moves the start of the next message back to
/// itself, so the sender hears of it; arrivals older than the memory behind the newest are forgotten. At most
/// `capacity` arrivals are kept; the oldest go first.
#[derive(Debug)]
pub struct TwccReceiver {
    interval: f64,
    threshold: usize,
    memory_us: i64,
    capacity: usize,
    highest: Option<i64>,           // extended sequence
    arrivals: VecDeque<(i64, i64)>, // (extended sequence, us), ascending by sequence
    next: Option<i64>,              // extended sequence the next message starts at
    floor: Option<i64>,             // nothing is known any more of sequences below
    last_sent: Option<f64>,
    feedback_count: u8,
    strays: u32,
    waiting: usize, // arrivals not yet reported
}

impl TwccReceiver {
    /// A message every 100 ms or when more than 50 arrivals wait; 500 ms and 2,000 arrivals are remembered.
    pub fn new() -> Self {
        Self::with(0.1, 50, 0.5, 2_000)
    }

    fn with(interval: f64, threshold: usize, memory: f64, capacity: usize) -> Self {
        Self {
            interval,
            threshold,
            memory_us: (memory * 1e6).round_ties_even() as i64,
            capacity,
            highest: None,
            arrivals: VecDeque::new(),
            next: None,
            floor: None,
            last_sent: None,
            feedback_count: 0,
            strays: 0,
            waiting: 0,
        }
    }

    /// Note that the packet with this transport sequence arrived.
    pub fn record(&mut self, sequence: u16, arrival_us: i64) {
        let mut extended = i64::from(sequence);
        match self.highest {
            None => {
                self.strays = 0;
                self.highest = Some(extended);
            }
            Some(highest) => {
                extended = highest + ((extended - highest + 0x8000) & 0xFFFF) - 0x8000;
                if extended > highest {
                    self.strays = 0;
                    self.highest = Some(extended);
                } else if extended < highest - 0x2000 {
                    // 8,192 packets late is no reordering: the peer may have begun to count anew.
                    self.strays += 1;
                    if self.strays < 16 {
                        return;
                    }
                    self.restart();
                    extended = i64::from(sequence);
                    self.highest = Some(extended);
                }
            }
        }
        let place = match self.arrivals.back() {
            Some((newest, _)) if *newest >= extended => {
                match self.arrivals.binary_search_by_key(&extended, |(known, _)| *known) {
                    Ok(_) => return, // it came again
                    Err(place) => place,
                }
            }
            _ => self.arrivals.len(),
        };
        if self.floor.is_some_and(|floor| extended < floor) {
            return; // a message from here on would call its forgotten neighbours lost
        }
        self.next = Some(self.next.map_or(extended, |next| next.min(extended)));
        self.arrivals.insert(place, (extended, arrival_us));
        self.waiting += 1;
        if self.arrivals.len() > self.capacity {
            self.forget_oldest();
        }
    }

    /// The next feedback body if one is due, for `write_transport_feedback`; call again until None.
    ///
    /// Due: something is waiting, and the interval has passed or more than the threshold is waiting.
    pub fn feedback(&mut self, now: f64) -> Option<Vec<u8>> {
        let waiting = self.waiting;
        let base = self.next?;
        if waiting == 0 {
            return None;
        }
        let recent = self.last_sent.is_some_and(|last| now - last < self.interval);
        if recent && waiting <= self.threshold {
            return None;
        }
        let start = self.arrivals.partition_point(|(sequence, _)| *sequence < base);
        let pending = self.arrivals.len() - start;
        let fitting = fitting(base, self.arrivals.range(start..).copied());
        let batch = self.arrivals.range(start..start + fitting);
        let last = batch.clone().next_back().map_or(base, |(sequence, _)| *sequence);
        let body = pack_body(base, batch.copied(), self.feedback_count);
        self.feedback_count = self.feedback_count.wrapping_add(1);
        self.next = Some(last + 1);
        self.waiting = pending - fitting;
        if self.waiting == 0 {
            self.last_sent = Some(now);
            self.forget_reported();
        }
        body.ok() // always: `fitting` takes no more than a message can carry
    }

    /// When `feedback` has something to say if nothing more arrives; None when nothing is waiting.
    pub fn next_deadline(&self) -> Option<f64> {
        (self.waiting > 0).then(|| self.interval_ends())
    }

    /// From when on whatever arrives may be reported at once.
    pub fn interval_ends(&self) -> f64 {
        self.last_sent.map_or(0.0, |last| last + self.interval)
    }

    fn restart(&mut self) {
        self.waiting = 0;
        self.strays = 0;
        self.arrivals.clear();
        self.next = None;
        self.floor = None;
    }

    fn forget_reported(&mut self) {
        let Some(newest) = self.arrivals.iter().map(|(_, time_us)| *time_us).max() else {
            return;
        };
        let horizon = newest.saturating_sub(self.memory_us);
        let is_old = |(_, time_us): &(i64, i64)| *time_us < horizon;
        if let Some((last, _)) = self.arrivals.iter().rfind(|arrival| is_old(arrival)) {
            self.floor = Some(last + 1);
            self.arrivals.retain(|arrival| !is_old(arrival));
        }
    }

    fn forget_oldest(&mut self) {
        let oldest = self.arrivals.drain(..self.capacity / 4);
        let (mut unreported, mut last) = (0, None);
        for (sequence, _) in oldest {
            unreported += usize::from(self.next.is_some_and(|next| sequence >= next));
            last = Some(sequence);
        }
        self.waiting = self.waiting.saturating_sub(unreported);
        self.floor = last.map(|last| last + 1).or(self.floor);
        self.next = self.next.max(self.floor);
    }
}

impl Default for TwccReceiver {
    fn default() -> Self {
        Self::new()
    }
}

/// How many of the first of `pending` one message can carry: by size, by range and by the span of a delta.
fn fitting(base: i64, pending: impl ExactSizeIterator<Item = (i64, i64)>) -> usize {
    let count = pending.len();
    let mut room = (MAX_BODY_SIZE - FIXED) as i64;
    let mut expected = base;
    let mut previous = None;
    for (position, (sequence, time_us)) in pending.enumerate() {
        // At worst a packet takes a large delta, a chunk of its own and the run-length chunks of the gap
        // before it.
        room -= 4 + 2 * ((sequence - expected + i64::from(MAX_RUN) - 1) / i64::from(MAX_RUN));
        expected = sequence + 1;
        let now = ticks(time_us);
        if let Some(previous) = previous
            && (room < 0 || sequence - base >= 0xFFFF || i16::try_from(now - previous).is_err())
        {
            return position;
        }
        previous = Some(now);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Feedback {
        base: u16,
        status_count: u16,
        feedback_count: u8,
        arrivals: Vec<(u16, i64)>,
    }

    /// A plain reader of a well-formed body.
    fn parse(body: &[u8]) -> Feedback {
        assert!(body.len() <= MAX_BODY_SIZE);
        check_body(body).unwrap();
        let word = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        let (base, status_count) = (word(0), word(2));
        let mut symbols = Vec::new();
        let mut at = FIXED;
        while symbols.len() < usize::from(status_count) {
            let chunk = word(at);
            at += 2;
            match chunk >> 14 {
                0 | 1 => symbols.extend((0..chunk & 0x1FFF).map(|_| chunk >> 13)),
                2 => symbols.extend((0..14).rev().map(|shift| chunk >> shift & 1)),
                _ => symbols.extend((0..7).rev().map(|place| chunk >> (2 * place) & 3)),
            }
        }
        let mut ticks = i64::from((word(4) as i16 as i32) << 8 | i32::from(body[6])) * TICKS_PER_REFERENCE;
        let mut arrivals = Vec::new();
        for (index, symbol) in symbols[..usize::from(status_count)].iter().enumerate() {
            match symbol {
                0 => continue,
                1 => ticks += i64::from(body[at]),
                _ => ticks += i64::from(word(at) as i16),
            }
            at += usize::from(*symbol);
            arrivals.push((base.wrapping_add(index as u16), ticks * TICK_US));
        }
        assert_eq!(at, body.len());
        Feedback { base, status_count, feedback_count: body[7], arrivals }
    }

    fn drain(receiver: &mut TwccReceiver, now: f64) -> Vec<Feedback> {
        std::iter::from_fn(|| receiver.feedback(now)).map(|body| parse(&body)).collect()
    }

    fn drain_one(receiver: &mut TwccReceiver, now: f64) -> Feedback {
        let mut messages = drain(receiver, now);
        assert_eq!(messages.len(), 1);
        messages.remove(0)
    }

    #[test]
    fn vector_with_a_loss_and_a_large_delta() {
        let arrivals = [
            (1000, 18_634_000),
            (1001, 18_654_000),
            (1003, 18_669_000),
            (1004, 18_674_000),
            (1005, 18_774_000),
            (1006, 18_775_000),
        ];
        let expected = b"\x03\xE8\0\x07\0\x01\x23\x09\xD4\x59\x28\x50\x3C\x14\x01\x90\x04";
        assert_eq!(pack_body(1000, arrivals, 9).unwrap(), expected);
    }

    #[test]
    fn vector_run_length() {
        let arrivals = (0..20).map(|index| (2000 + index, 292 * 64_000 + 5_000 * (index + 1)));
        let mut expected = b"\x07\xD0\0\x14\0\x01\x24\x0A\x20\x14".to_vec();
        expected.extend([0x14; 20]);
        assert_eq!(pack_body(2000, arrivals, 10).unwrap(), expected);
    }

    #[test]
    fn sparse_arrivals_use_run_lengths() {
        let body = pack_body(10, [(10, 64_000), (20_010, 64_250)], 255).unwrap();
        assert_eq!(body, b"\0\x0A\x4E\x21\0\0\x01\xFF\xA0\0\x1F\xFF\x1F\xFF\x0E\x14\x20\x01\0\x01");
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        assert!(pack_body(0, [], 0).is_err());
        assert!(pack_body(0, [(5, 0), (5, 0)], 0).is_err());
        assert!(pack_body(5, [(4, 0)], 0).is_err());
        assert!(pack_body(0, [(0, 0), (65_535, 0)], 0).is_err());
        assert!(pack_body(0, [(0, 0), (1, 8_192_001)], 0).is_err());
    }

    #[test]
    fn broken_bodies() {
        let broken: [&[u8]; 11] = [
            b"",
            b"\0\x01\0\x01\0\0\0",
            b"\0\x01\0\x01\0\0\0\0",
            b"\0\x01\0\x01\0\0\0\0\x20",
            b"\0\x01\0\0\0\0\0\0\x20\x01",
            b"\0\x01\0\x01\0\0\0\0\x20\x01",
            b"\0\x01\0\x01\0\0\0\0\x40\x01\0",
            b"\0\x01\0\x01\0\0\0\0\x60\x01",
            b"\0\x01\0\x01\0\0\0\0\xF0\0",
            b"\0\x01\xFF\xFF\0\0\0\0\x3F\xFF\x3F\xFF\x3F\xFF",
            b"\0\x01\0\x10\0\0\0\0\x20\x02",
        ];
        for body in broken {
            assert!(check_body(body).is_err(), "{body:?}");
        }
        assert_eq!(check_body(b"\0\x01\0\x0A\0\0\0\0\xAC\x1F\x01\x02\x03\x04"), Ok(vec![]));
        assert_eq!(check_body(b"\0\x01\0\x02\0\0\0\0\0\0\x3F\xFF\x01\x02"), Ok(vec![8]));
    }

    #[test]
    fn any_body_is_checked_without_a_panic() {
        let mut next = crate::chance::numbers();
        for _ in 0..50_000 {
            let mut body: Vec<u8> = (0..next() % 80).map(|_| next() as u8).collect();
            if let Some(high) = body.get_mut(2) {
                *high = 0;
            }
            let _ = check_body(&body);
        }
    }

    #[test]
    fn the_first_arrival_is_reported_at_once_and_then_every_interval() {
        let mut receiver = TwccReceiver::new();
        assert_eq!(receiver.next_deadline(), None);
        assert_eq!(receiver.feedback(1.0), None);
        receiver.record(500, 1_000_000);
        assert_eq!(receiver.next_deadline(), Some(0.0));
        let first = drain_one(&mut receiver, 1.0);
        assert_eq!((first.base, first.status_count, first.feedback_count), (500, 1, 0));
        receiver.record(501, 1_020_000);
        receiver.record(503, 1_040_000);
        assert_eq!(receiver.feedback(1.05), None);
        assert_eq!(receiver.next_deadline(), Some(1.1));
        let second = drain_one(&mut receiver, 1.1);
        assert_eq!((second.base, second.status_count, second.feedback_count), (501, 3, 1));
        assert_eq!(second.arrivals, [(501, 1_020_000), (503, 1_040_000)]);
        assert!(drain(&mut receiver, 2.0).is_empty());
    }

    #[test]
    fn more_than_fifty_waiting_are_reported_before_the_interval() {
        let mut receiver = TwccReceiver::new();
        receiver.record(0, 0);
        drain(&mut receiver, 0.0);
        for sequence in 1..=50 {
            receiver.record(sequence, i64::from(sequence) * 100);
        }
        assert_eq!(receiver.feedback(0.01), None);
        receiver.record(51, 5_100);
        assert_eq!(drain_one(&mut receiver, 0.01).status_count, 51);
    }

    #[test]
    fn a_late_packet_is_reported_again_with_what_followed_it() {
        let mut receiver = TwccReceiver::new();
        for sequence in [65_534, 0, 1] {
            receiver.record(sequence, 10_000 + i64::from(sequence));
        }
        let first = drain_one(&mut receiver, 0.0);
        assert_eq!((first.base, first.status_count, first.arrivals.len()), (65_534, 4, 3));
        receiver.record(65_535, 110_000);
        let second = drain_one(&mut receiver, 0.1);
        let sequences: Vec<u16> = second.arrivals.iter().map(|(sequence, _)| *sequence).collect();
        assert_eq!((second.base, sequences), (65_535, vec![65_535, 0, 1]));
    }

    #[test]
    fn what_is_older_than_the_memory_is_not_reported_again() {
        let mut receiver = TwccReceiver::new();
        receiver.record(10, 0);
        receiver.record(12, 1_000);
        drain(&mut receiver, 0.0);
        receiver.record(13, 900_000);
        drain(&mut receiver, 0.9);
        receiver.record(11, 910_000);
        assert!(drain(&mut receiver, 1.1).is_empty());
    }

    #[test]
    fn duplicates_keep_the_first_arrival() {
        let mut receiver = TwccReceiver::new();
        receiver.record(5, 1_000);
        receiver.record(5, 9_000);
        assert_eq!(drain_one(&mut receiver, 0.0).arrivals, [(5, 1_000)]);
    }

    #[test]
    fn a_pause_longer_than_a_delta_splits_the_message() {
        let mut receiver = TwccReceiver::new();
        receiver.record(1, 0);
        receiver.record(2, 20_000_000);
        let messages = drain(&mut receiver, 20.0);
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0].arrivals, [(1, 0)]);
        assert_eq!(messages[1].arrivals, [(2, 20_000_000)]);
        assert_eq!((messages[1].base, messages[1].feedback_count), (2, 1));
    }

    #[test]
    fn a_counter_that_starts_anew_is_followed_after_sixteen_packets() {
        let mut receiver = TwccReceiver::new();
        receiver.record(30_000, 0);
        drain(&mut receiver, 0.0);
        for sequence in 100..120 {
            receiver.record(sequence, 1_000_000);
        }
        let message = drain_one(&mut receiver, 1.0);
        assert_eq!((message.base, message.status_count), (115, 5));
    }

    #[test]
    fn memory_is_bounded_when_nobody_asks() {
        let mut receiver = TwccReceiver::with(0.1, 50, 0.5, 400);
        for sequence in 0..10_000 {
            receiver.record(sequence, i64::from(sequence) * 10);
        }
        let waiting = receiver.waiting;
        assert!((300..=400).contains(&waiting));
        let messages = drain(&mut receiver, 1.0);
        let reported: Vec<u16> =
            messages.iter().flat_map(|message| &message.arrivals).map(|(sequence, _)| *sequence).collect();
        assert_eq!(reported, (10_000 - waiting as u16..10_000).collect::<Vec<_>>());
    }

    #[test]
    fn hostile_jumps_stay_within_the_size_of_a_datagram() {
        let mut receiver = TwccReceiver::with(0.1, 10_000, 0.5, 2_000);
        let mut sequence = 0_u16;
        for step in 0..600 {
            sequence = sequence.wrapping_add(32_000);
            receiver.record(sequence, step * 1_000);
        }
        let messages = drain(&mut receiver, 0.6);
        assert_eq!(messages.iter().map(|message| message.arrivals.len()).sum::<usize>(), 600);
    }

    #[test]
    fn every_arrival_is_reported_exactly_through_loss_and_reordering() {
        let mut next = crate::chance::numbers();
        let mut arrivals: Vec<(i64, i64)> = (60_000..72_000)
            .filter(|_| !next().is_multiple_of(20))
            .collect::<Vec<i64>>()
            .into_iter()
            .map(|sequence| (sequence * 1_000 + (next() % 20_000) as i64, sequence))
            .collect();
        arrivals.sort_unstable();
        let mut receiver = TwccReceiver::new();
        let mut reported = std::collections::HashMap::new();
        let mut count = 0_u8;
        for (time_us, sequence) in &arrivals {
            receiver.record(*sequence as u16, *time_us);
            let end =
                *time_us as f64 * 1e-6 + if *time_us == arrivals[arrivals.len() - 1].0 { 1.0 } else { 0.0 };
            for message in drain(&mut receiver, end) {
                assert_eq!(message.feedback_count, count);
                count = count.wrapping_add(1);
                reported.extend(message.arrivals);
            }
        }
        assert_eq!(reported.len(), arrivals.len());
        for (time_us, sequence) in arrivals {
            assert!((reported[&(sequence as u16)] - time_us).abs() <= 125);
        }
    }

    #[test]
    fn any_sequences_and_times_are_noted_and_reported() {
        let mut next = crate::chance::numbers();
        let mut receiver = TwccReceiver::new();
        for round in 0..50_000 {
            let time = match next() % 100 {
                0 => next() as i64,
                1 => i64::MAX,
                2 => i64::MIN,
                _ => round * 1_000,
            };
            let sequence = next();
            receiver.record(if sequence & 0x10_0000 == 0 { sequence as u16 } else { round as u16 }, time);
            if sequence >> 32 & 0x3F == 0 {
                while let Some(body) = receiver.feedback(round as f64 * 0.001) {
                    check_body(&body).unwrap();
                }
            }
            assert!(receiver.arrivals.len() <= 2_000);
        }
    }
}
