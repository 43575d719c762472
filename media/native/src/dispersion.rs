//! What a path carries in a moment, from how far apart the packets of one train arrive.
//!
//! A train leaves as one message, so its packets reach the narrowest link of the way together and leave it as
//! far apart as that link makes them (packet-train dispersion).

use std::collections::VecDeque;

use crate::twcc::TICK;

/// The last ones; the median does not mind a receiver that read late, or a train that met another.
const TRAINS: usize = 9;
/// Seconds of queue in front of the narrowest link that a burst may make.
const MOMENT: f64 = 0.020;

/// One path.
#[derive(Debug, Default)]
pub struct Dispersion {
    /// Bytes that the path takes in a moment, 0 = not known.
    pub burst: usize,
    rates: VecDeque<f64>, // bytes/s
}

impl Dispersion {
    /// A path of which nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of a train whose packets all arrived, `size` bytes came in the `seconds` after its first packet.
    pub fn note(&mut self, size: i64, seconds: f64) {
        if self.rates.len() == TRAINS {
            self.rates.pop_front();
        }
        self.rates.push_back(size as f64 / seconds.max(TICK)); // closer together is not told apart
        let mut sorted = [0.0; TRAINS];
        let sorted = &mut sorted[..self.rates.len()];
        for (place, rate) in sorted.iter_mut().zip(&self.rates) {
            *place = *rate;
        }
        sorted.sort_unstable_by(f64::total_cmp);
        let median = sorted[(sorted.len() - 1) / 2]; // the lower of two
        self.burst = (MOMENT * median).round_ties_even() as usize;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thin_link_takes_little_and_a_fast_one_much() {
        let (mut thin, mut fast) = (Dispersion::new(), Dispersion::new());
        for _ in 0..3 {
            thin.note(2_200, 0.0088); // 2 Mbit/s
            fast.note(2_200, 0.0);
        }
        assert_eq!(thin.burst, 5_000);
        assert!(fast.burst > 100_000);
    }

    #[test]
    fn nothing_is_known_of_a_path_that_has_carried_no_train() {
        assert_eq!(Dispersion::new().burst, 0);
    }

    #[test]
    fn a_receiver_that_reads_late_now_and_then_makes_no_link_fast() {
        let mut path = Dispersion::new();
        for number in 0..40 {
            path.note(2_200, if number % 3 == 0 { 0.0 } else { 0.0088 });
        }
        assert_eq!(path.burst, 5_000);
    }

    #[test]
    fn a_path_that_has_become_thin_is_known_after_a_few_trains() {
        let mut path = Dispersion::new();
        for _ in 0..20 {
            path.note(2_200, 0.0);
        }
        for _ in 0..5 {
            path.note(2_200, 0.0088);
        }
        assert_eq!(path.burst, 5_000);
    }
}
