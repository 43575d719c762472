//! Reception statistics of one incoming stream and round-trip times (RFC 3550 6.4, A.1, A.3, A.8).

use crate::ntp;
use crate::rtcp::ReportBlock;
use crate::sequence::difference32;

const MAX_DROPOUT: u16 = 3_000; // packets forward that are still a gap, not a new start
const MAX_MISORDER: u16 = 100; // packets back that are still reordering

/// Our wallclock and the RTP timestamp of one instant, by a sender report.
pub type Report = (f64, u32);

/// What a report block says of one SSRC.
///
/// Call `received` for every packet as it came from the network (RTX not unwrapped into it), `sender_report` for every
/// SR of the source, `report_block` when a report is due. Times are monotonic seconds.
#[derive(Clone, Debug)]
pub struct Reception {
    clock_rate: f64,
    base: Option<i64>,
    highest: i64, // extended: cycles included
    received: i64,
    expected_before: i64,
    received_before: i64,
    jitter: f64, // ticks
    timestamp: u32,
    arrival_ticks: f64,
    last_sr: u32,
    last_sr_time: f64,
    restart_at: Option<u16>,
}

impl Reception {
    /// Statistics of a stream whose RTP clock has `clock_rate` ticks per second.
    pub fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate: f64::from(clock_rate),
            base: None,
            highest: 0,
            received: 0,
            expected_before: 0,
            received_before: 0,
            jitter: 0.0,
            timestamp: 0,
            arrival_ticks: 0.0,
            last_sr: 0,
            last_sr_time: 0.0,
            restart_at: None,
        }
    }

    /// A packet arrived. A jump in sequence is believed when a second packet follows it (RFC 3550 A.1).
    pub fn received(&mut self, sequence: u16, timestamp: u32, now: f64) {
        if self.base.is_none() {
            self.start(sequence);
        } else {
            let step = sequence.wrapping_sub(self.highest as u16);
            if step < MAX_DROPOUT {
                self.highest += i64::from(step);
            } else if step <= MAX_MISORDER.wrapping_neg() {
                if self.restart_at != Some(sequence) {
                    self.restart_at = Some(sequence.wrapping_add(1));
                    return;
                }
                self.start(sequence);
            }
        }
        let arrival = now * self.clock_rate;
        if self.received > 0 {
            let transit_change =
                (arrival - self.arrival_ticks) - f64::from(difference32(timestamp, self.timestamp));
            self.jitter += (transit_change.abs() - self.jitter) / 16.0;
        }
        self.arrival_ticks = arrival;
        self.timestamp = timestamp;
        self.received += 1;
    }

    /// An SR of this source arrived; its 64-bit NTP time comes back to the sender as LSR.
    pub fn sender_report(&mut self, ntp: u64, now: f64) {
        self.last_sr = ntp::middle32(ntp);
        self.last_sr_time = now;
    }

    /// The block for this source, and the start of the next interval. None before the first packet.
    pub fn report_block(&mut self, ssrc: u32, now: f64) -> Option<ReportBlock> {
        let expected = self.highest - self.base? + 1;
        let expected_interval = expected - self.expected_before;
        let lost_interval = expected_interval - (self.received - self.received_before);
        self.expected_before = expected;
        self.received_before = self.received;
        let fraction_lost = if expected_interval > 0 && lost_interval > 0 {
            ((lost_interval << 8) / expected_interval).min(255) as u8
        } else {
            0
        };
        let delay_since_last_sr = match self.last_sr {
            0 => 0,
            _ => ((now - self.last_sr_time) * 65_536.0).round_ties_even() as u32, // the cast saturates
        };
        Some(ReportBlock {
            ssrc,
            fraction_lost,
            cumulative_lost: (expected - self.received).clamp(-0x80_0000, 0x7F_FFFF) as i32,
            highest_sequence: self.highest as u32,
            jitter: self.jitter as u32,
            last_sr: self.last_sr,
            delay_since_last_sr,
        })
    }

    /// Packets lost since the last start of the numbers; negative when duplicates, which count as received, outnumber
    /// losses.
    pub fn lost(&self) -> i64 {
        self.base.map_or(0, |base| self.highest - base + 1) - self.received
    }

    /// Interarrival jitter in seconds.
    pub fn jitter(&self) -> f64 {
        self.jitter / self.clock_rate
    }

    fn start(&mut self, sequence: u16) {
        self.highest = i64::from(sequence);
        self.base = Some(self.highest);
        self.received = 0;
        self.received_before = 0;
        self.expected_before = 0;
        self.restart_at = None;
    }
}

