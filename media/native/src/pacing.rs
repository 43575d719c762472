//! When packets leave: a token bucket per transport, four classes, and a budget that transports behind one
//! link share. Voice goes first and may run ahead of its rate for a moment. Call `try_spend` for what can
//! leave at once, which is nearly always, and `enqueue` only for the rest; then `pop` at `next_deadline`.
//! Sizes in bytes, rates in bit/s (0 = unlimited), `now` in seconds.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use rustc_hash::FxHashSet;

/// Bytes that may leave at once after a pause at least: two packets, whatever the rate.
pub const MIN_BURST: usize = 3_000;

const BURST: f64 = 0.010; // s of the rate that may leave at once after a pause
const VOICE_AHEAD: f64 = 0.100; // s of the rate that voice may run ahead of it
const MIN_VOICE_AHEAD: f64 = 2_000.0; // bytes

/// What a packet is to the pacer; smaller goes first. When its queue is full, voice and repair drop the
/// oldest (a late packet is worth less than a new one), video the new one and all that follow of its frame
/// (the rest of a torn frame is of no use), probes the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PacketClass {
    /// Audio.
    Voice = 0,
    /// Packets sent again.
    Repair = 1,
    /// Video.
    Video = 2,
    /// Padding that measures the path.
    Probe = 3,
}

impl PacketClass {
    /// Every class, in the order in which they leave.
    pub const ALL: [Self; 4] = [Self::Voice, Self::Repair, Self::Video, Self::Probe];
}

/// Bytes that may leave. It may go below zero by the last packet taken; voice may take it further down.
#[derive(Debug)]
pub struct TokenBucket {
    bytes_per_second: f64,
    burst: f64,
    last: f64,
    least_burst: usize,
    tokens: f64,
    voice_floor: f64,
}

/// What all transports behind one link may send together; give the same one to each `Pacer`.
///
/// Voice of any transport goes before the rest of all of them, as it may run ahead of the rate and they then
/// wait.
pub type SharedBudget = Rc<RefCell<TokenBucket>>;

impl TokenBucket {
    /// A full bucket.
    pub fn new(rate_bps: f64, now: f64) -> Self {
        let mut bucket = Self {
            bytes_per_second: 0.0,
            burst: 0.0,
            last: now,
            least_burst: MIN_BURST,
            tokens: 0.0,
            voice_floor: 0.0,
        };
        bucket.set_rate(rate_bps, now);
        bucket.tokens = bucket.burst;
        bucket
    }

    /// Change the rate; what was saved or owed stays. 0 = unlimited.
    pub fn set_rate(&mut self, rate_bps: f64, now: f64) {
        self.refill(now);
        self.bytes_per_second = rate_bps / 8.0;
        self.burst = (BURST * self.bytes_per_second).max(self.least_burst as f64);
        self.voice_floor = -(VOICE_AHEAD * self.bytes_per_second).max(MIN_VOICE_AHEAD);
    }

    /// How many bytes may leave at once after a pause, at least; what was saved stays.
    pub fn set_burst(&mut self, size: usize, now: f64) {
        self.least_burst = size.max(MIN_BURST);
        self.set_rate(8.0 * self.bytes_per_second, now);
    }

    /// Whether a packet of this class may leave now.
    pub fn may_spend(&mut self, now: f64, kind: PacketClass) -> bool {
        if self.bytes_per_second == 0.0 {
            return true;
        }
        self.refill(now);
        self.tokens > self.floor(kind)
    }

    /// A packet of `size` bytes leaves; call `may_spend` first.
    pub fn spend(&mut self, size: usize) {
        if self.bytes_per_second != 0.0 {
            self.tokens -= size as f64;
        }
    }

    /// When a packet of this class may leave if nothing else does until then.
    pub fn ready_at(&self, kind: PacketClass) -> f64 {
        let missing = self.floor(kind) - self.tokens;
        if self.bytes_per_second == 0.0 || missing < 0.0 {
            return self.last;
        }
        // A hair later than exact, so that rounding never makes a timer fire just too early for ever.
        self.last + missing / self.bytes_per_second + 1e-6
    }

    fn floor(&self, kind: PacketClass) -> f64 {
        if kind == PacketClass::Voice { self.voice_floor } else { 0.0 }
    }

