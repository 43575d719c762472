//! How fast packets leave to a peer: its own rate, the budget of the link it shares, what its path carries at once; and
//! what waits for its turn.

use crate::keys::TransportKey;
use crate::pacing::Pacer;
use crate::poll::monotonic;
use crate::state::State;

const RUN_SECONDS: f64 = 0.005; // of the pacing rate that leave in one go
const MIN_RUN: usize = 3_000; // bytes
const MAX_RUN: usize = 65_000; // bytes
const MAX_BURST: usize = 64_000; // bytes that may leave at once on a path that is seen to carry them
const BURST_CHANGE: f64 = 0.25; // smaller changes of that are not worth following
const ROOM_SECONDS: f64 = 0.5; // of the pacing rate that video may wait
const MIN_ROOM: usize = 100_000; // bytes, so that a key frame has room on a thin link
const QUEUE_LIMITS: [usize; 4] = [16_000, 150_000, 1_000_000, 20_000]; // bytes that may wait at most, by class
const REPLAY_RATE: f64 = 80_000_000.0; // bit/s of kept packets on a transport without a rate
const REPLAY_LIMITS: [usize; 4] = [64_000, 150_000, 6_000_000, 20_000]; // bytes that may wait then, by class

impl State {
    /// The pacing rate, 0 = unpaced; the budget limits in any case.
    pub fn set_rate(&mut self, key: TransportKey, rate: i64) {
        let now = monotonic();
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        transport.rate = rate;
        let budget = self.budgets.get(&transport.budget);
        if let Some(pacer) = &mut transport.pacer {
            pacer.set_rate(rate as f64, now);
        } else if rate != 0 || budget.is_some() {
            let shared = budget.map(|budget| budget.bucket.clone());
            let mut pacer = Pacer::new(rate as f64, now, shared, QUEUE_LIMITS);
            pacer.set_burst(transport.burst, now);
            transport.pacer = Some(pacer);
        }
        let limits = [rate, budget.map_or(0, |budget| budget.rate)];
        let least = limits.into_iter().filter(|limit| *limit != 0).min().unwrap_or(0);
        let seconds = least as f64 / 8.0;
        transport.longest =
            if least != 0 { MIN_RUN.max((seconds * RUN_SECONDS).round() as usize) } else { MAX_RUN };
        if budget.is_none() {
            transport.longest = transport.longest.max(transport.burst);
        }
        transport.room = if least != 0 {
            MIN_ROOM.max((seconds * ROOM_SECONDS).round() as usize)
        } else {
            QUEUE_LIMITS[2]
        };
        transport.least = least;
        self.release(key);
    }

    /// Something new is known of what the path carries at once: a whole key frame may, where it makes no queue.
    pub fn carried(&mut self, key: TransportKey) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let burst = transport.folder.dispersion.burst.min(MAX_BURST);
        if burst.abs_diff(transport.burst) as f64 > BURST_CHANGE * transport.burst as f64 {
            transport.burst = burst;
            if let Some(pacer) = &mut transport.pacer {
                pacer.set_burst(burst, monotonic());
                let rate = transport.rate;
                self.set_rate(key, rate);
            }
        }
    }

    /// Kept packets will leave in one go: on an unpaced transport they get a rate of their own.
    pub fn pace_replay(&mut self, key: TransportKey) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        if transport.pacer.is_none() {
            transport.pacer = Some(Pacer::new(REPLAY_RATE, monotonic(), None, REPLAY_LIMITS));
            transport.longest = MAX_RUN;
            transport.room = REPLAY_LIMITS[2];
        }
    }

    /// Send what waits and whose turn has come.
    pub fn release(&mut self, key: TransportKey) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let Some(pacer) = transport.pacer.as_mut() else {
            return;
        };
        transport.dropped += std::mem::take(&mut pacer.displaced);
        let items = pacer.pop(monotonic());
        let mut start = 0;
        for end in 1..=items.len() {
            if end == items.len() || items[end].torn || items[end].kind() != items[start].kind() {
                self.leave_queue(&items[start..end]);
                start = end;
            }
        }
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        if transport.pacer.as_ref().is_some_and(|pacer| pacer.next_deadline().is_some()) {
            self.pacing.insert(key);
            return;
        }
        self.pacing.remove(&key);
        if transport.rate == 0 && !self.budgets.contains_key(&transport.budget) {
            transport.pacer = None;
        }
    }

    /// Bytes waiting to leave: in the pacer and, over TCP, behind it.
    pub fn queued(&self, key: TransportKey) -> usize {
        let Some(transport) = self.transports.get(key) else {
            return 0;
        };
        let waiting = transport.pacer.as_ref().map_or(0, Pacer::queued_bytes);
        waiting + transport.selected.as_ref().map_or(0, |way| self.backlog(way))
    }
}
