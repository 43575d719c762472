//! Arithmetic of counters that wrap: RTP sequence numbers and RTP timestamps.
//!
//! Of two wrapped values the nearer interpretation is taken: less than half the range forward is newer, else older
//! (RFC 3550 A.1). An exact half counts as older.

/// Signed distance from `older` to `newer`: -32768..=32767.
#[inline]
pub fn difference16(newer: u16, older: u16) -> i32 {
    i32::from(newer.wrapping_sub(older) as i16)
}

/// Signed distance from `older` to `newer`: -2^31..=2^31-1.
#[inline]
pub fn difference32(newer: u32, older: u32) -> i32 {
    newer.wrapping_sub(older) as i32
}

/// The extended number that 16 bits mean, nearest to `highest`: `highest` - 32768..=`highest` + 32767.
#[inline]
pub fn nearest16(sequence: u16, highest: i64) -> i64 {
    highest.wrapping_add(i64::from(difference16(sequence, highest as u16)))
}

/// Turns 16-bit sequence numbers into ones that never wrap.
///
/// Every value is placed nearest to the highest one seen. The first is taken as it is; one that is older than the
/// first may therefore come out negative, and is still right modulo 2^16.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwrapper16 {
    highest: Option<i64>,
}

impl Unwrapper16 {
    /// An unwrapper that has seen nothing.
    pub const fn new() -> Self {
        Self { highest: None }
    }

    /// The highest extended value so far; None before the first.
    #[inline]
    pub fn highest(&self) -> Option<i64> {
        self.highest
    }

    /// The extended value of `value` without remembering it.
    #[inline]
    pub fn peek(&self, value: u16) -> i64 {
        match self.highest {
            Some(highest) => nearest16(value, highest),
            None => i64::from(value),
        }
    }

    /// The extended value of `value`; the highest moves on when this one is newer.
    #[inline]
    pub fn unwrap(&mut self, value: u16) -> i64 {
        let extended = self.peek(value);
        if self.highest.is_none_or(|highest| extended > highest) {
            self.highest = Some(extended);
        }
        extended
    }

    /// Forget everything: the next value starts anew.
    pub fn reset(&mut self) {
        self.highest = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_across_the_wrap() {
        assert_eq!(difference16(2, 65534), 4);
        assert_eq!(difference16(65534, 2), -4);
        assert_eq!(difference16(32767, 0), 32767);
        assert_eq!(difference16(32768, 0), -32768);
        assert_eq!(difference32(5, 4294967290), 11);
        assert_eq!(difference32(4294967290, 5), -11);
        assert_eq!(difference32(1 << 31, 0), i32::MIN);
    }

    #[test]
    fn unwrapping_through_wraps_and_reordering() {
        let mut unwrapper = Unwrapper16::new();
        assert_eq!(unwrapper.highest(), None);
        let extended = [65533, 65535, 65534, 1, 0, 65532, 2].map(|s| unwrapper.unwrap(s));
        assert_eq!(extended, [65533, 65535, 65534, 65537, 65536, 65532, 65538]);
        assert_eq!(unwrapper.highest(), Some(65538));
        assert_eq!(unwrapper.peek(1), 65537);
        assert_eq!(unwrapper.highest(), Some(65538));
        unwrapper.reset();
        assert_eq!(unwrapper.unwrap(40000), 40000);
    }

    #[test]
    fn a_value_before_the_first_is_negative_and_right_modulo() {
        let mut unwrapper = Unwrapper16::new();
        assert_eq!(unwrapper.unwrap(1), 1);
        assert_eq!(unwrapper.unwrap(65535), -1);
        assert_eq!(unwrapper.highest(), Some(1));
    }

    #[test]
    fn unwrapping_follows_any_walk_of_small_steps() {
        let mut next = crate::chance::numbers();
        let mut unwrapper = Unwrapper16::new();
        let mut highest = 65_000_i64;
        assert_eq!(unwrapper.unwrap(65_000), highest);
        for _ in 0..50_000 {
            let place = highest + (next() % 60_001) as i64 - 30_000;
            assert_eq!(unwrapper.unwrap(place as u16), place);
            highest = highest.max(place);
        }
        assert_eq!(unwrapper.highest(), Some(highest));
    }
}
