//! SRTP and SRTCP in place: RFC 3711 with AES128_CM_SHA1_80, RFC 7714 with AEAD_AES_128_GCM; one context per direction
//! and transport. Indices, windows and what is refused are libsrtp's with `allow_repeat_tx` off, so that either can be
//! at the other end. Only packets that authenticate change what a receiver knows.

use aes::Aes128;
use ctr::CtrCore;
use ctr::cipher::{InnerIvInit, KeyInit, StreamCipherCore};
use ctr::flavors::Ctr128BE;
use hmac::{Hmac, Mac};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustc_hash::FxHashMap;
use sha1::Sha1;

use crate::messages::SrtpProfile;

/// Bytes that protection adds at most: RTCP in GCM, tag 16 + index 4.
pub const MAX_TRAILER: usize = 20;

const MASTER_KEY: usize = 16;
const SALT: usize = 14; // a salt of GCM has 12 bytes and is padded for the derivation
const AUTHENTICATION_KEY: usize = 20;
const CM_TAG: usize = 10;
const GCM_TAG: usize = 16;
const RTP_HEADER: usize = 12;
const RTCP_HEADER: usize = 8; // what stays readable: the first header and the sender's SSRC
const RTCP_INDEX: usize = 4;
const ENCRYPTED: u32 = 1 << 31; // E bit in front of the SRTCP index
const LAST_INDEX: u64 = (1 << 48) - 1; // then the master key is used up (RFC 3711 9.2)
const LAST_RTCP_INDEX: u32 = ENCRYPTED - 1;
const HALF: u64 = 1 << 15;
const TURN: u64 = 1 << 16;

/// Why a packet could not be protected or unprotected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrtpError {
    /// The key has not the length its profile needs.
    Key,
    /// It is no RTP or RTCP packet, or too short for what protects it.
    Malformed,
    /// The buffer has no room for the trailer.
    NoRoom,
    /// We sent this SSRC and index already, or it is too old to know.
    Repeated,
    /// The peer's index was received already, or it is too old to know.
    Replayed,
    /// The tag is wrong, or the packet is not encrypted although it should be.
    Unauthenticated,
    /// Every index of the key is used up.
    Expired,
}

/// Bytes of master key and salt together.
pub const fn key_length(profile: SrtpProfile) -> usize {
    match profile {
        SrtpProfile::Aes128CmSha1_80 => MASTER_KEY + 14,
        SrtpProfile::AeadAes128Gcm => MASTER_KEY + 12,
    }
}

// --------------------------------------------------------------------------- indices

/// Which of the last `SIZE` indices were seen. Bits lie in a ring of words, one more than the window fills.
#[derive(Clone)]
struct Window<const WORDS: usize> {
    top: u64,
    words: [u64; WORDS],
}

impl<const WORDS: usize> Default for Window<WORDS> {
    fn default() -> Self {
        Self { top: 0, words: [0; WORDS] }
    }
}

impl<const WORDS: usize> Window<WORDS> {
    const SIZE: u64 = (WORDS as u64 - 1) * 64;

    /// Whether the index is neither seen nor too old to know.
    fn is_new(&self, index: u64) -> bool {
        if index > self.top {
            return true;
        }
        self.top - index < Self::SIZE && self.words[Self::word(index)] & Self::bit(index) == 0
    }

    fn add(&mut self, index: u64) {
        if index > self.top {
            let (from, to) = (self.top / 64, index / 64);
            for word in (from + 1..=to).take(WORDS) {
                self.words[(word % WORDS as u64) as usize] = 0;
            }
            self.top = index;
        }
        self.words[Self::word(index)] |= Self::bit(index);
    }

    fn word(index: u64) -> usize {
        (index / 64 % WORDS as u64) as usize
    }

    fn bit(index: u64) -> u64 {
        1 << (index % 64)
    }

    /// The index a sequence number most likely has (RFC 3711 3.3.1). There is no roll-over before the first one.
    fn estimate(&self, sequence: u16) -> u64 {
        let (base, last, next) = (self.top & !(TURN - 1), self.top % TURN, u64::from(sequence));
        if self.top <= HALF {
            next
        } else if last < HALF && next > last + HALF {
            (base + next) - TURN
        } else if last >= HALF && next < last - HALF {
            base + next + TURN
        } else {
            base + next
        }
    }
}

