//! Waiting for sockets (epoll, level-triggered) until a deadline that is exact below a millisecond, waking
//! another thread (eventfd), and the two clocks.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, clock_gettime, timerfd_create,
    timerfd_settime,
};

const EVENTS_AT_ONCE: usize = 256;
const TIMER: u64 = u64::MAX; // the timer's own token
const NEVER: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Seconds on CLOCK_MONOTONIC.
pub fn monotonic() -> f64 {
    seconds(clock_gettime(ClockId::Monotonic))
}

/// Seconds since 1970 (CLOCK_REALTIME).
pub fn wallclock() -> f64 {
    seconds(clock_gettime(ClockId::Realtime))
}

/// CPU seconds that the calling thread used so far.
pub fn thread_seconds() -> f64 {
    seconds(clock_gettime(ClockId::ThreadCPUTime))
}

fn seconds(time: Timespec) -> f64 {
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// The instant as the kernel takes it, rounded up so that a timer never ends before it; 0 is kept for "never".
fn timespec(instant: f64) -> Timespec {
    let whole = instant.floor();
    let nanoseconds = ((instant - whole) * 1e9).ceil() as i64;
    Timespec { tv_sec: whole as i64 + nanoseconds / 1_000_000_000, tv_nsec: nanoseconds % 1_000_000_000 }
}

/// The sockets that are waited for, each by a token below `u64::MAX`.
pub struct Poll {
    epoll: OwnedFd,
    timer: OwnedFd,
    armed: Option<f64>, // the instant the timer is set to, also when that is over
    events: Vec<Event>,
}

impl Poll {
    /// Nothing is waited for yet.
    pub fn new() -> io::Result<Poll> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        Ok(Poll { epoll, timer, armed: None, events: Vec::with_capacity(EVENTS_AT_ONCE) })
    }

    /// Wait until `fd` is readable from now on. A closed descriptor is left out by itself.
    pub fn add(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(token), EventFlags::IN)?)
    }

    /// Whether to wait until `fd` is writable, too.
    pub fn want_write(&self, fd: impl AsFd, token: u64, wanted: bool) -> io::Result<()> {
        let flags = if wanted { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(token), flags)?)
    }

    /// How many are ready, at most 256; 0 once CLOCK_MONOTONIC has come to `deadline` seconds (None = no end).
    ///
    /// The timer is only set when the deadline is another one than before.
    pub fn wait_until(&mut self, deadline: Option<f64>) -> io::Result<usize> {
        self.events.clear();
        let over = deadline.is_some_and(|deadline| deadline <= monotonic());
        if !over && deadline != self.armed {
            let it_value = deadline.map_or(NEVER, timespec);
            let setting = Itimerspec { it_interval: NEVER, it_value };
            timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &setting)?;
            self.armed = deadline;
        }
        let limit = over.then_some(&NEVER);
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), limit) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(0),
            Err(error) => return Err(error.into()),
        }
        self.events.retain(|event| event.data.u64() != TIMER);
        Ok(self.events.len())
    }

    /// (token, readable or at its end or broken, writable) of one that is ready, `index` below what `wait_until` gave.
    pub fn ready(&self, index: usize) -> (u64, bool, bool) {
        let event = self.events[index];
        let flags = event.flags;
        let readable =
            flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::RDHUP | EventFlags::ERR);
        (event.data.u64(), readable, flags.contains(EventFlags::OUT))
    }
}

