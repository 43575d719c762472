//! The messages of `media/relay/messages.py` as they cross the boundary: MessagePack, read and written exactly as
//! msgspec does it. Structs are maps by field name, commands and events carry their name under "type", addresses
//! and paths are arrays. Numbers that the engine refuses in its own words are wide enough to arrive here whole.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::IgnoredAny;
use serde::ser::{Serialize, SerializeTuple, Serializer};
use serde::{Deserialize, Serialize as DeriveSerialize};

// --------------------------------------------------------------------------- nouns

macro_rules! numbered {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $number:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "i64")]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])* $variant = $number,)+ }

        impl TryFrom<i64> for $name {
            type Error = String;

            fn try_from(number: i64) -> Result<Self, String> {
                match number {
                    $($number => Ok(Self::$variant),)+
                    _ => Err(format!("{number} is no {}", stringify!($name))),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_u8(*self as u8)
            }
        }
    };
}

numbered! {
    /// How a listener's bytes are framed and to whom they belong.
    ListenerKind {
        /// All WebRTC transports share it; told apart by ICE ufrag, then by path.
        UdpMux = 1,
        /// ICE-TCP passive, RFC 4571 framing.
        TcpMux = 2,
        /// One plain-RTP transport, locked to a remote address.
        UdpPlain = 3,
    }
}

numbered! {
    /// What a transport's packets are protected with and how its remote address is learnt.
    TransportKind {
        /// Path by ICE, keys by DTLS.
        Webrtc = 1,
        /// Clear RTP, locked to the signalled remote.
        Plain = 2,
        /// SRTP, keys from the control link.
        Node = 3,
    }
}

numbered! {
    /// What a track carries.
    MediaKind {
        /// Sound.
        Audio = 1,
        /// Pictures.
        Video = 2,
    }
}

numbered! {
    /// Codecs the engine can forward; the number is used on the wire of these messages only.
    Codec {
        /// RFC 7741.
        Vp8 = 1,
        /// RFC 6184.
        H264 = 2,
        /// RFC 7587.
        Opus = 3,
        /// RFC 2198 around Opus.
        Red = 4,
        /// G.711 mu-law.
        Pcmu = 5,
        /// G.711 A-law.
        Pcma = 6,
    }
}

numbered! {
    /// SRTP protection profiles by their DTLS-SRTP number (RFC 5764, RFC 7714).
    #[allow(non_camel_case_types)]
    SrtpProfile {
        /// AES counter mode with an 80-bit HMAC-SHA1 tag.
        Aes128CmSha1_80 = 1,
        /// AES-GCM with a 128-bit tag.
        AeadAes128Gcm = 7,
    }
}

/// An IP address in text form (IPv4 never mapped into IPv6) and a port, of which the engine refuses one above 65,535.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct Address {
    /// The address in text form.
    pub host: String,
    /// The port.
    pub port: u32,
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.host, self.port).serialize(serializer)
    }
}

/// (listener, local address, remote address): replies leave from the address that was asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct Path {
    /// The listener's id.
    pub listener: u32,
    /// The address that was asked.
    pub local: Address,
    /// The peer's address.
    pub remote: Address,
    /// Tells TCP connections of one listener apart; 0 for UDP.
    #[serde(default)]
    pub connection: u32,
}

impl Serialize for Path {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut array = serializer.serialize_tuple(4)?;
        array.serialize_element(&self.listener)?;
        array.serialize_element(&self.local)?;
        array.serialize_element(&self.remote)?;
        array.serialize_element(&self.connection)?;
        array.end()
    }
}

/// RTP header extension ids negotiated for one transport as they arrive, 0 = not negotiated (RFC 8285).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ExtensionIdsMessage {
    /// urn:ietf:params:rtp-hdrext:sdes:mid
    pub mid: i64,
    /// urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id
    pub rid: i64,
    /// urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id
    pub repaired_rid: i64,
    /// Transport-wide sequence numbers.
    pub transport_cc: i64,
    /// Absolute send time.
    pub abs_send_time: i64,
    /// Audio level (RFC 6464).
    pub audio_level: i64,
    /// Coordination of video orientation.
    pub orientation: i64,
}

/// Extension ids that were checked: each 0 (not negotiated) or one of 1..=255 that no other has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionIds {
    /// urn:ietf:params:rtp-hdrext:sdes:mid
    pub mid: u8,
    /// urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id
    pub rid: u8,
    /// urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id
    pub repaired_rid: u8,
    /// Transport-wide sequence numbers.
    pub transport_cc: u8,
    /// Absolute send time.
    pub abs_send_time: u8,
    /// Audio level (RFC 6464).
    pub audio_level: u8,
    /// Coordination of video orientation.
    pub orientation: u8,
}