/// What is known of one SSRC that we send.
#[derive(Default)]
struct Sent {
    rtp: Window<3>, // 128 packets
    rtcp: u32,      // the last index
}

/// What is known of one SSRC that we receive.
#[derive(Default)]
struct Received {
    rtp: Window<17>, // 1,024 packets; RFC 3711 3.3.2 asks for at least 64
    rtcp: Window<3>, // 128 packets
}

// --------------------------------------------------------------------------- ciphers

/// The session keys of RTP or of RTCP.
#[allow(clippy::large_enum_variant)] // there is one per direction
enum Cipher {
    Counter { aes: Aes128, mac: Hmac<Sha1>, salt: [u8; 14] },
    Gcm { key: LessSafeKey, salt: [u8; 12] },
}

/// Derive `N` bytes for one label (RFC 3711 4.3), the key derivation rate being 0.
fn derive<const N: usize>(master: &Aes128, salt: &[u8; SALT], label: u8) -> [u8; N] {
    let mut iv = [0; 16];
    iv[..SALT].copy_from_slice(salt);
    iv[7] ^= label;
    let mut derived = [0; N];
    apply_keystream(master, iv, &mut derived);
    derived
}

impl Cipher {
    /// The session keys from the master key and salt; RTP's labels begin at 0, RTCP's at 3.
    fn new(profile: SrtpProfile, key: &[u8], first_label: u8) -> Result<Self, SrtpError> {
        if key.len() != key_length(profile) {
            return Err(SrtpError::Key);
        }
        let (key, rest) = key.split_at(MASTER_KEY);
        let mut salt = [0; SALT];
        salt[..rest.len()].copy_from_slice(rest);
        let master = Aes128::new_from_slice(key).map_err(|_| SrtpError::Key)?;
        let key: [u8; MASTER_KEY] = derive(&master, &salt, first_label);
        match profile {
            SrtpProfile::Aes128CmSha1_80 => {
                let mac: [u8; AUTHENTICATION_KEY] = derive(&master, &salt, first_label + 1);
                Self::counter(&key, &mac, derive(&master, &salt, first_label + 2))
            }
            SrtpProfile::AeadAes128Gcm => Self::gcm(&key, derive(&master, &salt, first_label + 2)),
        }
    }

    fn counter(key: &[u8; 16], mac: &[u8; 20], salt: [u8; 14]) -> Result<Self, SrtpError> {
        Ok(Self::Counter {
            aes: Aes128::new(key.into()),
            mac: Hmac::new_from_slice(mac).map_err(|_| SrtpError::Key)?,
            salt,
        })
    }

    fn gcm(key: &[u8; 16], salt: [u8; 12]) -> Result<Self, SrtpError> {
        let key = UnboundKey::new(&AES_128_GCM, key).map_err(|_| SrtpError::Key)?;
        Ok(Self::Gcm { key: LessSafeKey::new(key), salt })
    }

    /// Protect `packet[..len]`, of which `header` bytes stay readable; the tag goes behind it, into the rest.
    fn seal_rtp(&self, packet: &mut [u8], header: usize, ssrc: u32, index: u64) -> Result<(), SrtpError> {
        let (packet, tag) = split_tag(packet, self.tag())?;
        match self {
            Self::Counter { aes, mac, salt } => {
                count(aes, salt, ssrc, index, &mut packet[header..]);
                let mac = mac.clone().chain_update(packet).chain_update(rollovers(index).to_be_bytes());
                tag.copy_from_slice(&mac.finalize().into_bytes()[..CM_TAG]);
                Ok(())
            }
            Self::Gcm { key, salt } => {
                let (header, payload) = packet.split_at_mut(header);
                let sealed = key
                    .seal_in_place_separate_tag(nonce(salt, ssrc, index), Aad::from(&*header), payload)
                    .map_err(|_| SrtpError::Malformed)?;
                tag.copy_from_slice(sealed.as_ref());
                Ok(())
            }
        }
    }

    fn open_rtp(&self, packet: &mut [u8], header: usize, ssrc: u32, index: u64) -> Result<(), SrtpError> {
        let (packet, tag) = split_tag(packet, self.tag())?;
        match self {
            Self::Counter { aes, mac, salt } => {
                mac.clone()
                    .chain_update(&*packet)
                    .chain_update(rollovers(index).to_be_bytes())
                    .verify_truncated_left(tag)
                    .map_err(|_| SrtpError::Unauthenticated)?;
                count(aes, salt, ssrc, index, &mut packet[header..]);
                Ok(())
            }
            Self::Gcm { key, salt } => {
                let (header, payload) = packet.split_at_mut(header);
                open(key, nonce(salt, ssrc, index), header, tag, payload)
            }
        }
    }

