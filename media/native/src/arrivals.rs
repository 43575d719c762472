//! Transport-wide feedback of a viewer, folded per train without an object per packet: how many bytes of each
//! arrived, when the last of them did, how many did not, and how far apart its packets arrived. Most messages
//! say that everything arrived as fast as ever: such a one is one sample, and `calm` tells that nobody needs
//! to hear of it soon.

use std::collections::VecDeque;

use crate::dispersion::Dispersion;
use crate::error::Malformed;
use crate::rtcp::{FEEDBACK_HEADER, without_padding};
use crate::twcc::{self, ABSENT, LARGE, RESERVED, SMALL, TICK, TICKS_PER_REFERENCE};

/// Packets that left as one message, numbered one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SentTrain {
    /// Extended transport sequence of its first packet.
    pub first: i64,
    /// Packets, at least one.
    pub count: u32,
    /// Send time, seconds.
    pub at: f64,
    /// Bytes of each packet but the last.
    pub segment: u32,
    /// Bytes of the last packet.
    pub last: u32,
}

/// Send time (seconds on our clock), arrival (seconds on the peer's) or -1 for what was lost, bytes.
pub type Sample = (f64, f64, i64);

/// Bytes before the chunks.
const FIXED: usize = FEEDBACK_HEADER + twcc::FIXED;
/// Seconds: unit of the reference time.
const REFERENCE: f64 = TICKS_PER_REFERENCE as f64 * TICK;
/// Seconds above the least delay up to which nothing waits anywhere on the way.
const FLAT: f64 = 0.015;
/// Seconds a second by which the least delay may rise: clocks drift, paths change.
const RISE: f64 = 0.002;
/// Seconds: a larger change is a clock, not a queue.
const JUMP: f64 = 3.0;
/// Seconds after which the reference time begins anew.
const WRAP: f64 = (1 << 24) as f64 * REFERENCE;

/// One peer's feedback, message by message; its clock is unwrapped from message to message.
#[derive(Debug)]
pub struct ArrivalFolder {
    /// Nothing was missing in the last message and its packets met no queue.
    pub calm: bool,
    /// Of all trains while it was not calm, of one of each message since.
    pub dispersion: Dispersion,
    epoch: f64,
    newest: f64,
    least: f64, // delay, by two clocks
    least_at: f64,
    symbols: Vec<u8>, // of the message at hand, kept for its room
}

impl ArrivalFolder {
    /// Nothing heard yet.
    pub fn new() -> Self {
        Self {
            calm: false,
            dispersion: Dispersion::new(),
            epoch: 0.0,
            newest: 0.0,
            least: f64::INFINITY,
            least_at: 0.0,
            symbols: Vec::new(),
        }
    }

    /// Append the samples of one whole RTCP packet; trains it speaks of, and all before, leave the deque.
    ///
    /// After a calm message the next one is a single sample if nothing is missing in it, else there is one of
    /// each train. `next_sequence`: the extended transport sequence that would be sent next. On error nothing
    /// has changed.
    pub fn fold(
        &mut self,
        data: &[u8],
        next_sequence: i64,
        trains: &mut VecDeque<SentTrain>,
        samples: &mut Vec<Sample>,
    ) -> Result<(), Malformed> {
        let mut symbols = std::mem::take(&mut self.symbols);
        let read = read(data, &mut symbols);
        if let Ok(message) = read {
            let before = samples.len();
            let base = next_sequence - 1 + ((i64::from(message.base) - next_sequence + 1 + 0x8000) & 0xFFFF)
                - 0x8000;
            let clock = self.unwrapped(message.reference);
            let whole = message.whole && trains.front().is_some_and(|train| train.first == base);
            let deltas = Deltas { bytes: message.deltas, ticks: 0 };
            if whole && self.calm {
                self.together(&symbols, deltas, base, clock, trains, samples);
            } else {
                self.apart(&symbols, deltas, base, clock, trains, samples);
            }
            let flat = match samples[before..].last() {
                Some(sample) => self.flat(*sample),
                None => false,
            };
            self.calm = flat && whole;
        }
        symbols.clear();
        symbols.shrink_to(4_096); // one strange message is no reason to keep its room
        self.symbols = symbols;
        read.map(|_| ())
    }