impl ExtensionIdsMessage {
    /// The ids when each fits a byte and none is there twice; else they are refused.
    pub fn checked(&self) -> Option<ExtensionIds> {
        let all = [
            self.mid,
            self.rid,
            self.repaired_rid,
            self.transport_cc,
            self.abs_send_time,
            self.audio_level,
            self.orientation,
        ];
        for (index, ident) in all.iter().enumerate() {
            if !(0..256).contains(ident) || (*ident != 0 && all[..index].contains(ident)) {
                return None;
            }
        }
        let [mid, rid, repaired_rid, transport_cc, abs_send_time, audio_level, orientation] =
            all.map(|ident| ident as u8);
        Some(ExtensionIds { mid, rid, repaired_rid, transport_cc, abs_send_time, audio_level, orientation })
    }
}

/// One payload type a source may arrive with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct SourceCodec {
    /// What it carries.
    pub codec: Codec,
    /// The RTP payload type.
    pub payload_type: i64,
    /// Ticks a second.
    pub clock_rate: i64,
    /// 0 = the peer sends no RTX for it.
    #[serde(default)]
    pub rtx_payload_type: i64,
}

/// One payload type a sink may leave with. A sink's list is searched by codec: the first match is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct SinkCodec {
    /// What it carries.
    pub codec: Codec,
    /// The RTP payload type.
    pub payload_type: i64,
    /// Ticks a second.
    pub clock_rate: i64,
    /// 0 = no RTX.
    #[serde(default)]
    pub rtx_payload_type: i64,
}

/// One layer of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Layer {
    /// "" without simulcast.
    pub rid: String,
    /// 0 until seen, or as signalled in SDP.
    pub ssrc: i64,
    /// 0 until seen, or as signalled in SDP.
    pub rtx_ssrc: i64,
}

// --------------------------------------------------------------------------- commands

/// Bind a socket.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AddListener {
    /// Its id.
    pub listener: i64,
    /// What it is for.
    pub kind: ListenerKind,
    /// "" = every IPv4 and IPv6 address (dual-stack with packet info).
    #[serde(default)]
    pub host: String,
    /// 0 = any; the engine refuses what is no port.
    #[serde(default)]
    pub port: i64,
}

/// Close a socket.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RemoveListener {
    /// Its id.
    pub listener: i64,
}

/// A rate shared by every transport behind one link. Sent again to change the rate.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AddBudget {
    /// Its id.
    pub budget: i64,
    /// bit/s, 0 = unlimited.
    pub rate: i64,
}

/// Make a transport.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AddTransport {
    /// Its id.
    pub transport: i64,
    /// How it is protected and where its peer is learnt from.
    pub kind: TransportKind,
    /// Our ICE user fragments that belong to it.
    #[serde(default)]
    pub ufrags: Vec<String>,
    /// The negotiated header extensions.
    #[serde(default)]
    pub extensions: ExtensionIdsMessage,
    /// The CNAME of every sink on it.
    #[serde(default)]
    pub cname: String,
    /// The sender SSRC of our RTCP.
    #[serde(default = "one")]
    pub feedback_ssrc: i64,
    /// The budget it shares, 0 = none.
    #[serde(default)]
    pub budget: i64,
    /// The listener of a transport that is not WebRTC.
    #[serde(default)]
    pub listener: i64,
    /// The signalled remote address of a transport that is not WebRTC.
    #[serde(default)]
    pub remote: Option<Address>,
    /// RFC 5506.
    #[serde(default = "yes")]
    pub reduced_size_rtcp: bool,
    /// The peer wants and sends transport-wide feedback.
    #[serde(default)]
    pub transport_cc: bool,
    /// The peer adapts to REMB (used when `transport_cc` is false).
    #[serde(default)]
    pub remb: bool,
    /// REMB ceiling, bit/s.
    #[serde(default = "four_megabits")]
    pub max_receive_rate: i64,
}

fn one() -> i64 {
    1
}

fn yes() -> bool {
    true
}

fn four_megabits() -> i64 {
    4_000_000
}

/// After an ICE restart: both the old and the new ufrag are known until the new path is nominated.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SetUfrags {
    /// The transport.
    pub transport: i64,
    /// All its ufrags.
    pub ufrags: Vec<String>,
}

/// A verified STUN check came over `path`: its DTLS and SRTP are now this transport's.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ValidatePath {
    /// The transport.
    pub transport: i64,
    /// The path.
    pub path: Path,
    /// We send there from now on (nominated).
    pub selected: bool,
}

/// SRTP keys of a transport: master key followed by salt, one per direction. Set once per transport.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct SetKeys {
    /// The transport.
    pub transport: i64,
    /// The protection profile.
    pub profile: SrtpProfile,
    /// What we send is protected with it.
    #[serde(with = "serde_bytes")]
    pub send_key: Vec<u8>,
    /// What we receive is protected with it.
    #[serde(with = "serde_bytes")]
    pub receive_key: Vec<u8>,
}

