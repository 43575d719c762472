//! From a run of source packets to trains of equal bodies, planned once for all viewers that want the same form.
//!
//! A train is what leaves as one message: datagrams of one size, the last possibly shorter, of one timestamp. Browsers
//! cut a frame into packets that differ by a byte; the shorter ones are levelled with RTP padding, so that the frame is
//! one train. What is the same for all viewers is done here; left per viewer are a few stores and a copy a datagram.

use std::cell::RefCell;
use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::messages::Codec;
use crate::packet::MediaPacket;
use crate::red::{self, RedBlock};
use crate::vp8::move_picture;

/// Datagrams of one message at most (UDP_MAX_SEGMENTS).
pub const MAX_SEGMENTS: usize = 64;
/// Bytes of one message at most, unless a single datagram is longer.
pub const MAX_TRAIN: usize = 65_000;
/// Bytes a packet may be padded by to stay in the train.
pub const LEVEL_SPREAD: usize = 16;
/// Bytes of fixed header and extension block that `Train::write` has room for; `OutgoingLayout` needs 40 at most.
pub const MAX_HEADER: usize = 48;

const FIXED: usize = 12;
const OVERHEAD: usize = 120; // bytes reserved per datagram for headers, tag and framing when a train's size is limited

/// The payload of a packet as it leaves; converted ones are shared by the viewers of one form only.
pub type Body = Rc<[u8]>;

/// What happens to a payload on its way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Conversion {
    /// Nothing.
    #[default]
    None,
    /// RED to RED: the payload types inside are the viewer's.
    RedRetyped,
    /// RED to Opus: the primary block.
    RedUnwrapped,
    /// Opus to RED.
    RedWrapped,
}

/// How packets of one codec leave towards a viewer; viewers with equal forms share plans.
///
/// From `slot` on it is the shape of header (`OutgoingLayout`) and tag; the header is at most `MAX_HEADER` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Form {
    /// 0..127.
    pub payload_type: u8,
    /// What happens to the payload.
    pub conversion: Conversion,
    /// The viewer's Opus payload type inside RED.
    pub inner: u8,
    /// Padding may make datagrams equal.
    pub levelled: bool,
    /// Id of the two-byte extension element, 1..14; 0 = none.
    pub slot: u8,
    /// Bytes between the fixed header and the transport sequence; 0 = no extension block.
    pub prefix: u8,
    /// There is a transport sequence.
    pub counted: bool,
    /// Fill bytes at the end of the extension block.
    pub padding: u8,
    /// Bytes of the authentication tag.
    pub tag: u8,
}

impl Form {
    /// Bytes of fixed header and extension block.
    pub fn header(&self) -> usize {
        let elements = 2 * usize::from(self.counted) + 2 * usize::from(self.slot != 0);
        FIXED + usize::from(self.prefix) + elements + usize::from(self.padding)
    }
}

/// One datagram of a train.
#[derive(Clone, Debug)]
pub struct Member {
    /// What it carries, as it came.
    pub packet: Rc<MediaPacket>,
    /// The payload as it leaves, but for VP8's numbers.
    pub body: Body,
    /// Bytes of RTP padding behind the body, the last one is their count.
    pub padding: u8,
    /// The first two header bytes: version, P, X, marker, payload type.
    pub head: [u8; 2],
    element: [u8; 2],
    number: u16,
}

/// What one viewer writes into a train.
#[derive(Clone, Copy, Debug)]
pub struct Placement<'a> {
    /// From a packet's number to its outgoing one, of which 16 bits leave.
    pub offset: i64,
    /// The outgoing timestamp of the whole train.
    pub timestamp: u32,
    /// The outgoing SSRC.
    pub ssrc: u32,
    /// `OutgoingLayout::prefix`, of the size that the form tells.
    pub prefix: &'a [u8],
    /// Of the first member, rising by one each; Some exactly when the form is `counted`.
    pub transport_sequence: Option<u16>,
    /// What VP8 picture ids move by.
    pub picture_delta: i32,
    /// What TL0PICIDX moves by.
    pub tl0_delta: i32,
    /// The form that the train was planned for.
    pub form: &'a Form,
}