    /// Whether what a sample speaks of met no queue.
    fn flat(&mut self, (sent, arrival, _): Sample) -> bool {
        let delay = arrival - sent;
        let mut least = self.least + RISE * (sent - self.least_at).max(0.0);
        if delay < least || delay > least + JUMP {
            least = delay;
        }
        (self.least, self.least_at) = (least, sent);
        delay - least <= FLAT
    }

    /// Seconds on the peer's clock, never negative and without the wrap of 24 bits.
    fn unwrapped(&mut self, reference: u32) -> f64 {
        let mut clock = f64::from(reference) * REFERENCE + self.epoch;
        if clock < self.newest - WRAP / 2.0 {
            self.epoch += WRAP;
            clock += WRAP;
        } else if clock > self.newest + WRAP / 2.0 && self.epoch != 0.0 {
            clock -= WRAP; // a late message from before the wrap
        }
        self.newest = self.newest.max(clock);
        clock
    }

    /// One sample of everything, for a message in which nothing is missing and whose first train is the
    /// oldest.
    fn together(
        &mut self,
        symbols: &[u8],
        mut deltas: Deltas,
        base: i64,
        clock: f64,
        trains: &mut VecDeque<SentTrain>,
        samples: &mut Vec<Sample>,
    ) {
        let end = base + symbols.len() as i64;
        let (mut size, mut sent, mut start) = (0, 0.0, 0);
        if let Some(train) = trains.front() {
            let count = train.count as usize;
            if 1 < count && count <= symbols.len() {
                start = count;
                deltas.skip(&symbols[..1]);
                let begun = deltas.ticks;
                deltas.skip(&symbols[1..count]);
                let following = i64::from(train.segment) * (count as i64 - 2) + i64::from(train.last);
                self.dispersion.note(following, (deltas.ticks - begun) as f64 * TICK);
            }
        }
        while let Some(part) = next_part(trains, end) {
            sent = part.at;
            size += i64::from(part.segment) * (i64::from(part.count) - 1) + i64::from(part.last);
        }
        deltas.skip(&symbols[start..]);
        samples.push((sent, deltas.time(clock), size));
    }

    /// The samples of each train: first what was lost of it, then what arrived.
    fn apart(
        &mut self,
        symbols: &[u8],
        mut deltas: Deltas,
        base: i64,
        clock: f64,
        trains: &mut VecDeque<SentTrain>,
        samples: &mut Vec<Sample>,
    ) {
        let end = base + symbols.len() as i64;
        let mut place = 0; // symbols used
        while let Some(train) = next_part(trains, end) {
            let until = train.first + i64::from(train.count);
            if until <= base {
                continue; // nothing was ever said of it
            }
            let (start, stop) = ((train.first.max(base) - base) as usize, (until - base) as usize);
            deltas.skip(symbols.get(place..start).unwrap_or_default());
            place = stop;
            let Some((part, &ending)) = symbols.get(start..stop).and_then(|part| Some((part, part.last()?)))
            else {
                continue;
            };
            let (segment, last) = (i64::from(train.segment), i64::from(train.last));
            let lost = count(part, ABSENT);
            let mut size = segment * (part.len() as i64 - 1) + last;
            if lost > 0 {
                let missing = segment * (lost as i64 - 1) + if ending == ABSENT { last } else { segment };
                samples.push((train.at, -1.0, missing));
                size -= missing;
            }
            if lost == 0 && part.len() > 1 {
                deltas.skip(&part[..1]);
                let begun = deltas.ticks;
                deltas.skip(&part[1..]);
                self.dispersion.note(size - segment, (deltas.ticks - begun) as f64 * TICK);
                samples.push((train.at, deltas.time(clock), size));
            } else if lost < part.len() {
                deltas.skip(part);
                samples.push((train.at, deltas.time(clock), size));
            }
        }
    }
}

impl Default for ArrivalFolder {
    fn default() -> Self {
        Self::new()
    }
}