impl fmt::Debug for SetKeys {
    /// Without the keys.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SetKeys")
            .field("transport", &self.transport)
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

/// Send bytes that are not RTP (a STUN answer, a DTLS record) over a path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SendDatagram {
    /// The path.
    pub path: Path,
    /// The bytes.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
}

/// Remove a transport with its sources and sinks; BYE is sent for its sinks when it is connected.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RemoveTransport {
    /// Its id.
    pub transport: i64,
}

/// One incoming track. Repeated for a known source it replaces codecs and layers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct AddSource {
    /// Its id.
    pub source: i64,
    /// The transport it arrives on, 0 = it is fed by an injection.
    pub transport: i64,
    /// Sound or pictures.
    pub kind: MediaKind,
    /// Its media id.
    pub mid: String,
    /// Payload types it may arrive with.
    pub codecs: Vec<SourceCodec>,
    /// In rising quality.
    #[serde(default = "one_layer")]
    pub layers: Vec<Layer>,
    /// s that packets are kept while it has no route, at most 1.5.
    #[serde(default)]
    pub hold: f64,
}

fn one_layer() -> Vec<Layer> {
    vec![Layer::default()]
}

/// Remove a source.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RemoveSource {
    /// Its id.
    pub source: i64,
}

/// One outgoing track. Exactly one of `transport` and `tap` is non-zero.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AddSink {
    /// Its id.
    pub sink: i64,
    /// Sound or pictures.
    pub kind: MediaKind,
    /// Payload types it may leave with.
    #[serde(default)]
    pub codecs: Vec<SinkCodec>,
    /// The transport it leaves on, or 0.
    #[serde(default)]
    pub transport: i64,
    /// The tap that reads it, or 0.
    #[serde(default)]
    pub tap: i64,
    /// Its media id.
    #[serde(default)]
    pub mid: String,
    /// Its SSRC.
    #[serde(default)]
    pub ssrc: i64,
    /// 0 = losses are answered with a key frame, not RTX.
    #[serde(default)]
    pub rtx_ssrc: i64,
    /// Below 2^15 (SRTP rollover).
    #[serde(default)]
    pub first_sequence: i64,
    /// The first RTP time.
    #[serde(default)]
    pub first_timestamp: i64,
}

/// Remove a sink.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RemoveSink {
    /// Its id.
    pub sink: i64,
}

/// The complete sink list of one source. A revision lower than the last applied one is refused.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SetRoutes {
    /// The source.
    pub source: i64,
    /// Grows with every change.
    pub revision: i64,
    /// Every sink it feeds.
    pub sinks: Vec<i64>,
}

/// The layer a sink should get, taken at that layer's next key frame.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SelectLayer {
    /// The sink.
    pub sink: i64,
    /// An index into the source's layers; -1 pauses the sink.
    pub layer: i64,
    /// Drop the current layer at once instead of keeping it until the key frame.
    #[serde(default)]
    pub now: bool,
}

/// The pacing rate of a transport.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SetRate {
    /// The transport.
    pub transport: i64,
    /// bit/s, 0 = unpaced.
    pub rate: i64,
}

/// Ask a source's layer for a key frame; merged, at most one a second.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RequestKeyFrame {
    /// The source.
    pub source: i64,
    /// An index into its layers.
    #[serde(default)]
    pub layer: i64,
}

/// A reader on a Unix socket (SOCK_SEQPACKET) that gets records.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AddTap {
    /// Its id.
    pub tap: i64,
    /// Where the socket is made.
    pub path: String,
}

/// Remove a tap.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RemoveTap {
    /// Its id.
    pub tap: i64,
}

/// A writer on a Unix socket that feeds sources with `transport` 0.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AddInjection {
    /// Its id.
    pub injection: i64,
    /// Where the socket is made.
    pub path: String,
    /// What it may feed.
    pub sources: Vec<i64>,
}

/// Remove an injection.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RemoveInjection {
    /// Its id.
    pub injection: i64,
}

/// What an engine can be told.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type")]
#[allow(missing_docs)] // each is its struct
pub enum Command {
    AddListener(AddListener),
    RemoveListener(RemoveListener),
    AddBudget(AddBudget),
    AddTransport(AddTransport),
    SetUfrags(SetUfrags),
    ValidatePath(ValidatePath),
    SetKeys(SetKeys),
    SendDatagram(SendDatagram),
    RemoveTransport(RemoveTransport),
    AddSource(AddSource),
    RemoveSource(RemoveSource),
    AddSink(AddSink),
    RemoveSink(RemoveSink),
    SetRoutes(SetRoutes),
    SelectLayer(SelectLayer),
    SetRate(SetRate),
    RequestKeyFrame(RequestKeyFrame),
    AddTap(AddTap),
    RemoveTap(RemoveTap),
    AddInjection(AddInjection),
    RemoveInjection(RemoveInjection),
}

/// Commands applied together between two packets: all of them, or none with an error.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Transaction {
    /// Its number, for the answer.
    pub number: i64,
    /// The commands in order.
    pub commands: Vec<Command>,
}