/// Datagrams of one timestamp, laid out for every viewer of one form.
#[derive(Clone, Debug)]
pub struct Train {
    /// 1 to 64.
    pub members: Box<[Member]>,
    /// Bytes in front of each body.
    pub header: usize,
    /// Bytes from start to start of two datagrams: the size on the wire, tag included, of all but the last.
    pub segment: usize,
    /// Bytes of the last datagram, tag included.
    pub last: usize,
    /// Bytes of the train, tags included.
    pub total: usize,
    /// Bytes of payload, without padding.
    pub octets: usize,
    /// RTP timestamp of the source.
    pub timestamp: u32,
}

impl Train {
    fn new(group: &mut Vec<(Rc<MediaPacket>, Body)>, top: usize, form: &Form) -> Train {
        let last_index = group.len() - 1;
        let header = form.header();
        let timestamp = group[0].0.timestamp;
        let last = group[last_index].1.len();
        let size = if last_index == 0 { last } else { top };
        let octets = group.iter().map(|(_, body)| body.len()).sum();
        let members = group
            .drain(..)
            .enumerate()
            .map(|(index, (packet, body))| {
                let padding = if index == last_index { 0 } else { (size - body.len()) as u8 };
                let flags = u8::from(padding > 0) << 5 | u8::from(form.prefix > 0) << 4;
                Member {
                    padding,
                    head: [0x80 | flags, u8::from(packet.marker) << 7 | form.payload_type],
                    element: element(&packet, form.slot),
                    number: packet.number as u16,
                    packet,
                    body,
                }
            })
            .collect();
        let tag = usize::from(form.tag);
        let (segment, last) = (header + size + tag, header + last + tag);
        Train { members, header, segment, last, total: segment * last_index + last, octets, timestamp }
    }

    /// How many datagrams, 1 to 64.
    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// Bytes of a datagram before its tag, 0 when there is no such member.
    pub fn member_len(&self, index: usize) -> usize {
        self.members
            .get(index)
            .map_or(0, |member| self.header + member.body.len() + usize::from(member.padding))
    }

    /// Write all datagrams one behind the other, `segment` bytes from start to start, leaving room for each tag.
    ///
    /// What `out` holds where the tags go is undefined afterwards. Panics when `out` is shorter than `total` or
    /// `place` does not fit the form.
    pub fn write(&self, out: &mut [u8], place: &Placement) {
        let form = place.form;
        debug_assert_eq!(form.header(), self.header);
        debug_assert_eq!(form.counted, place.transport_sequence.is_some());
        let mut template = [0; MAX_HEADER];
        template[4..8].copy_from_slice(&place.timestamp.to_be_bytes());
        template[8..12].copy_from_slice(&place.ssrc.to_be_bytes());
        let counted_at = FIXED + usize::from(form.prefix);
        template[FIXED..counted_at].copy_from_slice(place.prefix);
        let slot_at = counted_at + 2 * usize::from(form.counted);
        let mut transport_sequence = place.transport_sequence.unwrap_or(0);
        let moved = place.picture_delta != 0 || place.tl0_delta != 0;

        for (member, datagram) in self.members.iter().zip(out[..self.total].chunks_mut(self.segment)) {
            let size = member.body.len();
            match datagram.first_chunk_mut() {
                // A copy of constant size is a few wide stores; the body then covers what is too much of it.
                Some(start) => *start = template,
                None => datagram[..self.header].copy_from_slice(&template[..self.header]),
            }
            let (header, rest) = datagram.split_at_mut(self.header);
            header[..2].copy_from_slice(&member.head);
            header[2..4].copy_from_slice(&member.number.wrapping_add(place.offset as u16).to_be_bytes());
            if form.counted {
                header[counted_at..counted_at + 2].copy_from_slice(&transport_sequence.to_be_bytes());
                transport_sequence = transport_sequence.wrapping_add(1);
            }
            if form.slot != 0 {
                header[slot_at..slot_at + 2].copy_from_slice(&member.element);
            }
            let (body, rest) = rest.split_at_mut(size);
            body.copy_from_slice(&member.body);
            if let [fill @ .., count] = &mut rest[..usize::from(member.padding)] {
                fill.fill(0);
                *count = member.padding;
            }
            if moved {
                move_picture(body, &member.packet.picture, place.picture_delta, place.tl0_delta);
            }
        }
    }
}