    fn refill(&mut self, now: f64) {
        if now > self.last {
            self.tokens = (self.tokens + (now - self.last) * self.bytes_per_second).min(self.burst);
            self.last = now;
        }
    }
}

#[derive(Debug)]
struct Queue<Item> {
    limit: usize,
    items: VecDeque<(usize, Item)>,
    size: usize,
}

impl<Item> Queue<Item> {
    fn fits(&self, size: usize) -> bool {
        self.size.saturating_add(size) <= self.limit
    }

    fn take(&mut self) -> Option<(usize, Item)> {
        let (size, item) = self.items.pop_front()?;
        self.size -= size;
        Some((size, item))
    }
}

/// One transport's pacer. Items are whatever the engine sends.
#[derive(Debug)]
pub struct Pacer<Item> {
    bucket: TokenBucket,
    budget: Option<SharedBudget>,
    queues: [Queue<Item>; 4],
    queued: usize,
    torn: FxHashSet<u32>, // flows whose frame lost a packet here
    /// Packets that waited and had to make way for a newer one since somebody took the count. What `enqueue` refuses
    /// its caller counts.
    pub displaced: u64,
}

impl<Item> Pacer<Item> {
    /// `limits`: bytes that may wait in each class.
    pub fn new(rate_bps: f64, now: f64, budget: Option<SharedBudget>, limits: [usize; 4]) -> Self {
        Self {
            bucket: TokenBucket::new(rate_bps, now),
            budget,
            queues: limits.map(|limit| Queue { limit, items: VecDeque::new(), size: 0 }),
            queued: 0,
            torn: FxHashSet::default(),
            displaced: 0,
        }
    }

    /// The transport's rate, 0 = unlimited. Call `pop` next: what waits may leave earlier.
    pub fn set_rate(&mut self, rate_bps: f64, now: f64) {
        self.bucket.set_rate(rate_bps, now);
    }

    /// How many bytes the path takes at once. The budget that others share keeps its own measure.
    pub fn set_burst(&mut self, size: usize, now: f64) {
        self.bucket.set_burst(size, now);
    }

    /// Whether this packet, or train of them, may leave at once; if so it is paid for.
    ///
    /// Never past packets that wait in the same class or a higher one.
    pub fn try_spend(&mut self, size: usize, now: f64, kind: PacketClass) -> bool {
        if self.queued > 0 && self.queues[..=kind as usize].iter().any(|queue| !queue.items.is_empty()) {
            return false;
        }
        if !self.may_spend(now, kind) {
            return false;
        }
        self.spend(size);
        true
    }

    /// Let a packet of `size` bytes wait. False: it was dropped by its class's rule.
    ///
    /// `frame_end`: the last packet of its frame; `flow` tells streams of one transport apart, since a torn
    /// frame of one is no reason to drop another's. Call `pop` at `next_deadline`.
    pub fn enqueue(
        &mut self,
        kind: PacketClass,
        size: usize,
        item: Item,
        frame_end: bool,
        flow: u32,
    ) -> bool {
        let queue = &mut self.queues[kind as usize];
        let refused = match kind {
            PacketClass::Video => {
                let refused = self.torn.contains(&flow) || !queue.fits(size);
                if refused && frame_end {
                    self.torn.remove(&flow);
                } else if refused {
                    self.torn.insert(flow);
                }
                refused
            }
            PacketClass::Probe => !queue.fits(size),
            PacketClass::Voice | PacketClass::Repair => size > queue.limit,
        };
        if refused {
            return false;
        }
        while !queue.fits(size) && queue.take().is_some() {
            self.queued -= 1;
            self.displaced += 1;
        }
        queue.items.push_back((size, item));
        queue.size += size;
        self.queued += 1;
        true
    }

    /// The packets whose time has come, in the order they leave.
    pub fn pop(&mut self, now: f64) -> Vec<Item> {
        let mut leaving = Vec::new();
        if self.queued == 0 {
            return leaving;
        }
        for kind in PacketClass::ALL {
            while !self.queues[kind as usize].items.is_empty() {
                if !self.may_spend(now, kind) {
                    return leaving;
                }
                if let Some((size, item)) = self.queues[kind as usize].take() {
                    self.queued -= 1;
                    self.spend(size);
                    leaving.push(item);
                }
            }
        }
        leaving
    }