/// Answer to a transaction, in order.
#[derive(Clone, Debug, PartialEq, Eq, DeriveSerialize)]
pub struct Ack {
    /// The transaction's number.
    pub number: i64,
    /// "" = applied; else the reason.
    pub error: String,
    /// The index of the command that was refused, or -1.
    pub command: i64,
    /// The bound port of each AddListener, in order.
    pub ports: Vec<u16>,
}

impl Ack {
    /// Everything was applied.
    pub fn applied(number: i64, ports: Vec<u16>) -> Self {
        Self { number, error: String::new(), command: -1, ports }
    }

    /// Nothing was applied, because of one command.
    pub fn refused(number: i64, command: usize, error: impl Into<String>) -> Self {
        Self { number, error: error.into(), command: i64::try_from(command).unwrap_or(-1), ports: Vec::new() }
    }
}

// --------------------------------------------------------------------------- events

/// What an engine has to say.
#[derive(Clone, Debug, PartialEq, DeriveSerialize)]
#[serde(tag = "type")]
pub enum Event {
    /// A STUN message whose ufrag is known (at most 50 a second per address), for the ICE-lite agent.
    StunReceived {
        /// Whose ufrag it has.
        transport: i64,
        /// Where it came from.
        path: Path,
        /// The message.
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    },
    /// A DTLS datagram from a validated path.
    DtlsReceived {
        /// Whose path it is.
        transport: i64,
        /// Where it came from.
        path: Path,
        /// The datagram.
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    },
    /// A TCP connection of a mux listener that carried this transport's path closed.
    ConnectionClosed {
        /// Whose path it was.
        transport: i64,
        /// The path.
        path: Path,
    },
    /// The first authenticated packet of a layer arrived.
    LayerSeen {
        /// The source.
        source: i64,
        /// The layer's index.
        layer: i64,
        /// Its SSRC.
        ssrc: u32,
        /// What it carries.
        codec: Codec,
    },
    /// A key frame of a layer arrived; sent for the first one, on a change of size, and at most once a second.
    KeyFrameSeen {
        /// The source.
        source: i64,
        /// The layer's index.
        layer: i64,
        /// Pixels, 0 = not told by the codec's start.
        width: u32,
        /// Pixels, 0 = not told by the codec's start.
        height: u32,
    },
    /// No packet of a layer that was live for one second, or it is back.
    LayerStalled {
        /// The source.
        source: i64,
        /// The layer's index.
        layer: i64,
        /// False = it is back.
        stalled: bool,
    },
    /// A sink now forwards this layer of this source (the key frame left, or the first audio packet).
    SinkStarted {
        /// The sink.
        sink: i64,
        /// The source.
        source: i64,
        /// The layer's index.
        layer: i64,
    },
    /// A sink is routed but nothing can leave.
    SinkWaiting {
        /// The sink.
        sink: i64,
        /// The source.
        source: i64,
        /// Why, one word of `WAIT_REASONS` in `messages.py`.
        reason: &'static str,
    },
    /// What a peer reported of what we sent, at most 20 times a second per transport.
    FeedbackReceived {
        /// The transport.
        transport: i64,
        /// (send time s, arrival time s on the peer's clock or -1.0 = lost, size bytes), in send order.
        samples: Vec<(f64, f64, i64)>,
        /// 0..1, -1.0 = this event has none.
        fraction_lost: f64,
        /// s, -1.0 = this event has none.
        rtt: f64,
        /// bit/s or 0.
        remb: i64,
    },
    /// A source with `hold` began to speak, or has been quiet for 0.15 s and nothing of it waits to leave.
    VoiceActivity {
        /// The source.
        source: i64,
        /// It speaks.
        active: bool,
        /// s at the beginning of the spurt that its route did not get; -1.0 = it has had no route yet.
        clipped: f64,
    },
    /// The event queue was full; this many events were lost since the last one delivered.
    EventsDropped {
        /// How many.
        count: u64,
    },
}

// --------------------------------------------------------------------------- statistics

/// Statistics of one layer.
#[derive(Clone, Debug, Default, PartialEq, DeriveSerialize)]
pub struct LayerStatistics {
    /// "" without simulcast.
    pub rid: String,
    /// 0 = not seen yet.
    pub ssrc: u32,
    /// A `Codec` by its number, 0 = not seen yet.
    pub codec: u8,
    /// Packets received.
    pub packets: u64,
    /// Bytes received.
    pub bytes: u64,
    /// bit/s over the last second.
    pub bitrate: i64,
    /// Pictures a second.
    pub frames_per_second: f64,
    /// Packets lost.
    pub lost: i64,
    /// s.
    pub jitter: f64,
    /// Key frames received.
    pub key_frames: u64,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// s, -1 = never.
    pub last_packet_age: f64,
}