    /// Protect `packet` without its trailer, which is its last bytes: in GCM tag and index, else index and tag.
    fn seal_rtcp(&self, packet: &mut [u8], ssrc: u32, index: u32) -> Result<(), SrtpError> {
        let word = (index | ENCRYPTED).to_be_bytes();
        match self {
            Self::Counter { aes, mac, salt } => {
                let (packet, tag) = split_tag(packet, CM_TAG)?;
                let (plain, place) = split_tag(packet, RTCP_INDEX)?;
                place.copy_from_slice(&word);
                count(aes, salt, ssrc, index.into(), &mut plain[RTCP_HEADER..]);
                let sealed = mac.clone().chain_update(packet).finalize().into_bytes();
                tag.copy_from_slice(&sealed[..CM_TAG]);
                Ok(())
            }
            Self::Gcm { key, salt } => {
                let (packet, place) = split_tag(packet, RTCP_INDEX)?;
                place.copy_from_slice(&word);
                let (plain, tag) = split_tag(packet, GCM_TAG)?;
                let (header, payload) = plain.split_at_mut(RTCP_HEADER);
                let known = readable(header, word);
                let sealed = key
                    .seal_in_place_separate_tag(nonce(salt, ssrc, index.into()), Aad::from(known), payload)
                    .map_err(|_| SrtpError::Malformed)?;
                tag.copy_from_slice(sealed.as_ref());
                Ok(())
            }
        }
    }

    fn open_rtcp(&self, packet: &mut [u8], ssrc: u32, index: u32) -> Result<(), SrtpError> {
        match self {
            Self::Counter { aes, mac, salt } => {
                let (packet, tag) = split_tag(packet, CM_TAG)?;
                mac.clone()
                    .chain_update(&*packet)
                    .verify_truncated_left(tag)
                    .map_err(|_| SrtpError::Unauthenticated)?;
                let (cipher, _) = split_tag(packet, RTCP_INDEX)?;
                count(aes, salt, ssrc, index.into(), &mut cipher[RTCP_HEADER..]);
                Ok(())
            }
            Self::Gcm { key, salt } => {
                let (packet, _) = split_tag(packet, RTCP_INDEX)?;
                let (cipher, tag) = split_tag(packet, GCM_TAG)?;
                let (header, payload) = cipher.split_at_mut(RTCP_HEADER);
                let known = readable(header, (index | ENCRYPTED).to_be_bytes());
                open(key, nonce(salt, ssrc, index.into()), &known, tag, payload)
            }
        }
    }

    /// Where the index of a protected RTCP packet of `len` bytes lies.
    fn rtcp_index(&self, len: usize) -> usize {
        match self {
            Self::Counter { .. } => len - CM_TAG - RTCP_INDEX,
            Self::Gcm { .. } => len - RTCP_INDEX,
        }
    }

    fn tag(&self) -> usize {
        match self {
            Self::Counter { .. } => CM_TAG,
            Self::Gcm { .. } => GCM_TAG,
        }
    }
}

fn apply_keystream(aes: &Aes128, iv: [u8; 16], data: &mut [u8]) {
    CtrCore::<_, Ctr128BE>::inner_iv_init(aes, &iv.into()).apply_keystream_partial(data.into());
}

/// How often the sequence number began anew.
fn rollovers(index: u64) -> u32 {
    (index >> 16) as u32
}

/// Encrypt or decrypt in AES counter mode (RFC 3711 4.1.1).
fn count(aes: &Aes128, salt: &[u8; 14], ssrc: u32, index: u64, payload: &mut [u8]) {
    let mut iv = (u128::from(ssrc) << 64) | (u128::from(index) << 16);
    let mut salted = [0; 16];
    salted[..SALT].copy_from_slice(salt);
    iv ^= u128::from_be_bytes(salted);
    apply_keystream(aes, iv.to_be_bytes(), payload);
}

