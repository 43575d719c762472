//! Numbers for tests that try what nobody thought of: the same ones at every run, so that a red run is red again.

/// Each call gives the next number of one fixed sequence (xorshift of 64 bits).
pub fn numbers() -> impl FnMut() -> u64 {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}