/// Statistics of one source.
#[derive(Clone, Debug, Default, PartialEq, DeriveSerialize)]
pub struct SourceStatistics {
    /// Its id.
    pub source: i64,
    /// In rising quality.
    pub layers: Vec<LayerStatistics>,
    /// Key frames asked for.
    pub key_frame_requests: u64,
}

/// Statistics of one sink.
#[derive(Clone, Debug, Default, PartialEq, DeriveSerialize)]
pub struct SinkStatistics {
    /// Its id.
    pub sink: i64,
    /// What feeds it, 0 = nothing.
    pub source: i64,
    /// The layer that leaves, -1 = none.
    pub layer: i64,
    /// Packets sent.
    pub packets: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// bit/s over the last second.
    pub bitrate: i64,
    /// Packets sent again.
    pub retransmitted: u64,
    /// Packets that did not leave.
    pub dropped: u64,
    /// 0..1 as the peer reports it.
    pub fraction_lost: f64,
    /// NACKs received.
    pub nacks: u64,
    /// Key frames the peer asked for.
    pub key_frame_requests: u64,
}

/// Statistics of one transport.
#[derive(Clone, Debug, Default, PartialEq, DeriveSerialize)]
pub struct TransportStatistics {
    /// Its id.
    pub transport: i64,
    /// Datagrams that authenticated.
    pub packets_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Datagrams sent.
    pub packets_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// bit/s.
    pub receive_rate: i64,
    /// bit/s.
    pub send_rate: i64,
    /// s.
    pub rtt: f64,
    /// Bytes waiting in the pacer.
    pub queue: u64,
    /// Packets the pacer threw away.
    pub dropped: u64,
    /// Packets whose tag is wrong.
    pub unauthenticated: u64,
    /// Packets that came before.
    pub replayed: u64,
}

/// A snapshot of the whole engine.
#[derive(Clone, Debug, Default, PartialEq, DeriveSerialize)]
pub struct EngineStatistics {
    /// Every transport.
    pub transports: Vec<TransportStatistics>,
    /// Every source.
    pub sources: Vec<SourceStatistics>,
    /// Every sink.
    pub sinks: Vec<SinkStatistics>,
    /// Every drop and error by name.
    pub counters: BTreeMap<String, u64>,
    /// CPU s that the engine's thread used so far.
    pub cpu_seconds: f64,
    /// The worst s that its loop was late since the last snapshot.
    pub lag: f64,
}

// --------------------------------------------------------------------------- bytes

/// Read a transaction. The error is a sentence for the `Ack`; `transaction_number` tells which one it answers.
pub fn decode_transaction(data: &[u8]) -> Result<Transaction, String> {
    rmp_serde::from_slice(data).map_err(|error| format!("the transaction cannot be read: {error}"))
}

/// The number of a transaction that cannot be read, or -1 when not even that can.
pub fn transaction_number(data: &[u8]) -> i64 {
    #[derive(Deserialize)]
    struct Head {
        number: i64,
        #[serde(rename = "commands")]
        _commands: IgnoredAny,
    }
    rmp_serde::from_slice::<Head>(data).map_or(-1, |head| head.number)
}

/// Write an answer.
pub fn encode_ack(ack: &Ack) -> Vec<u8> {
    encode(ack)
}

/// Write events as one array.
pub fn encode_events(events: &[Event]) -> Vec<u8> {
    encode(events)
}

/// Write a snapshot.
pub fn encode_statistics(statistics: &EngineStatistics) -> Vec<u8> {
    encode(statistics)
}