/// The nonce of one packet: RFC 7714 8.1 with a 48-bit index, 9.1 with one of 31 bits, which lie alike.
fn nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[2..6].copy_from_slice(&ssrc.to_be_bytes());
    bytes[6..].copy_from_slice(&index.to_be_bytes()[2..]);
    for (byte, salt) in bytes.iter_mut().zip(salt) {
        *byte ^= salt;
    }
    Nonce::assume_unique_for_key(bytes)
}

/// What of an RTCP packet is authenticated without being encrypted (RFC 7714 9.2).
fn readable(header: &[u8], word: [u8; 4]) -> [u8; RTCP_HEADER + RTCP_INDEX] {
    let mut known = [0; RTCP_HEADER + RTCP_INDEX];
    known[..RTCP_HEADER].copy_from_slice(header);
    known[RTCP_HEADER..].copy_from_slice(&word);
    known
}

fn open(
    key: &LessSafeKey,
    nonce: Nonce,
    known: &[u8],
    tag: &[u8],
    payload: &mut [u8],
) -> Result<(), SrtpError> {
    let tag = tag.try_into().map_err(|_| SrtpError::Malformed)?;
    match key.open_in_place_separate_tag(nonce, Aad::from(known), tag, payload, 0..) {
        Ok(_) => Ok(()),
        Err(_) => Err(SrtpError::Unauthenticated),
    }
}

fn split_tag(packet: &mut [u8], tag: usize) -> Result<(&mut [u8], &mut [u8]), SrtpError> {
    let at = packet.len().checked_sub(tag).ok_or(SrtpError::Malformed)?;
    Ok(packet.split_at_mut(at))
}

// --------------------------------------------------------------------------- headers

/// Sequence number, SSRC and length of an RTP header with its CSRCs and extension, which lie within the packet.
fn rtp_header(packet: &[u8]) -> Result<(u16, u32, usize), SrtpError> {
    let fixed: &[u8; RTP_HEADER] = packet.first_chunk().ok_or(SrtpError::Malformed)?;
    let [first, _, s0, s1, _, _, _, _, ssrc @ ..] = *fixed;
    let mut length = RTP_HEADER + 4 * usize::from(first & 15);
    if first & 0x10 != 0 {
        let extension = packet.get(length..length + 4).ok_or(SrtpError::Malformed)?;
        length += 4 + 4 * usize::from(u16::from_be_bytes([extension[2], extension[3]]));
    }
    if length > packet.len() {
        return Err(SrtpError::Malformed);
    }
    Ok((u16::from_be_bytes([s0, s1]), u32::from_be_bytes(ssrc), length))
}

fn rtcp_ssrc(packet: &[u8]) -> Result<u32, SrtpError> {
    let header: &[u8; RTCP_HEADER] = packet.first_chunk().ok_or(SrtpError::Malformed)?;
    let [_, _, _, _, ssrc @ ..] = *header;
    Ok(u32::from_be_bytes(ssrc))
}

// --------------------------------------------------------------------------- contexts

/// What one transport sends. Every (SSRC, index) is protected once.
pub struct Protector {
    rtp: Cipher,
    rtcp: Cipher,
    streams: FxHashMap<u32, Sent>,
}

impl Protector {
    /// A context from the master key followed by the salt.
    pub fn new(profile: SrtpProfile, key: &[u8]) -> Result<Self, SrtpError> {
        Ok(Self {
            rtp: Cipher::new(profile, key, 0)?,
            rtcp: Cipher::new(profile, key, 3)?,
            streams: FxHashMap::default(),
        })
    }

    /// Bytes that protection adds to an RTP packet; to an RTCP packet it adds 4 more.
    pub fn tag(&self) -> usize {
        self.rtp.tag()
    }

    /// Protect the RTP packet `buffer[..len]` and tell its new length.
    ///
    /// Sequence numbers may come out of order within the last 128, each once. The buffer needs room for the tag.
    pub fn protect_rtp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let (sequence, ssrc, header) = rtp_header(buffer.get(..len).ok_or(SrtpError::NoRoom)?)?;
        let end = len + self.rtp.tag();
        let packet = buffer.get_mut(..end).ok_or(SrtpError::NoRoom)?;
        let window = &mut self.streams.entry(ssrc).or_default().rtp;
        let index = window.estimate(sequence);
        if index > LAST_INDEX {
            return Err(SrtpError::Expired);
        }
        if !window.is_new(index) {
            return Err(SrtpError::Repeated);
        }
        window.add(index);
        self.rtp.seal_rtp(packet, header, ssrc, index)?;
        Ok(end)
    }

    /// Protect the RTCP compound `buffer[..len]` and tell its new length. The buffer needs room for tag and index.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let ssrc = rtcp_ssrc(buffer.get(..len).ok_or(SrtpError::NoRoom)?)?;
        let end = len + self.rtcp.tag() + RTCP_INDEX;
        let packet = buffer.get_mut(..end).ok_or(SrtpError::NoRoom)?;
        let last = &mut self.streams.entry(ssrc).or_default().rtcp;
        if *last >= LAST_RTCP_INDEX {
            return Err(SrtpError::Expired);
        }
        *last += 1;
        self.rtcp.seal_rtcp(packet, ssrc, *last)?;
        Ok(end)
    }
}

