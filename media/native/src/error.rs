//! Bytes from outside that are not what they should be.

/// Why some bytes could not be read, in a few words; never shown to people, only counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);