/// The two bytes of the slot: two zero bytes are padding.
fn element(packet: &MediaPacket, slot: u8) -> [u8; 2] {
    let value = if packet.level >= 0 { packet.level } else { packet.orientation };
    if slot != 0 && value >= 0 { [slot << 4, value as u8] } else { [0, 0] }
}

/// The payload as this form carries it, None when it cannot (a malformed RED payload).
pub fn convert(packet: &MediaPacket, form: &Form) -> Option<Body> {
    match form.conversion {
        Conversion::None => Some(Rc::clone(&packet.payload)),
        Conversion::RedWrapped => {
            let newest = RedBlock { payload_type: form.inner, payload: &packet.payload, timestamp_offset: 0 };
            let older = packet.before.as_ref().and_then(|(timestamp, payload)| {
                let distance = packet.timestamp.wrapping_sub(*timestamp);
                let fits = (1..=red::MAX_OFFSET).contains(&distance) && payload.len() <= red::MAX_LENGTH;
                fits.then_some(RedBlock { payload_type: form.inner, payload, timestamp_offset: distance })
            });
            red::wrap(&newest, older.as_slice()).ok().map(Rc::from)
        }
        Conversion::RedUnwrapped => {
            red::unwrap(&packet.payload).ok()?.last().map(|block| block.payload.into())
        }
        Conversion::RedRetyped => {
            let mut blocks = red::unwrap(&packet.payload).ok()?;
            for block in &mut blocks {
                block.payload_type = form.inner;
            }
            let (newest, older) = blocks.split_last()?;
            red::wrap(newest, older).ok().map(Rc::from)
        }
    }
}

/// The trains of a run of packets in rising order.
pub fn plan(packets: &[Rc<MediaPacket>], form: &Form) -> Vec<Train> {
    let mut trains = Vec::new();
    let mut group: Vec<(Rc<MediaPacket>, Body)> = Vec::with_capacity(packets.len().min(MAX_SEGMENTS));
    let (mut top, mut low) = (0, 0);
    let mut closed = false; // the group has its shorter last member
    for packet in packets {
        let Some(body) = convert(packet, form) else {
            continue;
        };
        let size = body.len();
        let (longest, shortest) = (top.max(size), low.min(size));
        let fits = !closed
            && group.len() < MAX_SEGMENTS
            && group.first().is_some_and(|(first, _)| first.timestamp == packet.timestamp)
            && (group.len() + 1) * (longest + OVERHEAD) <= MAX_TRAIN;
        if fits && (low..=top).contains(&size) {
            // as long as the others
        } else if fits && form.levelled && longest - shortest <= LEVEL_SPREAD {
            (top, low) = (longest, shortest);
        } else if fits && size < low {
            closed = true;
        } else {
            if !group.is_empty() {
                trains.push(Train::new(&mut group, top, form));
            }
            (top, low) = (size, size);
            closed = false;
        }
        group.push((Rc::clone(packet), body));
    }
    if !group.is_empty() {
        trains.push(Train::new(&mut group, top, form));
    }
    trains
}

/// Packets of one codec of one layer that leave together, with the plan of each form made once.
#[derive(Debug)]
pub struct Run {
    /// In rising order, at least one.
    pub packets: Vec<Rc<MediaPacket>>,
    /// Of all of them.
    pub codec: Codec,
    /// Bytes of payload.
    pub size: usize,
    plans: RefCell<FxHashMap<u32, Rc<[Train]>>>,
}