/// What one transport receives. Its memory grows with every SSRC that authenticates: whoever calls it bounds them.
pub struct Unprotector {
    rtp: Cipher,
    rtcp: Cipher,
    streams: FxHashMap<u32, Received>,
}

impl Unprotector {
    /// A context from the master key followed by the salt.
    pub fn new(profile: SrtpProfile, key: &[u8]) -> Result<Self, SrtpError> {
        Ok(Self {
            rtp: Cipher::new(profile, key, 0)?,
            rtcp: Cipher::new(profile, key, 3)?,
            streams: FxHashMap::default(),
        })
    }

    /// Check and decrypt an RTP packet and tell the length without its tag. After an error its bytes are worthless.
    pub fn unprotect_rtp(&mut self, buffer: &mut [u8]) -> Result<usize, SrtpError> {
        let (sequence, ssrc, header) = rtp_header(buffer)?;
        let len = buffer.len().checked_sub(self.rtp.tag()).ok_or(SrtpError::Malformed)?;
        if header > len {
            return Err(SrtpError::Malformed);
        }
        let known = self.streams.get(&ssrc);
        let index = known.map_or(u64::from(sequence), |stream| stream.rtp.estimate(sequence));
        if index > LAST_INDEX {
            return Err(SrtpError::Expired);
        }
        if known.is_some_and(|stream| !stream.rtp.is_new(index)) {
            return Err(SrtpError::Replayed);
        }
        self.rtp.open_rtp(buffer, header, ssrc, index)?;
        self.streams.entry(ssrc).or_default().rtp.add(index);
        Ok(len)
    }