/// Wakes whoever waits for it, from any thread.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// Not signalled.
    pub fn new() -> io::Result<EventFd> {
        Ok(EventFd(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?))
    }

    /// The descriptor, for who waits for it elsewhere.
    pub fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Readable from now on, until drained.
    pub fn signal(&self) {
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes()); // fails only when it is signalled already
    }

    /// Wait until it is signalled, for so many seconds at most. It stays signalled.
    pub fn await_signal(&self, seconds: f64) {
        let mut waiting = [PollFd::new(&self.0, PollFlags::IN)];
        let _ = poll(&mut waiting, Some(&timespec(seconds))); // however it ends, who waits looks again
    }

    /// Not readable any more; whether it was.
    pub fn drain(&self) -> bool {
        let mut count = [0; 8];
        rustix::io::read(&self.0, &mut count).is_ok()
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// How many are ready within so many seconds (None = no end).
    fn wait(poll: &mut Poll, timeout: Option<f64>) -> usize {
        poll.wait_until(timeout.map(|timeout| monotonic() + timeout)).unwrap()
    }

    #[test]
    fn the_clocks_are_the_ones_of_the_standard_library() {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        assert!((wallclock() - since).abs() < 1.0);
        let before = monotonic();
        assert!(monotonic() >= before);
    }

    #[test]
    fn who_waits_for_a_signal_is_woken_by_it_and_by_the_time() {
        let signal = EventFd::new().unwrap();
        let before = monotonic();
        signal.await_signal(0.02);
        assert!(monotonic() - before >= 0.02);
        signal.signal();
        let before = monotonic();
        signal.await_signal(10.0);
        assert!(monotonic() - before < 5.0);
        assert!(signal.drain());
    }

    #[test]
    fn instants_are_rounded_up() {
        let rounded = |instant| {
            let time = timespec(instant);
            (time.tv_sec, time.tv_nsec)
        };
        assert_eq!(rounded(1.5), (1, 500_000_000));
        assert_eq!(rounded(2.0 - 1e-12), (2, 0));
    }

    #[test]
    fn a_timeout_is_exact_below_a_millisecond() {
        let mut poll = Poll::new().unwrap();
        let mut shortest = f64::INFINITY;
        for _ in 0..50 {
            let before = monotonic();
            assert_eq!(wait(&mut poll, Some(0.0003)), 0);
            let took = monotonic() - before;
            assert!(took >= 0.0003, "{took}");
            shortest = shortest.min(took);
        }
        assert!(shortest < 0.0009, "{shortest}");
        let before = monotonic();
        assert_eq!(wait(&mut poll, Some(0.0)), 0);
        assert_eq!(wait(&mut poll, Some(-1.0)), 0);
        assert!(monotonic() - before < 0.2);
    }

    #[test]
    fn a_deadline_that_is_over_does_not_hide_what_is_ready() {
        let mut poll = Poll::new().unwrap();
        let event = EventFd::new().unwrap();
        poll.add(&event, 5).unwrap();
        let deadline = monotonic() + 0.001;
        assert_eq!(poll.wait_until(Some(deadline)).unwrap(), 0);
        assert_eq!(poll.wait_until(Some(deadline)).unwrap(), 0);
        event.signal();
        event.signal();
        assert_eq!(poll.wait_until(Some(deadline)).unwrap(), 1);
        assert_eq!(poll.ready(0), (5, true, false));
        assert_eq!(wait(&mut poll, None), 1);
        assert!(event.drain());
        assert!(!event.drain());
        assert_eq!(wait(&mut poll, Some(0.001)), 0);
        let waker = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            event.signal();
            event
        });
        assert_eq!(wait(&mut poll, None), 1);
        waker.join().unwrap();
    }

    #[test]
    fn readable_writable_and_gone() {
        let mut poll = Poll::new().unwrap();
        let (one, mut other) = UnixStream::pair().unwrap();
        poll.add(&one, 7).unwrap();
        assert_eq!(wait(&mut poll, Some(0.0)), 0);
        poll.want_write(&one, 7, true).unwrap();
        assert_eq!(wait(&mut poll, Some(1.0)), 1);
        assert_eq!(poll.ready(0), (7, false, true));
        poll.want_write(&one, 7, false).unwrap();
        assert_eq!(wait(&mut poll, Some(0.0)), 0);
        other.write_all(b"x").unwrap();
        assert_eq!(wait(&mut poll, Some(1.0)), 1);
        assert_eq!(poll.ready(0), (7, true, false));
        drop(other);
        assert_eq!(wait(&mut poll, Some(1.0)), 1);
        assert!(poll.ready(0).1);
    }
}