/// Our own plain structs into memory: nothing of this can fail.
fn encode<T: Serialize + ?Sized>(message: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(message).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::bytes;

    /// Every command as `msgspec.msgpack.encode` writes it.
    const COMMANDS: [&str; 21] = [
        "85a474797065ab4164644c697374656e6572a86c697374656e657201a46b696e6401a4686f7374a0a4706f7274\
         ce00011170",
        "82a474797065ae52656d6f76654c697374656e6572a86c697374656e657201",
        "83a474797065a9416464427564676574a662756467657401a472617465fb",
        "8ea474797065ac4164645472616e73706f7274a97472616e73706f727402a46b696e6402a675667261677392a1\
         61a162aa657874656e73696f6e7387a36d696404a372696400ac72657061697265645f72696400ac7472616e73\
         706f72745f636300ad6162735f73656e645f74696d6500ab617564696f5f6c6576656c00ab6f7269656e746174\
         696f6ecd012ca5636e616d65a0ad666565646261636b5f7373726301a662756467657400a86c697374656e6572\
         00a672656d6f746592a93139322e302e322e39ce0001869fb1726564756365645f73697a655f72746370c3ac74\
         72616e73706f72745f6363c2a472656d62c2b06d61785f726563656976655f72617465ce003d0900",
        "83a474797065a9536574556672616773a97472616e73706f727402a675667261677390",
        "84a474797065ac56616c696461746550617468a97472616e73706f727402a470617468940192a1610192a16202\
         07a873656c6563746564c3",
        "85a474797065a75365744b657973a97472616e73706f727402a770726f66696c6507a873656e645f6b6579c41c\
         000102030405060708090a0b0c0d0e0f101112131415161718191a1bab726563656976655f6b6579c401ff",
        "83a474797065ac53656e64446174616772616da470617468940192a93139322e302e322e31cd138892ab323030\
         313a6462383a3a31cd177000a464617461c40216fe",
        "82a474797065af52656d6f76655472616e73706f7274a97472616e73706f727402",
        "88a474797065a9416464536f75726365a6736f7572636503a97472616e73706f727402a46b696e6402a36d6964\
         a176a6636f646563739184a5636f64656301ac7061796c6f61645f7479706560aa636c6f636b5f72617465ce00\
         015f90b07274785f7061796c6f61645f7479706561a66c61796572739183a3726964a0a47373726300a8727478\
         5f7373726300a4686f6c6401",
        "82a474797065ac52656d6f7665536f75726365a6736f7572636503",
        "8ba474797065a741646453696e6ba473696e6b04a46b696e6401a6636f646563739184a5636f64656304ac7061\
         796c6f61645f747970653faa636c6f636b5f72617465cdbb80b07274785f7061796c6f61645f7479706500a974\
         72616e73706f727402a374617000a36d6964a0a473737263ceffffffffa87274785f7373726300ae6669727374\
         5f73657175656e636500af66697273745f74696d657374616d70cf0000000100000000",
        "82a474797065aa52656d6f766553696e6ba473696e6b04",
        "84a474797065a9536574526f75746573a6736f7572636503a87265766973696f6e09a573696e6b73920405",
        "84a474797065ab53656c6563744c61796572a473696e6b04a56c61796572ffa36e6f77c3",
        "83a474797065a753657452617465a97472616e73706f727402a472617465ce000f4240",
        "83a474797065af526571756573744b65794672616d65a6736f7572636503a56c6179657201",
        "83a474797065a6416464546170a374617005a470617468a22f74",
        "82a474797065a952656d6f7665546170a374617005",
        "84a474797065ac416464496e6a656374696f6ea9696e6a656374696f6e06a470617468a22f69a7736f75726365\
         739103",
        "82a474797065af52656d6f7665496e6a656374696f6ea9696e6a656374696f6e06",
    ];

    fn transaction() -> Vec<u8> {
        let mut data = bytes("82a66e756d6265720ca8636f6d6d616e6473dc0015");
        for command in COMMANDS {
            data.extend(bytes(command));
        }
        data
    }

    fn address(host: &str, port: u32) -> Address {
        Address { host: host.into(), port }
    }

    fn path() -> Path {
        Path {
            listener: 1,
            local: address("192.0.2.1", 5000),
            remote: address("2001:db8::1", 6000),
            connection: 0,
        }
    }

    #[test]
    fn every_command_arrives() {
        let transaction = decode_transaction(&transaction()).unwrap();
        assert_eq!(transaction.number, 12);
        assert_eq!(
            transaction.commands,
            [
                Command::AddListener(AddListener {
                    listener: 1,
                    kind: ListenerKind::UdpMux,
                    host: "".into(),
                    port: 70_000,
                }),
                Command::RemoveListener(RemoveListener { listener: 1 }),
                Command::AddBudget(AddBudget { budget: 1, rate: -5 }),
                Command::AddTransport(AddTransport {
                    transport: 2,
                    kind: TransportKind::Plain,
                    ufrags: vec!["a".into(), "b".into()],
                    extensions: ExtensionIdsMessage { mid: 4, orientation: 300, ..Default::default() },
                    cname: "".into(),
                    feedback_ssrc: 1,
                    budget: 0,
                    listener: 0,
                    remote: Some(address("192.0.2.9", 99_999)),
                    reduced_size_rtcp: true,
                    transport_cc: false,
                    remb: false,
                    max_receive_rate: 4_000_000,
                }),
                Command::SetUfrags(SetUfrags { transport: 2, ufrags: vec![] }),
                Command::ValidatePath(ValidatePath {
                    transport: 2,
                    path: Path {
                        listener: 1,
                        local: address("a", 1),
                        remote: address("b", 2),
                        connection: 7,
                    },
                    selected: true,
                }),
                Command::SetKeys(SetKeys {
                    transport: 2,
                    profile: SrtpProfile::AeadAes128Gcm,
                    send_key: (0..28).collect(),
                    receive_key: vec![255],
                }),
                Command::SendDatagram(SendDatagram { path: path(), data: vec![0x16, 0xfe] }),
                Command::RemoveTransport(RemoveTransport { transport: 2 }),
                Command::AddSource(AddSource {
                    source: 3,
                    transport: 2,
                    kind: MediaKind::Video,
                    mid: "v".into(),
                    codecs: vec![SourceCodec {
                        codec: Codec::Vp8,
                        payload_type: 96,
                        clock_rate: 90_000,
                        rtx_payload_type: 97,
                    }],
                    layers: vec![Layer::default()],
                    hold: 1.0,
                }),
                Command::RemoveSource(RemoveSource { source: 3 }),
                Command::AddSink(AddSink {
                    sink: 4,
                    kind: MediaKind::Audio,
                    codecs: vec![SinkCodec {
                        codec: Codec::Red,
                        payload_type: 63,
                        clock_rate: 48_000,
                        rtx_payload_type: 0,
                    }],
                    transport: 2,
                    tap: 0,
                    mid: "".into(),
                    ssrc: 0xffff_ffff,
                    rtx_ssrc: 0,
                    first_sequence: 0,
                    first_timestamp: 1 << 32,
                }),
                Command::RemoveSink(RemoveSink { sink: 4 }),
                Command::SetRoutes(SetRoutes { source: 3, revision: 9, sinks: vec![4, 5] }),
                Command::SelectLayer(SelectLayer { sink: 4, layer: -1, now: true }),
                Command::SetRate(SetRate { transport: 2, rate: 1_000_000 }),
                Command::RequestKeyFrame(RequestKeyFrame { source: 3, layer: 1 }),
                Command::AddTap(AddTap { tap: 5, path: "/t".into() }),
                Command::RemoveTap(RemoveTap { tap: 5 }),
                Command::AddInjection(AddInjection { injection: 6, path: "/i".into(), sources: vec![3] }),
                Command::RemoveInjection(RemoveInjection { injection: 6 }),
            ]
        );
    }

    fn packed(value: &impl Serialize) -> Vec<u8> {
        rmp_serde::to_vec_named(value).unwrap()
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        #[derive(DeriveSerialize)]
        struct Bare {
            r#type: &'static str,
            transport: u8,
            kind: u8,
        }
        let bare = packed(&Bare { r#type: "AddTransport", transport: 1, kind: 1 });
        let Command::AddTransport(made) = rmp_serde::from_slice(&bare).unwrap() else {
            panic!("another command");
        };
        assert_eq!((made.feedback_ssrc, made.max_receive_rate), (1, 4_000_000));
        assert!(made.reduced_size_rtcp && !made.transport_cc && !made.remb && made.remote.is_none());
        assert_eq!(made.extensions.checked(), Some(ExtensionIds::default()));
    }

    #[test]
    fn unknown_commands_and_numbers_are_refused_and_the_number_is_still_told() {
        for (from, to) in [(&b"RemoveTap"[..], &b"RemoveTip"[..]), (b"\xa4kind\x01", b"\xa4kind\x09")] {
            let mut data = transaction();
            let at = data.windows(from.len()).position(|window| window == from).unwrap();
            data[at..at + to.len()].copy_from_slice(to);
            assert!(decode_transaction(&data).is_err());
            assert_eq!(transaction_number(&data), 12);
        }
        assert_eq!(transaction_number(b"\xc1"), -1);
    }

    #[test]
    fn extension_ids_are_bytes_and_differ() {
        let ids = |mid, rid| ExtensionIdsMessage { mid, rid, ..Default::default() };
        assert_eq!(ids(255, 1).checked().map(|checked| (checked.mid, checked.rid)), Some((255, 1)));
        for (mid, rid) in [(256, 0), (-1, 0), (3, 3)] {
            assert!(ids(mid, rid).checked().is_none());
        }
    }

    #[test]
    fn keys_are_never_shown() {
        let shown = format!("{:?}", decode_transaction(&transaction()).unwrap());
        assert!(shown.contains("SetKeys { transport: 2, profile: AeadAes128Gcm, .. }"));
    }

    /// Events and a snapshot as msgspec writes them.
    const EVENTS: &str = "9b84a474797065ac5374756e5265636569766564a97472616e73706f727401a470617468940192a93139322e30\
         2e322e31cd138892ab323030313a6462383a3a31cd177000a464617461c402000184a474797065ac44746c7352\
         65636569766564a97472616e73706f727401a470617468940192a93139322e302e322e31cd138892ab32303031\
         3a6462383a3a31cd177000a464617461c40083a474797065b0436f6e6e656374696f6e436c6f736564a9747261\
         6e73706f727401a470617468940192a93139322e302e322e31cd138892ab323030313a6462383a3a31cd177000\
         85a474797065a94c617965725365656ea6736f7572636501a56c6179657202a473737263ceffffffffa5636f64\
         65630385a474797065ac4b65794672616d655365656ea6736f7572636501a56c6179657202a57769647468cd02\
         80a6686569676874cd016884a474797065ac4c617965725374616c6c6564a6736f7572636501a56c6179657202\
         a77374616c6c6564c384a474797065ab53696e6b53746172746564a473696e6b01a6736f7572636502a56c6179\
         65720084a474797065ab53696e6b57616974696e67a473696e6b01a6736f7572636502a6726561736f6eac6e6f\
         5f6b65795f6672616d6586a474797065b0466565646261636b5265636569766564a97472616e73706f727401a7\
         73616d706c65739193cb3ff8000000000000cbbff0000000000000cd04b0ad6672616374696f6e5f6c6f7374cb\
         bff0000000000000a3727474cb3fd0000000000000a472656d62ce000493e084a474797065ad566f6963654163\
         746976697479a6736f7572636501a6616374697665c3a7636c6970706564cbbff000000000000082a474797065\
         ad4576656e747344726f70706564a5636f756e7403";
    const STATISTICS: &str = "86aa7472616e73706f727473918ca97472616e73706f727401b07061636b6574735f726563656976656400ae62\
         797465735f726563656976656400ac7061636b6574735f73656e7400aa62797465735f73656e7400ac72656365\
         6976655f7261746500a973656e645f7261746500a3727474cb3fe0000000000000a5717565756500a764726f70\
         70656400af756e61757468656e7469636174656400a87265706c6179656400a7736f75726365739183a6736f75\
         72636502a66c6179657273918da3726964a168a47373726300a5636f64656300a77061636b65747300a5627974\
         657300a76269747261746500b16672616d65735f7065725f7365636f6e64cb0000000000000000a46c6f737400\
         a66a6974746572cb0000000000000000aa6b65795f6672616d657300a5776964746800a668656967687400af6c\
         6173745f7061636b65745f616765cbbff0000000000000b26b65795f6672616d655f726571756573747303a573\
         696e6b73918ba473696e6b04a6736f7572636500a56c61796572ffa77061636b65747300a5627974657300a762\
         69747261746500ad72657472616e736d697474656400a764726f7070656400ad6672616374696f6e5f6c6f7374\
         cb0000000000000000a56e61636b7300b26b65795f6672616d655f726571756573747300a8636f756e74657273\
         81ad7274705f6d616c666f726d656405ab6370755f7365636f6e6473cb3fd0000000000000a36c6167cb0000000000000000";

    fn events() -> Vec<Event> {
        vec![
            Event::StunReceived { transport: 1, path: path(), data: vec![0, 1] },
            Event::DtlsReceived { transport: 1, path: path(), data: vec![] },
            Event::ConnectionClosed { transport: 1, path: path() },
            Event::LayerSeen { source: 1, layer: 2, ssrc: 0xffff_ffff, codec: Codec::Opus },
            Event::KeyFrameSeen { source: 1, layer: 2, width: 640, height: 360 },
            Event::LayerStalled { source: 1, layer: 2, stalled: true },
            Event::SinkStarted { sink: 1, source: 2, layer: 0 },
            Event::SinkWaiting { sink: 1, source: 2, reason: "no_key_frame" },
            Event::FeedbackReceived {
                transport: 1,
                samples: vec![(1.5, -1.0, 1200)],
                fraction_lost: -1.0,
                rtt: 0.25,
                remb: 300_000,
            },
            Event::VoiceActivity { source: 1, active: true, clipped: -1.0 },
            Event::EventsDropped { count: 3 },
        ]
    }

    fn statistics() -> EngineStatistics {
        EngineStatistics {
            transports: vec![TransportStatistics { transport: 1, rtt: 0.5, ..Default::default() }],
            sources: vec![SourceStatistics {
                source: 2,
                layers: vec![LayerStatistics {
                    rid: "h".into(),
                    last_packet_age: -1.0,
                    ..Default::default()
                }],
                key_frame_requests: 3,
            }],
            sinks: vec![SinkStatistics { sink: 4, layer: -1, ..Default::default() }],
            counters: BTreeMap::from([("rtp_malformed".to_string(), 5)]),
            cpu_seconds: 0.25,
            lag: 0.0,
        }
    }

    fn hex(data: &[u8]) -> String {
        data.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn what_is_written_is_what_msgspec_writes() {
        assert_eq!(hex(&encode_events(&events())), EVENTS);
        assert_eq!(hex(&encode_statistics(&statistics())), STATISTICS);
        assert_eq!(
            encode_ack(&Ack::applied(7, vec![5000])),
            b"\x84\xa6number\x07\xa5error\xa0\xa7command\xff\xa5ports\x91\xcd\x13\x88"
        );
        assert_eq!(
            encode_ack(&Ack::refused(-1, 2, "no")),
            b"\x84\xa6number\xff\xa5error\xa2no\xa7command\x02\xa5ports\x90"
        );
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let whole = transaction();
        let mut random = crate::chance::numbers();
        for _ in 0..50_000 {
            let mut data = whole.clone();
            for _ in 0..1 + random() % 4 {
                let at = random() as usize % data.len();
                data[at] = random() as u8;
            }
            data.truncate(data.len() - (random() % 50) as usize);
            let _ = decode_transaction(&data);
            let _ = transaction_number(&data);
        }
    }
}