/// The oldest train if it begins before `end`, taken away; of one that goes on behind `end` the part before.
fn next_part(trains: &mut VecDeque<SentTrain>, end: i64) -> Option<SentTrain> {
    let train = trains.front_mut().filter(|train| train.first < end)?;
    let within = end - train.first;
    if i64::from(train.count) <= within {
        return trains.pop_front();
    }
    let within = within as u32; // less than the count
    let part = SentTrain { count: within, last: train.segment, ..*train };
    train.first = end;
    train.count -= within;
    Some(part)
}

fn count(symbols: &[u8], wanted: u8) -> usize {
    symbols.iter().filter(|symbol| **symbol == wanted).count()
}

/// The deltas not yet read, and the sum of those that were.
struct Deltas<'a> {
    bytes: &'a [u8],
    ticks: i64,
}

impl Deltas<'_> {
    /// Read those of these symbols. There are as many as the symbols of the message need.
    fn skip(&mut self, symbols: &[u8]) {
        if !symbols.contains(&LARGE) {
            let (head, rest) = self.bytes.split_at(count(symbols, SMALL).min(self.bytes.len()));
            // 65,535 of them at most.
            self.ticks += i64::from(head.iter().map(|delta| u32::from(*delta)).sum::<u32>());
            self.bytes = rest;
            return;
        }
        for symbol in symbols {
            match (*symbol, self.bytes) {
                (SMALL, [delta, rest @ ..]) => {
                    self.ticks += i64::from(*delta);
                    self.bytes = rest;
                }
                (LARGE, [high, low, rest @ ..]) => {
                    self.ticks += i64::from(i16::from_be_bytes([*high, *low]));
                    self.bytes = rest;
                }
                _ => {}
            }
        }
    }

    fn time(&self, clock: f64) -> f64 {
        clock + self.ticks as f64 * TICK
    }
}

/// One message, apart from its symbols.
#[derive(Clone, Copy)]
struct Message<'a> {
    base: u16,
    whole: bool, // nothing is missing
    deltas: &'a [u8],
    reference: u32,
}

