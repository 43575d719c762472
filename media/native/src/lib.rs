//! Fengsui's relay engine: the hot path of `media/relay` in one thread of its own. See CONTRACT.md for the boundary.

/// Packets are longer than what the system's allocator keeps at hand, and come and go by the thousand.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub mod addresses;
pub mod ancillary;
pub mod arrivals;
pub mod arriving;
pub mod association;
pub mod bounds;
#[cfg(test)]
mod chance;
pub mod commands;
pub mod control;
pub mod counters;
pub mod demux;
pub mod dispersion;
pub mod drip;
pub mod error;
pub mod events;
pub mod extensions;
pub mod feed;
pub mod feedback;
pub mod forms;
pub mod forwarding;
pub mod h264;
pub mod h264_syntax;
pub mod handle;
#[cfg(test)]
mod hex;
pub mod history;
pub mod key_frames;
pub mod keys;
pub mod layer;
pub mod looks;
pub mod messages;
pub mod nack;
pub mod ntp;
pub mod pacing;
pub mod packet;
pub mod poll;
pub mod ports;
#[cfg(feature = "python")]
pub mod python;
pub mod rates;
pub mod reception;
pub mod records;
pub mod red;
pub mod reports;
pub mod rewrite;
pub mod rtcp;
pub mod sending;
pub mod sequence;
pub mod sink;
pub mod snapshot;
pub mod sockets;
pub mod source;
pub mod spurt;
pub mod srtp;
pub mod state;
pub mod stream;
pub mod taps;
pub mod tcp;
pub mod train;
pub mod transport;
pub mod twcc;
pub mod udp;
pub mod vp8;
pub mod worker;
