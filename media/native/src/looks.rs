//! How long datagrams gather between two looks at the UDP sockets.
//!
//! A look costs the same whatever it brings: waking up, two system calls, and memory that others have used meanwhile.
//! While the thread has little to do it looks often and nothing waits for long; the more of its time it works, the more
//! each look should bring.

const LEAST: f64 = 0.001; // s
const MOST: f64 = 0.002; // s
const CALM: f64 = 0.1; // share of its time that the thread works, up to which it looks as often as it may
const BUSY: f64 = 0.2; // share from which on the most may gather
const MEMORY: f64 = 0.25; // s over which the share is taken

/// The share of its time that the thread works, and what follows from it.
#[derive(Default)]
pub struct Looks {
    share: f64,
}

impl Looks {
    /// Seconds that the thread waited, and then worked.
    pub fn turned(&mut self, waited: f64, worked: f64) {
        let whole = waited.max(0.0) + worked.max(0.0);
        if whole > 0.0 {
            self.share += (worked.max(0.0) / whole - self.share) * (whole / MEMORY).min(1.0);
        }
    }

    /// Seconds from one look to the next.
    pub fn apart(&self) -> f64 {
        LEAST + (MOST - LEAST) * ((self.share - CALM) / (BUSY - CALM)).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds between looks after turns of `worked` in each `whole` seconds.
    fn apart(worked: f64, whole: f64) -> f64 {
        let mut looks = Looks::default();
        for _ in 0..2_000 {
            looks.turned(whole - worked, worked);
        }
        looks.apart()
    }

    #[test]
    fn a_thread_with_little_to_do_looks_often() {
        assert_eq!(Looks::default().apart(), LEAST);
        assert_eq!(apart(0.0, 0.001), LEAST);
        assert_eq!(apart(0.000_09, 0.001), LEAST);
    }

    #[test]
    fn the_more_it_works_the_more_gathers() {
        assert!((apart(0.000_15, 0.001) - (LEAST + MOST) / 2.0).abs() < 1e-6);
        assert_eq!(apart(0.000_3, 0.001), MOST);
        assert_eq!(apart(0.001, 0.001), MOST);
    }

    #[test]
    fn one_long_turn_does_not_make_it_busy() {
        let mut looks = Looks::default();
        (0..100).for_each(|_| looks.turned(0.001, 0.0));
        looks.turned(0.001, 0.005);
        assert_eq!(looks.apart(), LEAST);
    }

    #[test]
    fn a_long_rest_makes_it_calm_again() {
        let mut looks = Looks::default();
        (0..2_000).for_each(|_| looks.turned(0.0, 0.001));
        assert_eq!(looks.apart(), MOST);
        looks.turned(1.0, 0.000_1);
        assert_eq!(looks.apart(), LEAST);
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_breaks_nothing() {
        let mut looks = Looks::default();
        looks.turned(0.0, 0.0);
        looks.turned(-1.0, -1.0);
        assert_eq!(looks.apart(), LEAST);
    }
}