    /// Check and decrypt an RTCP compound and tell the length without its trailer. After an error its bytes are
    /// worthless.
    pub fn unprotect_rtcp(&mut self, buffer: &mut [u8]) -> Result<usize, SrtpError> {
        let ssrc = rtcp_ssrc(buffer)?;
        let trailer = self.rtcp.tag() + RTCP_INDEX;
        let len = buffer.len().checked_sub(trailer).ok_or(SrtpError::Malformed)?;
        if len < RTCP_HEADER {
            return Err(SrtpError::Malformed);
        }
        let word = buffer.get(self.rtcp.rtcp_index(buffer.len())..).and_then(<[u8]>::first_chunk);
        let word = u32::from_be_bytes(*word.ok_or(SrtpError::Malformed)?);
        if word & ENCRYPTED == 0 {
            return Err(SrtpError::Unauthenticated);
        }
        let index = word & !ENCRYPTED;
        let known = self.streams.get(&ssrc);
        if known.is_some_and(|stream| !stream.rtcp.is_new(index.into())) {
            return Err(SrtpError::Replayed);
        }
        self.rtcp.open_rtcp(buffer, ssrc, index)?;
        self.streams.entry(ssrc).or_default().rtcp.add(index.into());
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::bytes;

    const PROFILES: [SrtpProfile; 2] = [SrtpProfile::Aes128CmSha1_80, SrtpProfile::AeadAes128Gcm];

    fn pair(profile: SrtpProfile) -> (Protector, Unprotector) {
        let key: Vec<u8> = (0..key_length(profile) as u8).collect();
        (Protector::new(profile, &key).unwrap(), Unprotector::new(profile, &key).unwrap())
    }

    fn rtp(sequence: u16) -> Vec<u8> {
        let [high, low] = sequence.to_be_bytes();
        let mut packet = bytes("91e0 0000 01020304 cafebabe 00000007 bede0001 10aa0000 7061796c6f6164");
        packet[2..4].copy_from_slice(&[high, low]);
        packet
    }

    fn rtcp() -> Vec<u8> {
        bytes("80c80006cafebabe000102030405060708090a0b0c0d0e0f10111213")
    }

    fn protected(protector: &mut Protector, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
        let mut buffer = [packet, &[0; MAX_TRAILER]].concat();
        let len = protector.protect_rtp(&mut buffer, packet.len())?;
        buffer.truncate(len);
        Ok(buffer)
    }

    fn protected_rtcp(protector: &mut Protector, packet: &[u8]) -> Vec<u8> {
        let mut buffer = [packet, &[0; MAX_TRAILER]].concat();
        let len = protector.protect_rtcp(&mut buffer, packet.len()).unwrap();
        buffer.truncate(len);
        buffer
    }

    fn unprotected(unprotector: &mut Unprotector, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
        let mut buffer = packet.to_vec();
        let len = unprotector.unprotect_rtp(&mut buffer)?;
        buffer.truncate(len);
        Ok(buffer)
    }

    fn unprotected_rtcp(unprotector: &mut Unprotector, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
        let mut buffer = packet.to_vec();
        let len = unprotector.unprotect_rtcp(&mut buffer)?;
        buffer.truncate(len);
        Ok(buffer)
    }

    #[test]
    fn session_keys_are_those_of_rfc_3711_b_3() {
        let master = bytes("e1f97a0d3e018be0d64fa32c06de4139");
        let master = Aes128::new_from_slice(&master).unwrap();
        let salt = bytes("0ec675ad498afeebb6960b3aabe6").try_into().unwrap();
        assert_eq!(derive::<16>(&master, &salt, 0)[..], bytes("c61e7a93744f39ee10734afe3ff7a087"));
        assert_eq!(derive::<14>(&master, &salt, 2)[..], bytes("30cbbc08863d8c85d49db34a9ae1"));
        assert_eq!(
            derive::<94>(&master, &salt, 1)[..],
            bytes(
                "cebe321f6ff7716b6fd4ab49af256a156d38baa48f0a0acf3c34e2359e6cdbcee049646c43d9327ad175578ef7227098
                 6371c10c9a369ac2f94a8c5fbcdddc256d6e919a48b610ef17c2041e474035766b68642c59bbfc2f34db60dbdfb2"
            )
        );
    }

    fn rfc_7714() -> Cipher {
        let key = bytes("000102030405060708090a0b0c0d0e0f").try_into().unwrap();
        Cipher::gcm(&key, *b"Quid pro quo").unwrap()
    }

    #[test]
    fn rtp_is_that_of_rfc_7714_16() {
        let plain =
            [&bytes("8040f17b 8041f8d3 5501a0b2")[..], b"Gallia est omnis divisa in partes tres"].concat();
        let mut packet = [&plain[..], &[0; 16]].concat();
        rfc_7714().seal_rtp(&mut packet, 12, 0x5501_a0b2, 0xf17b).unwrap();
        assert_eq!(
            packet,
            bytes(
                "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a
                 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce"
            )
        );
        rfc_7714().open_rtp(&mut packet, 12, 0x5501_a0b2, 0xf17b).unwrap();
        assert!(packet.starts_with(&plain));
    }

    #[test]
    fn rtcp_is_that_of_rfc_7714_17() {
        let plain = bytes(
            "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef
             deadbeef deadbeef deadbeef",
        );
        let mut packet = [&plain[..], &[0; 20]].concat();
        rfc_7714().seal_rtcp(&mut packet, 0x4d61_7273, 0x5d4).unwrap();
        assert_eq!(
            packet,
            bytes(
                "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda
                 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4"
            )
        );
        rfc_7714().open_rtcp(&mut packet, 0x4d61_7273, 0x5d4).unwrap();
        assert!(packet.starts_with(&plain));
    }

    #[test]
    fn bytes_are_those_of_libsrtp_across_the_rollover() {
        let libsrtp = [
            [
                "400c4893c74a6f4d0e72421782cba2d0d3",
                "3560fa7b2a5d3846475ef53188003f0f7a",
                "f0b389593d0fe871e70e0d58faaa562808",
                "672782309a992291395dec8648bc8c842d",
            ],
            [
                "eb94799492cd363c056578f6fa38650ac51fa9a002e0da",
                "d0e1e79b3dcc49908be2f702a7dd7b189e8ed814f0c1a8",
                "1936113fd9288ca625544a536ee24b2ccbc73532bc65ab",
                "3bcebb09de23739cd4649f16afa98a9410c882b1be59a8",
            ],
        ];
        for ((profile, tag), expected) in PROFILES.into_iter().zip([10, 16]).zip(libsrtp) {
            let (mut protector, mut unprotector) = pair(profile);
            assert_eq!(protector.tag(), tag);
            for (sequence, expected) in [0x7ffe, 0xfffe, 1, 0xffff].into_iter().zip(expected) {
                let packet = rtp(sequence);
                let sent = protected(&mut protector, &packet).unwrap();
                assert_eq!(sent[..24], packet[..24]);
                assert_eq!(sent[24..], bytes(expected));
                assert_eq!(unprotected(&mut unprotector, &sent), Ok(packet));
            }
        }
    }

    #[test]
    fn rtcp_bytes_are_those_of_libsrtp() {
        let libsrtp = [
            [
                "8661780858cd2ca4da71397fd399ead91e84ce7980000001c5cd449f48482d295c86",
                "3a2a93dbd4724764a81971492fc1bed273ea70ec8000000254f821ec19788c0f9e64",
            ],
            [
                "cb1c2511deae498ccf036014edcf55b3ada69d1257113153b5a64cd5d478a9e3310f7f7180000001",
                "c9fe2c493164d4faeb2369dd7dadf20efb9fed01699f28fe8af1468e62ff2abd4cbbda3b80000002",
            ],
        ];
        for (profile, expected) in PROFILES.into_iter().zip(libsrtp) {
            let (mut protector, mut unprotector) = pair(profile);
            for expected in expected {
                let sent = protected_rtcp(&mut protector, &rtcp());
                assert_eq!(sent[8..], bytes(expected));
                assert_eq!(unprotected_rtcp(&mut unprotector, &sent), Ok(rtcp()));
                assert_eq!(unprotected_rtcp(&mut unprotector, &sent), Err(SrtpError::Replayed));
            }
        }
    }

    #[test]
    fn a_packet_is_received_once_and_an_old_one_not_at_all() {
        for profile in PROFILES {
            let (mut protector, mut unprotector) = pair(profile);
            let sent: Vec<_> =
                (100..1125).map(|sequence| protected(&mut protector, &rtp(sequence)).unwrap()).collect();
            assert!(unprotected(&mut unprotector, &sent[1024]).is_ok());
            assert_eq!(unprotected(&mut unprotector, &sent[1024]), Err(SrtpError::Replayed));
            assert_eq!(unprotected(&mut unprotector, &sent[0]), Err(SrtpError::Replayed));
            assert!(unprotected(&mut unprotector, &sent[1]).is_ok());
            assert_eq!(unprotected(&mut unprotector, &sent[1]), Err(SrtpError::Replayed));
        }
    }

    #[test]
    fn an_index_is_sent_once_and_late_ones_within_the_window() {
        for profile in PROFILES {
            let (mut protector, _) = pair(profile);
            assert!(protected(&mut protector, &rtp(1000)).is_ok());
            for (sequence, expected) in [
                (1000, Some(SrtpError::Repeated)),
                (999, None),
                (999, Some(SrtpError::Repeated)),
                (873, None),
                (872, Some(SrtpError::Repeated)),
                (1001, None),
                (873, Some(SrtpError::Repeated)),
            ] {
                assert_eq!(protected(&mut protector, &rtp(sequence)).err(), expected);
            }
            let mut other = rtp(1000);
            other[11] ^= 1;
            assert!(protected(&mut protector, &other).is_ok());
        }
    }

    #[test]
    fn packets_of_both_sides_of_a_rollover_may_change_places() {
        for profile in PROFILES {
            let (mut protector, mut unprotector) = pair(profile);
            let order: [u16; 9] = [0x7fff, 0xfff0, 0xffff, 3, 0xfffe, 0, 0xfffd, 200, 1];
            let sent: Vec<_> =
                order.iter().map(|sequence| protected(&mut protector, &rtp(*sequence))).collect();
            for (sequence, sent) in order[..8].iter().zip(&sent) {
                let sent = sent.as_ref().unwrap();
                assert_eq!(unprotected(&mut unprotector, sent), Ok(rtp(*sequence)));
            }
            assert_eq!(sent[8], Err(SrtpError::Repeated));
        }
    }

    #[test]
    fn many_rollovers() {
        let (mut protector, mut unprotector) = pair(SrtpProfile::AeadAes128Gcm);
        for step in 0..60_u32 {
            let packet = rtp((step * 9000) as u16);
            let sent = protected(&mut protector, &packet).unwrap();
            assert_eq!(unprotected(&mut unprotector, &sent), Ok(packet));
        }
        assert_eq!(unprotector.streams[&0xcafe_babe].rtp.top, 59 * 9000);
        protector.streams.get_mut(&0xcafe_babe).unwrap().rtp.top = LAST_INDEX;
        assert_eq!(protected(&mut protector, &rtp(2)), Err(SrtpError::Expired));
    }

    #[test]
    fn no_bit_can_be_changed_and_a_forgery_changes_nothing() {
        for profile in PROFILES {
            let (mut protector, mut unprotector) = pair(profile);
            let sent = protected(&mut protector, &rtp(7)).unwrap();
            let report = protected_rtcp(&mut protector, &rtcp());
            for bit in 0..8 * sent.len() {
                let mut forged = sent.clone();
                forged[bit / 8] ^= 1 << (bit % 8);
                assert!(unprotected(&mut unprotector, &forged).is_err());
            }
            for bit in 0..8 * report.len() {
                let mut forged = report.clone();
                forged[bit / 8] ^= 1 << (bit % 8);
                assert!(unprotected_rtcp(&mut unprotector, &forged).is_err());
            }
            assert!(unprotector.streams.is_empty());
            assert!(unprotected(&mut unprotector, &sent).is_ok());
            assert!(unprotected_rtcp(&mut unprotector, &report).is_ok());
            let mut forged = protected(&mut protector, &rtp(9)).unwrap();
            forged[2] = 0x70;
            assert_eq!(unprotected(&mut unprotector, &forged), Err(SrtpError::Unauthenticated));
            assert_eq!(unprotector.streams[&0xcafe_babe].rtp.top, 7);
        }
    }

    #[test]
    fn sizes_are_checked_before_anything_is_counted() {
        for profile in PROFILES {
            assert_eq!(Protector::new(profile, &[0; 29]).err(), Some(SrtpError::Key));
            let (mut protector, mut unprotector) = pair(profile);
            let mut packet = rtp(1);
            let len = packet.len();
            packet.resize(len + protector.tag() - 1, 0);
            assert_eq!(protector.protect_rtp(&mut packet, len), Err(SrtpError::NoRoom));
            packet.push(0);
            assert_eq!(protector.protect_rtp(&mut packet, 23), Err(SrtpError::Malformed));
            assert_eq!(protector.protect_rtp(&mut packet, len + 99), Err(SrtpError::NoRoom));
            assert!(protector.protect_rtp(&mut packet, len).is_ok());
            let mut report = rtcp();
            assert_eq!(protector.protect_rtcp(&mut report, 28), Err(SrtpError::NoRoom));
            assert_eq!(protector.protect_rtcp(&mut report, 7), Err(SrtpError::Malformed));
            let mut clear = protected_rtcp(&mut protector, &rtcp());
            let at = clear.len() - if profile == SrtpProfile::AeadAes128Gcm { 4 } else { 14 };
            assert_eq!(clear[at..at + 4], [0x80, 0, 0, 1]);
            clear[at] = 0;
            assert_eq!(unprotected_rtcp(&mut unprotector, &clear), Err(SrtpError::Unauthenticated));
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut random = crate::chance::numbers();
        let mut pairs = PROFILES.map(pair);
        for round in 0..50_000 {
            let (protector, unprotector) = &mut pairs[round % 2];
            let mut data = rtp(random() as u16);
            data.resize((random() % 70) as usize, random() as u8);
            for _ in 0..random() % 3 {
                let at = random() as usize % data.len().max(1);
                if let Some(byte) = data.get_mut(at) {
                    *byte = random() as u8;
                }
            }
            let _ = unprotector.unprotect_rtp(&mut data.clone());
            let _ = unprotector.unprotect_rtcp(&mut data.clone());
            let len = (random() % 80) as usize;
            let _ = protector.protect_rtp(&mut data.clone(), len);
            let _ = protector.protect_rtcp(&mut data, len);
        }
        assert!(pairs.iter().all(|(_, unprotector)| unprotector.streams.is_empty()));
    }
}