/// Read a message; `symbols` gets a status for each packet.
fn read<'a>(data: &'a [u8], symbols: &mut Vec<u8>) -> Result<Message<'a>, Malformed> {
    symbols.clear();
    let (head, body) = data.split_first_chunk::<FIXED>().ok_or(Malformed("transport feedback"))?;
    let mut body = without_padding(head[0], body)?;
    let total = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if total == 0 {
        return Err(Malformed("packet status count"));
    }
    while symbols.len() < total {
        let Some((&chunk, rest)) = body.split_first_chunk() else {
            return Err(Malformed("packet status chunk"));
        };
        body = rest;
        let chunk = u16::from_be_bytes(chunk);
        if chunk < 0x8000 {
            let run = usize::from(chunk & 0x1FFF);
            if run == 0 {
                return Err(Malformed("run length"));
            }
            symbols.resize((symbols.len() + run).min(total), (chunk >> 13) as u8);
        } else if chunk < 0xC000 {
            symbols.extend((0..14).rev().map(|shift| (chunk >> shift & 1) as u8));
        } else {
            symbols.extend((0..7).rev().map(|place| (chunk >> (2 * place) & 3) as u8));
        }
    }
    symbols.truncate(total);
    if symbols.contains(&RESERVED) {
        return Err(Malformed("packet status symbol"));
    }
    let (small, large) = (count(symbols, SMALL), count(symbols, LARGE));
    let deltas = body.get(..small + 2 * large).ok_or(Malformed("receive deltas"))?;
    Ok(Message {
        base: u16::from_be_bytes([head[12], head[13]]),
        whole: small + large == total,
        deltas,
        reference: u32::from_be_bytes([0, head[16], head[17], head[18]]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::write_transport_feedback;
    use crate::twcc::pack_body;

    // 1000 to 1006, 1002 lost, 1005 with a large delta; reference 0x123.
    const MESSAGE: &[u8] = b"\xAF\xCD\0\x07\x11\x11\x11\x11\xDE\xAD\xBE\xEF\
        \x03\xE8\0\x07\0\x01\x23\x09\xD4\x59\x28\x50\x3C\x14\x01\x90\x04\0\0\x03";

    fn trains(of: &[(i64, u32, f64, u32, u32)]) -> VecDeque<SentTrain> {
        of.iter()
            .map(|&(first, count, at, segment, last)| SentTrain { first, count, at, segment, last })
            .collect()
    }

    fn folded(
        folder: &mut ArrivalFolder,
        data: &[u8],
        next: i64,
        trains: &mut VecDeque<SentTrain>,
    ) -> Vec<Sample> {
        let mut samples = vec![(7.0, 7.0, 7)];
        folder.fold(data, next, trains, &mut samples).unwrap();
        assert_eq!(samples.remove(0), (7.0, 7.0, 7));
        samples
    }

    fn said(arrivals: &[(i64, i64)]) -> Vec<u8> {
        let mut data = Vec::new();
        let body = pack_body(arrivals[0].0, arrivals.iter().copied(), 0).unwrap();
        write_transport_feedback(&mut data, 1, 2, &body);
        data
    }

    fn same(samples: &[Sample], expected: &[Sample]) {
        assert_eq!(samples.len(), expected.len(), "{samples:?}");
        for (got, wanted) in samples.iter().zip(expected) {
            assert_eq!((got.0, got.2), (wanted.0, wanted.2));
            assert!((got.1 - wanted.1).abs() < 1e-6, "{got:?} {wanted:?}");
        }
    }

    #[test]
    fn a_message_is_folded_per_train() {
        let mut sent = trains(&[(990, 10, 0.5, 100, 50), (1000, 4, 1.0, 100, 60), (1004, 5, 2.0, 200, 80)]);
        let samples = folded(&mut ArrivalFolder::new(), MESSAGE, 1009, &mut sent);
        same(&samples, &[(1.0, -1.0, 100), (1.0, 18.669, 260), (2.0, 18.775, 600)]);
        assert_eq!(sent, trains(&[(1007, 2, 2.0, 200, 80)]));
    }

    #[test]
    fn the_last_packet_of_a_train_has_its_own_size() {
        // Three packets, the last one missing.
        let data = b"\x8F\xCD\0\x05\0\0\0\x01\0\0\0\x02\0\x05\0\x03\0\0\x01\0\xD4\0\0\x04";
        let samples = folded(&mut ArrivalFolder::new(), data, 8, &mut trains(&[(5, 3, 1.0, 1000, 10)]));
        same(&samples, &[(1.0, -1.0, 10), (1.0, 0.065, 2000)]);
    }

    #[test]
    fn the_peers_clock_does_not_wrap() {
        let mut folder = ArrivalFolder::new();
        let references = [0xFF_FFFF, 1, 0xFF_FFFE, 5]; // the third is late
        let clocks = [0xFF_FFFF, 0x100_0001, 0xFF_FFFE, 0x100_0005];
        for (number, (reference, clock)) in (1..).zip(references.into_iter().zip(clocks)) {
            let data = said(&[(number, reference * 64_000)]);
            let samples = folded(&mut folder, &data, number + 1, &mut trains(&[(number, 1, 0.0, 10, 10)]));
            same(&samples, &[(0.0, clock as f64 * 0.064, 10)]);
        }
    }

    #[test]
    fn after_a_calm_message_the_next_is_one_sample() {
        let mut folder = ArrivalFolder::new();
        let mut sent = trains(&[(0, 2, 1.0, 100, 50), (2, 2, 1.05, 100, 60)]);
        let data = said(&[(0, 1_000_000), (1, 1_001_000), (2, 1_050_000), (3, 1_051_000)]);
        assert_eq!(folded(&mut folder, &data, 4, &mut sent).len(), 2);
        assert!(folder.calm);
        sent = trains(&[(4, 2, 1.1, 100, 50), (6, 4, 1.15, 100, 60)]);
        let data = said(&[(4, 1_100_000), (5, 1_101_000), (6, 1_150_000), (7, 1_151_000)]);
        same(&folded(&mut folder, &data, 10, &mut sent), &[(1.15, 1.151, 350)]);
        assert_eq!(sent, trains(&[(8, 2, 1.15, 100, 60)]));
        assert!(folder.calm);
    }

    #[test]
    fn a_queue_ends_the_calm_and_the_next_message_is_told_train_by_train() {
        let mut folder = ArrivalFolder::new();
        for (number, delay) in [0, 0, 20_000, 40_000].into_iter().enumerate() {
            let (at, first) = (1.0 + 0.1 * number as f64, 2 * number as i64);
            let mut sent = trains(&[(first, 1, at, 100, 100), (first + 1, 1, at, 100, 100)]);
            let arrival = (at * 1e6).round() as i64 + delay;
            let samples =
                folded(&mut folder, &said(&[(first, arrival), (first + 1, arrival)]), first + 2, &mut sent);
            assert_eq!(folder.calm, number < 2);
            assert_eq!(samples.len(), if number == 0 || number == 3 { 2 } else { 1 });
        }
    }

    #[test]
    fn what_is_missing_ends_the_calm_at_once() {
        let mut folder = ArrivalFolder::new();
        folded(&mut folder, &said(&[(0, 1_000_000)]), 1, &mut trains(&[(0, 1, 1.0, 100, 100)]));
        assert!(folder.calm);
        let mut sent = trains(&[(1, 2, 1.1, 100, 100), (3, 1, 1.1, 100, 100)]);
        let samples = folded(&mut folder, &said(&[(1, 1_100_000), (3, 1_100_000)]), 4, &mut sent);
        same(&samples, &[(1.1, -1.0, 100), (1.1, 1.1, 100), (1.1, 1.1, 100)]);
        assert!(!folder.calm);
    }

    #[test]
    fn a_message_that_does_not_go_on_where_the_last_one_ended_is_not_calm() {
        let mut folder = ArrivalFolder::new();
        folded(&mut folder, &said(&[(0, 1_000_000)]), 1, &mut trains(&[(0, 1, 1.0, 100, 100)]));
        let mut sent = trains(&[(1, 1, 1.1, 100, 100), (2, 1, 1.1, 100, 100)]);
        assert_eq!(folded(&mut folder, &said(&[(2, 1_100_000)]), 3, &mut sent).len(), 1);
        assert!(!folder.calm);
    }

    #[test]
    fn how_far_apart_a_train_arrived_is_known_calm_or_not() {
        let mut folder = ArrivalFolder::new();
        for (number, apart) in [5_000, 5_000, 1_000, 1_000, 1_000].into_iter().enumerate() {
            let (at, first) = (1.0 + 0.1 * number as f64, 3 * number as i64);
            let us = (at * 1e6).round() as i64;
            let data = said(&[(first, us), (first + 1, us + apart / 2), (first + 2, us + apart)]);
            folded(&mut folder, &data, first + 3, &mut trains(&[(first, 3, at, 1_000, 500)]));
            assert!(folder.calm);
            assert_eq!(folder.dispersion.burst, 1_500 * 20_000 / if number == 4 { 1_000 } else { 5_000 });
        }
        let lossy = said(&[(15, 2_000_000), (17, 2_000_000)]);
        folded(&mut folder, &lossy, 18, &mut trains(&[(15, 3, 2.0, 1_000, 500)]));
        assert_eq!(folder.dispersion.burst, 30_000); // a torn train tells nothing
    }

    #[test]
    fn any_bytes_are_folded_or_refused_and_then_nothing_has_changed() {
        let mut next = crate::chance::numbers();
        let mut folder = ArrivalFolder::new();
        let before = trains(&[(990, 10, 0.5, 100, 50), (1000, 4, 1.0, 100, 60), (1004, 5, 2.0, 200, 80)]);
        for round in 0..50_000 {
            let mut data = MESSAGE.to_vec();
            if round % 2 == 0 {
                data.truncate(20);
                data.extend((0..next() % 200).map(|_| next() as u8));
            }
            for _ in 0..next() % 4 {
                let place = next() as usize % data.len();
                data[place] = next() as u8;
            }
            data.truncate(next() as usize % (2 * data.len()));
            let (mut sent, mut samples) = (before.clone(), Vec::new());
            let calm = folder.calm;
            if folder.fold(&data, 1009, &mut sent, &mut samples).is_err() {
                assert_eq!((&sent, samples.len(), folder.calm), (&before, 0, calm));
            }
            assert!(folder.symbols.capacity() <= 4_096);
        }
    }
}
