//! Bytes of tests as specifications and captures print them.

/// The bytes of pairs of digits, between which there may be blanks.
pub fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> =
        hex.split_whitespace().flat_map(str::chars).map(|digit| digit.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}