impl Run {
    /// A run of these packets. Panics when there is none.
    pub fn new(packets: Vec<Rc<MediaPacket>>) -> Run {
        let codec = packets[0].codec;
        let size = packets.iter().map(|packet| packet.payload.len()).sum();
        Run { packets, codec, size, plans: RefCell::default() }
    }

    /// The plan for `form`, whose interned number is `number`.
    pub fn trains(&self, number: u32, form: &Form) -> Rc<[Train]> {
        let mut plans = self.plans.borrow_mut();
        Rc::clone(plans.entry(number).or_insert_with(|| plan(&self.packets, form).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vp8::{Picture, vp8_picture};

    // What is expected in bytes was packed by the Python twin.

    const FORM: Form = Form {
        payload_type: 120,
        conversion: Conversion::None,
        inner: 0,
        levelled: true,
        slot: 13,
        prefix: 7,
        counted: true,
        padding: 1,
        tag: 16,
    };
    const PLAIN: Form =
        Form { payload_type: 0, slot: 0, prefix: 0, counted: false, padding: 0, tag: 0, ..FORM };
    const PREFIX: &[u8] = b"\xbe\xde\0\x02\x40v\x31";

    fn packet(number: i64, timestamp: u32, payload: &[u8]) -> MediaPacket {
        MediaPacket {
            number,
            timestamp,
            marker: false,
            codec: Codec::Vp8,
            payload: payload.into(),
            arrival: 0.0,
            picture: Picture::NONE,
            level: -1,
            orientation: -1,
            before: None,
        }
    }

    fn run(sizes: &[usize]) -> Vec<Rc<MediaPacket>> {
        let sized = |(index, &size)| Rc::new(packet(index as i64, 9, &vec![index as u8; size]));
        sizes.iter().enumerate().map(sized).collect()
    }

    fn place(form: &Form) -> Placement<'_> {
        Placement {
            offset: 0,
            timestamp: 1,
            ssrc: 2,
            prefix: PREFIX.get(..form.prefix.into()).unwrap_or_default(),
            transport_sequence: form.counted.then_some(500),
            picture_delta: 0,
            tl0_delta: 0,
            form,
        }
    }

    /// The datagrams before protection.
    fn datagrams(train: &Train, place: &Placement) -> Vec<Vec<u8>> {
        let mut out = vec![0xAA; train.total + 3];
        train.write(&mut out, place);
        assert_eq!(out[train.total..], [0xAA; 3]);
        let last = train.members.len() - 1;
        assert_eq!(train.total, last * train.segment + train.last);
        assert_eq!(train.last, train.member_len(last) + usize::from(place.form.tag));
        let datagram = |index| {
            let size = train.member_len(index);
            assert!(index == last || size + usize::from(place.form.tag) == train.segment);
            out[index * train.segment..][..size].to_vec()
        };
        (0..=last).map(datagram).collect()
    }

    /// The same in hexadecimal.
    fn written(train: &Train, place: &Placement) -> Vec<String> {
        let hex = |bytes: &Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        datagrams(train, place).iter().map(hex).collect()
    }

    fn counts(trains: &[Train]) -> Vec<usize> {
        trains.iter().map(|train| train.members.len()).collect()
    }

    #[test]
    fn a_levelled_train_with_every_field() {
        let body: Vec<u8> = (0..40).collect();
        let packets = [
            packet(65_534, 9, &body[..30]),
            MediaPacket { orientation: 3, ..packet(65_535, 9, &body[..29]) },
            packet(65_537, 9, &body[..27]),
            MediaPacket { marker: true, ..packet(65_538, 9, b"end") },
        ];
        let trains = plan(&packets.map(Rc::new), &FORM);
        let [train] = &trains[..] else { panic!("one train") };
        assert_eq!((train.segment, train.last, train.total, train.octets), (70, 43, 253, 89));
        let place = Placement {
            offset: 10,
            timestamp: 0x0102_0304,
            ssrc: 0x0A0B_0C0D,
            transport_sequence: Some(0xFFFE),
            ..place(&FORM)
        };
        let expected = [
            "90780008010203040a0b0c0dbede0002407631fffe000000\
             000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d",
            "b0780009010203040a0b0c0dbede0002407631ffffd00300\
             000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c01",
            "b078000b010203040a0b0c0dbede00024076310000000000\
             000102030405060708090a0b0c0d0e0f101112131415161718191a000003",
            "90f8000c010203040a0b0c0dbede00024076310001000000656e64",
        ];
        assert_eq!(written(train, &place), expected);
    }

    #[test]
    fn without_extensions_tag_and_levelling() {
        let form = Form { levelled: false, ..PLAIN };
        let packets = [
            packet(1, 7, b"abc"),
            MediaPacket { marker: true, ..packet(2, 7, b"ab") },
            MediaPacket { marker: true, ..packet(3, 7, b"abc") },
        ];
        let trains = plan(&packets.map(Rc::new), &form);
        assert_eq!(counts(&trains), [2, 1]);
        let place = Placement { offset: 5, ..place(&form) };
        let expected = ["800000060000000100000002616263", "8080000700000001000000026162"];
        assert_eq!(written(&trains[0], &place), expected);
        assert_eq!(written(&trains[1], &place), ["808000080000000100000002616263"]);
    }

    #[test]
    fn picture_numbers_move() {
        let long = [&b"\x90\xe0\xff\xfe\xff\x40\x10\x02\0"[..], &[0; 24]].concat();
        let short = [&b"\x80\xc0\x7f\x01"[..], &[b'x'; 29]].concat();
        let form = Form { payload_type: 120, tag: 10, ..PLAIN };
        let packets = [
            MediaPacket { picture: vp8_picture(&long), ..packet(10, 3, &long) },
            MediaPacket { picture: vp8_picture(&short), marker: true, ..packet(11, 3, &short) },
        ];
        let trains = plan(&packets.map(Rc::new), &form);
        let place = Placement { offset: -20, picture_delta: 3, tl0_delta: -2, ..place(&form) };
        let expected = [
            format!("8078fff6000000010000000290e08001fd40100200{}", "00".repeat(24)),
            format!("80f8fff7000000010000000280c002ff{}", "78".repeat(29)),
        ];
        assert_eq!(written(&trains[0], &place), expected);
        assert_eq!(*trains[0].members[0].packet.payload, *long);
    }

    #[test]
    fn opus_becomes_red() {
        let form = Form {
            payload_type: 63,
            conversion: Conversion::RedWrapped,
            inner: 111,
            slot: 1,
            prefix: 8,
            padding: 2,
            tag: 10,
            ..PLAIN
        };
        let voice = MediaPacket {
            marker: true,
            level: 0x94,
            before: Some((0, b"old"[..].into())),
            ..packet(5, 960, b"newest")
        };
        let trains = plan(&[Rc::new(voice)], &form);
        let place =
            Placement { timestamp: 960, ssrc: 1, prefix: b"\xbe\xde\0\x02\x22\0\0\0", ..place(&form) };
        let expected = "90bf0005000003c000000001bede00022200000010940000ef0f00036f6f6c646e6577657374";
        assert_eq!(written(&trains[0], &place), [expected]);
        assert_eq!((trains[0].segment, trains[0].octets), (48, 14));
    }

    #[test]
    fn red_is_unwrapped_or_retyped_or_dropped() {
        let red = packet(1, 960, b"\xef\x0f\x00\x03\x6foldnewest");
        let form = |conversion| Form { conversion, inner: 96, ..PLAIN };
        assert_eq!(convert(&red, &form(Conversion::RedUnwrapped)).as_deref(), Some(&b"newest"[..]));
        let retyped = convert(&red, &form(Conversion::RedRetyped));
        assert_eq!(retyped.as_deref(), Some(&b"\xe0\x0f\x00\x03\x60oldnewest"[..]));
        let broken = packet(1, 960, b"\xef\x0f");
        assert_eq!(convert(&broken, &form(Conversion::RedUnwrapped)), None);
        assert!(plan(&[Rc::new(broken)], &form(Conversion::RedRetyped)).is_empty());
    }

    #[test]
    fn what_is_too_old_or_too_long_is_not_repeated() {
        let form = Form { conversion: Conversion::RedWrapped, inner: 111, ..PLAIN };
        for (timestamp, size, repeated) in [
            (0x4000, 1, true),
            (0x3FFF, 1, false),
            (0x4001, 1024, false),
            (0x7FFE, 1023, true),
            (0x7FFF, 1, false),
        ] {
            let before = Some((timestamp + 1, vec![0; size].into()));
            let voice = MediaPacket { before, ..packet(5, 0x8000, b"v") };
            let expected = if repeated { 4 + size + 2 } else { 2 };
            assert_eq!(convert(&voice, &form).unwrap().len(), expected);
        }
    }

    #[test]
    fn packets_that_differ_by_a_byte_are_one_train() {
        let trains = plan(&run(&[1101, 1101, 1100, 1100, 1100, 1100]), &FORM);
        assert_eq!(counts(&trains), [6]);
        let padding: Vec<u8> = trains[0].members.iter().map(|member| member.padding).collect();
        assert_eq!(padding, [0, 0, 1, 1, 1, 0]);
    }

    #[test]
    fn a_short_last_packet_ends_the_train_and_a_longer_one_begins_another() {
        assert_eq!(counts(&plan(&run(&[1000, 1000, 300, 900, 1000]), &FORM)), [3, 1, 1]);
        assert_eq!(counts(&plan(&run(&[1000, 984, 983]), &FORM)), [3]);
        assert_eq!(counts(&plan(&run(&[984, 1000, 1001]), &FORM)), [2, 1]);
        assert_eq!(counts(&plan(&run(&[1000, 999, 1000]), &Form { levelled: false, ..FORM })), [2, 1]);
    }

    #[test]
    fn frames_do_not_share_a_train() {
        let packets = [packet(0, 1, b"a"), packet(1, 2, b"b"), packet(2, 2, b"c")];
        let trains = plan(&packets.map(Rc::new), &FORM);
        assert_eq!(counts(&trains), [1, 2]);
        assert_eq!((trains[0].timestamp, trains[1].timestamp), (1, 2));
    }

    #[test]
    fn a_plan_is_made_once() {
        let run = Run::new(run(&[10, 20]));
        assert_eq!((run.codec, run.size), (Codec::Vp8, 30));
        let first = run.trains(3, &FORM);
        assert!(Rc::ptr_eq(&first, &run.trains(3, &FORM)));
        assert!(!Rc::ptr_eq(&first, &run.trains(4, &PLAIN)));
    }

    #[test]
    fn every_packet_leaves_once_and_whole_within_the_limits() {
        let mut numbers = crate::chance::numbers();
        let mut next = move |below: usize| numbers() as usize % below;
        for round in 0..500 {
            let spread = [1, 3, 30, 1400][round % 4];
            let most = 1401 - next(1401 - spread);
            let sizes: Vec<usize> = (0..=next(200)).map(|_| most - 1 - next(spread)).collect();
            let packets = run(&sizes);
            let form = Form { levelled: next(2) == 0, ..if next(2) == 0 { FORM } else { PLAIN } };
            let trains = plan(&packets, &form);
            let left: Vec<_> = trains.iter().flat_map(|train| &train.members).collect();
            assert_eq!(left.len(), packets.len());
            for (member, packet) in left.iter().zip(&packets) {
                assert!(Rc::ptr_eq(&member.packet, packet) && member.body == packet.payload);
                assert!(member.padding == 0 || form.levelled && usize::from(member.padding) <= LEVEL_SPREAD);
            }
            for train in &trains {
                assert!(train.members.len() <= MAX_SEGMENTS && train.total <= MAX_TRAIN);
                assert!(train.last <= train.segment);
                for (datagram, member) in datagrams(train, &place(&form)).iter().zip(&train.members) {
                    assert!(datagram[form.header()..].starts_with(&member.body));
                }
            }
        }
    }
}