    /// When `pop` has something; None when nothing waits.
    ///
    /// With a shared budget others may have spent it by then: look again after each `pop`.
    pub fn next_deadline(&self) -> Option<f64> {
        if self.queued == 0 {
            return None;
        }
        let kind = PacketClass::ALL.into_iter().find(|kind| !self.queues[*kind as usize].items.is_empty())?;
        let ready = self.bucket.ready_at(kind);
        Some(self.budget.as_ref().map_or(ready, |budget| ready.max(budget.borrow().ready_at(kind))))
    }

    /// Bytes that wait.
    pub fn queued_bytes(&self) -> usize {
        self.queues.iter().map(|queue| queue.size).sum()
    }

    /// A stream has gone: forget that a frame of it was torn.
    pub fn drop_flow_state(&mut self, flow: u32) {
        self.torn.remove(&flow);
    }

    fn may_spend(&mut self, now: f64, kind: PacketClass) -> bool {
        self.bucket.may_spend(now, kind)
            && self.budget.as_ref().is_none_or(|budget| budget.borrow_mut().may_spend(now, kind))
    }

    fn spend(&mut self, size: usize) {
        self.bucket.spend(size);
        if let Some(budget) = &self.budget {
            budget.borrow_mut().spend(size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PacketClass::{Probe, Repair, Video, Voice};
    use super::*;

    const LIMITS: [usize; 4] = [16_000, 150_000, 300_000, 20_000];

    fn pacer<Item>(rate: f64) -> Pacer<Item> {
        Pacer::new(rate, 0.0, None, LIMITS)
    }

    fn shared(rate: f64) -> SharedBudget {
        Rc::new(RefCell::new(TokenBucket::new(rate, 0.0)))
    }

    /// How many packets of this size may leave at once, of 10,000.
    fn passing<Item>(pacer: &mut Pacer<Item>, size: usize, now: f64, kind: PacketClass) -> usize {
        (0..10_000).filter(|_| pacer.try_spend(size, now, kind)).count()
    }

    /// How many packets wait, by class.
    fn waiting<Item>(pacer: &Pacer<Item>) -> [usize; 4] {
        pacer.queues.each_ref().map(|queue| queue.items.len())
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let mut pacer = pacer::<u32>(800_000.0); // 100 bytes per millisecond
        assert_eq!(passing(&mut pacer, 1_000, 0.0, Video), 3);
        // 100 bytes came in: above zero, so a whole packet goes.
        assert!(pacer.try_spend(1_000, 0.001, Video));
        assert!(!pacer.try_spend(1_000, 0.002, Video));
        assert!(!pacer.try_spend(1_000, 0.010, Video));
        assert!(pacer.try_spend(1_000, 0.0101, Video));
    }

    #[test]
    fn a_path_that_takes_more_at_once_gets_it_once_and_then_the_rate_holds() {
        let mut pacer = pacer::<u32>(800_000.0);
        pacer.set_burst(20_000, 0.0);
        assert_eq!(passing(&mut pacer, 1_000, 1.0, Video), 20);
        assert_eq!(passing(&mut pacer, 1_000, 1.009, Video), 1);
        pacer.set_burst(0, 1.009);
        assert_eq!(passing(&mut pacer, 1_000, 3.0, Video), 3);
    }

    #[test]
    fn a_budget_keeps_its_own_measure_of_a_burst() {
        let mut pacer = Pacer::<u32>::new(0.0, 0.0, Some(shared(800_000.0)), LIMITS);
        pacer.set_burst(20_000, 0.0);
        assert_eq!(passing(&mut pacer, 1_000, 1.0, Video), 3);
    }

    #[test]
    fn unlimited() {
        assert_eq!(passing(&mut pacer::<u32>(0.0), 1_200, 0.0, Video), 10_000);
    }

    #[test]
    fn what_waits_leaves_in_order_of_class_and_then_of_arrival() {
        let mut pacer = pacer(80_000.0);
        passing(&mut pacer, 1_000, 0.0, Video);
        for (kind, name) in [(Probe, "p"), (Video, "v1"), (Video, "v2"), (Repair, "r"), (Voice, "a")] {
            assert!(pacer.enqueue(kind, 1_000, name, true, 0));
        }
        assert_eq!(pacer.queued_bytes(), 5_000);
        assert_eq!(pacer.pop(0.0), ["a"]); // voice runs ahead
        let mut order = Vec::new();
        let mut now = 0.0;
        while let Some(deadline) = pacer.next_deadline() {
            assert!(deadline > now);
            now = deadline;
            let items = pacer.pop(now);
            assert_eq!(items.len(), 1);
            order.extend(items);
        }
        assert_eq!(order, ["r", "v1", "v2", "p"]);
        assert!(0.4 < now && now < 0.6); // 5,000 bytes at 10 bytes a millisecond, the last one owed
        assert_eq!(pacer.queued_bytes(), 0);
        assert!(pacer.pop(10.0).is_empty());
    }

    #[test]
    fn nothing_passes_what_waits_in_its_class_or_above() {
        let mut pacer = pacer(80_000.0);
        passing(&mut pacer, 1_000, 0.0, Video);
        pacer.enqueue(Video, 1_000, "v", true, 0);
        assert!(!pacer.try_spend(10, 1.0, Video));
        assert!(!pacer.try_spend(10, 1.0, Probe));
        assert!(pacer.try_spend(10, 1.0, Repair));
        assert!(pacer.try_spend(10, 1.0, Voice));
        assert_eq!(pacer.pop(1.0), ["v"]);
        assert!(pacer.try_spend(10, 1.0, Probe));
    }

    #[test]
    fn voice_runs_ahead_only_so_far() {
        let mut pacer = pacer::<u32>(80_000.0);
        assert_eq!(passing(&mut pacer, 100, 0.0, Voice), 50); // 3,000 bytes of burst and 2,000 ahead
        assert!(!pacer.try_spend(100, 0.1, Video));
    }

    #[test]
    fn a_full_video_queue_drops_to_the_end_of_the_frame() {
        let mut pacer = Pacer::new(80_000.0, 0.0, None, [1_000, 1_000, 2_500, 1_000]);
        passing(&mut pacer, 1_000, 0.0, Video);
        assert!(pacer.enqueue(Video, 1_000, "a1", false, 0));
        assert!(pacer.enqueue(Video, 1_000, "a2", false, 0));
        assert!(!pacer.enqueue(Video, 1_000, "a3", false, 0));
        assert!(!pacer.enqueue(Video, 100, "a4", false, 0)); // would fit, but its frame is torn
        assert!(pacer.enqueue(Video, 100, "other flow", true, 7));
        assert!(!pacer.enqueue(Video, 100, "a5", true, 0));
        assert!(pacer.enqueue(Video, 100, "b1", true, 0));
        assert_eq!(waiting(&pacer), [0, 0, 4, 0]);
    }

    #[test]
    fn a_dropped_last_packet_does_not_tear_the_next_frame_nor_does_a_stream_that_has_gone() {
        let mut pacer = Pacer::new(80_000.0, 0.0, None, [1_000; 4]);
        passing(&mut pacer, 1_000, 0.0, Video);
        assert!(pacer.enqueue(Video, 900, "a", true, 0));
        assert!(!pacer.enqueue(Video, 900, "b", true, 0));
        assert!(pacer.enqueue(Video, 50, "c", true, 0));
        assert!(!pacer.enqueue(Video, 900, "d", false, 0));
        assert!(!pacer.enqueue(Video, 10, "e", false, 0));
        pacer.drop_flow_state(0);
        assert!(pacer.enqueue(Video, 10, "f", false, 0));
    }

    #[test]
    fn full_voice_and_repair_queues_drop_the_oldest_and_probes_the_newest() {
        let mut pacer = Pacer::new(8_000.0, 0.0, None, [300; 4]);
        passing(&mut pacer, 100, 0.0, Voice);
        for kind in [Voice, Repair, Probe] {
            for number in 0..5 {
                pacer.enqueue(kind, 100, 10 * kind as u32 + number, true, 0);
            }
        }
        assert_eq!(waiting(&pacer), [3, 3, 0, 3]);
        assert_eq!(pacer.displaced, 4);
        assert!(!pacer.enqueue(Voice, 301, 99, true, 0));
        let left: Vec<u32> = (1..100).flat_map(|second| pacer.pop(f64::from(second))).collect();
        assert_eq!(left, [2, 3, 4, 12, 13, 14, 30, 31, 32]);
    }

    #[test]
    fn a_shared_budget_limits_the_sum_and_lets_voice_first() {
        let budget = shared(800_000.0);
        let mut pacers =
            [(); 2].map(|()| Pacer::<u32>::new(8_000_000.0, 0.0, Some(Rc::clone(&budget)), LIMITS));
        let (mut voice, mut video) = (0, 0);
        for tick in 0..10_000 {
            let now = f64::from(tick) / 1_000.0;
            for pacer in &mut pacers {
                if tick % 20 == 0 {
                    assert!(pacer.try_spend(100, now, Voice));
                    voice += 100;
                }
                if tick % 2 == 0 && pacer.try_spend(1_000, now, Video) {
                    video += 1_000;
                }
            }
        }
        assert_eq!(voice, 100_000);
        assert!((990_000..1_010_000).contains(&(voice + video)));
    }

    #[test]
    fn the_deadline_heeds_the_budget() {
        let mut pacer = Pacer::new(8_000_000.0, 0.0, Some(shared(80_000.0)), LIMITS);
        passing(&mut pacer, 1_000, 0.0, Video);
        pacer.enqueue(Video, 1_000, "v", true, 0);
        let deadline = pacer.next_deadline().unwrap();
        assert!(pacer.pop(deadline - 0.001).is_empty());
        assert_eq!(pacer.pop(deadline), ["v"]);
    }

    #[test]
    fn a_new_rate_counts_from_now() {
        let mut pacer = pacer(8_000.0);
        passing(&mut pacer, 1_000, 0.0, Video);
        pacer.enqueue(Video, 500, "v", true, 0);
        pacer.set_rate(8_000_000.0, 0.0);
        assert!(pacer.next_deadline().unwrap() < 0.002);
        pacer.set_rate(0.0, 0.0);
        assert_eq!(pacer.pop(0.0), ["v"]);
    }

    #[test]
    fn a_bucket_never_saves_more_than_its_burst_and_time_never_runs_back() {
        let mut bucket = TokenBucket::new(8_000_000.0, 0.0); // a burst is 10 ms: 10,000 bytes
        assert!(bucket.may_spend(100.0, Video));
        bucket.spend(10_000);
        assert!(!bucket.may_spend(100.0, Video));
        assert!(!bucket.may_spend(50.0, Video));
        assert!(bucket.may_spend(100.001, Video));
    }

    #[test]
    fn never_above_the_rate_and_every_packet_is_accounted_for() {
        let mut numbers = crate::chance::numbers();
        let mut next = move |bound: u64| numbers() % bound;
        for _ in 0..100 {
            let rate = 30_000.0 + next(10_000_000) as f64;
            let ahead = (0.010 * rate / 8.0).max(3_000.0) + (0.100 * rate / 8.0).max(2_000.0);
            let mut pacer = pacer(rate);
            let (mut now, mut volume, mut count, mut dropped) = (0.0, 0.0, 0, 0);
            for _ in 0..300 {
                now += next(50) as f64 / 1_000.0;
                let kind = PacketClass::ALL[next(4) as usize];
                let size = 20 + next(1_380) as usize;
                for size in pacer.pop(now) {
                    volume += size as f64;
                    count += 1;
                }
                if pacer.try_spend(size, now, kind) {
                    volume += size as f64;
                    count += 1;
                } else {
                    let before = pacer.queued;
                    let taken = pacer.enqueue(kind, size, size, next(2) == 0, next(3) as u32);
                    dropped += before + 1 - pacer.queued;
                    assert!(taken || pacer.queued == before);
                }
                assert!(volume <= now * rate / 8.0 + ahead + 1_400.0);
            }
            while let Some(deadline) = pacer.next_deadline() {
                now = deadline.max(now);
                count += pacer.pop(now).len();
                assert!(now < 1_000.0);
            }
            assert_eq!(count + dropped, 300);
        }
    }
}