/// Seconds from our report to the peer and back, from the peer's answer received at `ntp_now` (64 bits).
///
/// `last` and `delay` are LSR and DLSR of a report block, for the time since our SR, or LRR and DLRR of a DLRR item
/// (RFC 3611 4.5), since our RRTR; both in 1/65536 s. None when the peer has not yet seen one (`last` = 0), or when
/// the answer is impossible (a peer that claims a longer delay than has passed).
pub fn round_trip_time(last: u32, delay: u32, ntp_now: u64) -> Option<f64> {
    if last == 0 {
        return None;
    }
    let elapsed = i64::from(difference32(ntp::middle32(ntp_now), last)) - i64::from(delay);
    if elapsed < 0 {
        // The clocks' granularity may make a loopback answer look early by a tick or two.
        return (elapsed > -66).then_some(0.0);
    }
    Some(elapsed as f64 / 65_536.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_say_before_the_first_packet() {
        assert_eq!(Reception::new(90_000).report_block(1, 0.0), None);
        assert_eq!(Reception::new(90_000).lost(), 0);
    }

    #[test]
    fn losses_of_an_interval_and_in_total() {
        let mut statistics = Reception::new(48_000);
        let mut packet = |sequence: u32| {
            statistics.received(sequence as u16, sequence.wrapping_mul(960), f64::from(sequence) * 0.02);
            (sequence == 65_599 || sequence == 65_609).then(|| statistics.report_block(7, 2_000.0)).flatten()
        };
        let block =
            (65_500..65_600).filter(|sequence| sequence % 4 != 0).filter_map(&mut packet).last().unwrap();
        assert_eq!(block.ssrc, 7);
        assert_eq!(block.highest_sequence, 65_599); // one cycle: 65536 + 63
        assert_eq!(block.cumulative_lost, 24); // 65500 itself came before the first packet received
        assert_eq!(block.fraction_lost, 62); // 24 of 99 in 1/256
        assert_eq!(block.jitter, 0);
        let block = (65_600..65_610).filter_map(&mut packet).last().unwrap();
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 24));
    }

    #[test]
    fn duplicates_make_losses_negative_but_not_the_fraction() {
        let mut statistics = Reception::new(90_000);
        for sequence in [1, 2, 2, 2] {
            statistics.received(sequence, 0, 0.0);
        }
        let block = statistics.report_block(1, 0.0).unwrap();
        assert_eq!((block.cumulative_lost, block.fraction_lost), (-2, 0));
    }

    #[test]
    fn late_packets_count_as_received() {
        let mut statistics = Reception::new(90_000);
        for sequence in [10, 12, 11, 13] {
            statistics.received(sequence, 0, 0.0);
        }
        assert_eq!(statistics.lost(), 0);
        assert_eq!(statistics.highest, 13);
    }

    #[test]
    fn jitter_of_a_constant_alternation() {
        // Every packet is 10 ms off in turn: |D| is always 10 ms = 480 ticks, J tends to it.
        let mut statistics = Reception::new(48_000);
        for index in 0..200_u16 {
            let late = if index % 2 == 1 { 0.010 } else { 0.0 };
            statistics.received(index, u32::from(index) * 960, f64::from(index) * 0.02 + late);
        }
        let block = statistics.report_block(1, 10.0).unwrap();
        assert!((470..=480).contains(&block.jitter));
        assert!((statistics.jitter() - 0.010).abs() < 0.0002);
    }

    #[test]
    fn a_jump_needs_two_packets_in_sequence() {
        let mut statistics = Reception::new(90_000);
        for sequence in [1, 2, 3, 30_000] {
            statistics.received(sequence, 0, 0.0);
        }
        assert_eq!(statistics.highest, 3);
        statistics.received(4, 0, 0.0);
        assert_eq!(statistics.received, 4);
        for sequence in [40_000, 40_001, 40_002] {
            statistics.received(sequence, 0, 0.0);
        }
        assert_eq!((statistics.highest, statistics.received, statistics.lost()), (40_002, 2, 0));
    }

    #[test]
    fn the_limits_of_a_gap_and_of_reordering() {
        let mut statistics = Reception::new(90_000);
        for (sequence, received) in [(100, 1), (3_099, 2), (2_999, 2), (3_000, 3), (6_099, 3), (6_098, 4)] {
            statistics.received(sequence, 0, 0.0);
            assert_eq!(statistics.received, received, "{sequence}");
        }
    }

    #[test]
    fn last_sender_report_and_its_age() {
        let mut statistics = Reception::new(90_000);
        statistics.received(1, 0, 0.0);
        let block = statistics.report_block(1, 1.0).unwrap();
        assert_eq!((block.last_sr, block.delay_since_last_sr), (0, 0));
        statistics.sender_report(0x1234_5678_9ABC_DEF0, 10.0);
        let block = statistics.report_block(1, 10.5).unwrap();
        assert_eq!((block.last_sr, block.delay_since_last_sr), (0x5678_9ABC, 32_768));
        assert_eq!(statistics.report_block(1, 9.0).unwrap().delay_since_last_sr, 0);
    }

    #[test]
    fn round_trip_of_the_example_in_the_rfc() {
        // RFC 3550 6.4.1, figure 2: A = 0xb710:8000, LSR = 0xb705:2000, DLSR = 0x0005:4000 -> 6.125 s
        assert_eq!(round_trip_time(0xB705_2000, 0x0005_4000, 0x0000_B710_8000_0000), Some(6.125));
    }

    #[test]
    fn no_round_trip_without_a_report_or_with_an_impossible_one() {
        let now = ntp::from_unix(1_700_000_000.0);
        let middle = ntp::middle32(now);
        assert_eq!(round_trip_time(0, 0, now), None);
        assert_eq!(round_trip_time(middle, 1, now), Some(0.0));
        assert_eq!(round_trip_time(middle, 65, now), Some(0.0));
        assert_eq!(round_trip_time(middle, 66, now), None);
        assert_eq!(round_trip_time(middle, u32::MAX, now), None);
    }

    #[test]
    fn round_trip_across_the_wrap_of_the_middle_bits() {
        assert_eq!(round_trip_time(0xFFFF_8000, 0x4000, 0x8000_0000), Some(0.75));
    }

    #[test]
    fn any_input_gives_a_block_that_can_be_written() {
        let mut next = crate::chance::numbers();
        let mut statistics = Reception::new(90_000);
        let mut restarts = 0;
        for _ in 0..50_000 {
            let seed = next();
            let now = (seed >> 44) as f64;
            // Mostly near each other, so that restarts and reordering both happen.
            let sequence = if seed & 3 == 0 { seed >> 2 } else { seed >> 2 & 127 } as u16;
            let before = statistics.received;
            statistics.received(sequence, (seed >> 20) as u32, now);
            restarts += u32::from(statistics.received < before);
            let block = statistics.report_block(1, now).unwrap();
            assert!((-0x80_0000..=0x7F_FFFF).contains(&block.cumulative_lost));
        }
        assert!(restarts > 0);
    }
}
