//! NTP timestamps as RTCP carries them: 32 bits of seconds since 1900 and 32 bits of fraction (RFC 3550 4).

/// 1970-01-01 in NTP seconds.
pub const UNIX_EPOCH: f64 = 2_208_988_800.0;
const FRACTION: f64 = 4_294_967_296.0; // units in a second

/// A 64-bit NTP timestamp of seconds since 1970; wraps in 2036 as the format does.
pub fn from_unix(wallclock: f64) -> u64 {
    // By way of i128: a float cast to u64 would stop at its end instead of wrapping.
    ((wallclock + UNIX_EPOCH) * FRACTION).round_ties_even() as i128 as u64
}

/// Seconds since 1970 of a 64-bit NTP timestamp of the era 1900-2036 (resolution of a float: 0.2 us).
pub fn to_unix(ntp: u64) -> f64 {
    ntp as f64 / FRACTION - UNIX_EPOCH
}

/// The middle 32 bits (units of 1/65536 s), as LSR and RTT arithmetic use them (RFC 3550 6.4.1).
#[inline]
pub fn middle32(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants() {
        assert_eq!(from_unix(0.0), 2_208_988_800 << 32);
        assert_eq!(from_unix(1_700_000_000.5), (3_908_988_800 << 32) | 0x8000_0000);
        assert_eq!(to_unix((3_908_988_800 << 32) | 0x8000_0000), 1_700_000_000.5);
        assert_eq!(middle32(0x1234_5678_9ABC_DEF0), 0x5678_9ABC);
    }

    #[test]
    fn the_era_wraps_in_2036() {
        assert_eq!(from_unix(4_294_967_296.0 - UNIX_EPOCH), 0);
        assert_eq!(from_unix(4_294_967_297.0 - UNIX_EPOCH), 1 << 32);
    }

    #[test]
    fn no_instant_panics() {
        for wallclock in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, -1e12] {
            from_unix(wallclock);
        }
    }
}
