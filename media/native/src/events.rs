//! The engine's one way to speak: a bounded queue of events with a file descriptor that tells when it is not empty.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::messages::Event;
use crate::poll::EventFd;

/// Beyond it new events are lost and counted in the next `EventsDropped`.
const MAX_EVENTS: usize = 10_000;

#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    dropped: u64,
    signalled: bool,
}

/// `put` by the engine's thread, `take` by whoever steers it, when the descriptor is readable.
#[derive(Clone)]
pub struct EventQueue {
    fd: Arc<EventFd>,
    waiting: Arc<Mutex<Waiting>>,
}

impl EventQueue {
    /// An empty queue over an eventfd.
    pub fn new(fd: EventFd) -> EventQueue {
        EventQueue { fd: Arc::new(fd), waiting: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The descriptor: readable while somebody should come and take.
    pub fn descriptor(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// Queue an event; when the queue is full it is lost and counted.
    ///
    /// What need not be known `soon` waits for the next one that must, or for `signal`: waking the reader costs more
    /// than what most events bring.
    pub fn put(&self, event: Event, soon: bool) {
        let mut waiting = self.lock();
        if waiting.events.len() >= MAX_EVENTS {
            waiting.dropped += 1;
            return;
        }
        waiting.events.push_back(event);
        if soon {
            self.wake(&mut waiting);
        }
    }

    /// Whether there are events that nobody was woken for.
    pub fn unsignalled(&self) -> bool {
        let waiting = self.lock();
        !waiting.events.is_empty() && !waiting.signalled
    }

    /// Wake the reader, if it was not woken since it last took everything.
    pub fn signal(&self) {
        self.wake(&mut self.lock());
    }

    fn wake(&self, waiting: &mut Waiting) {
        if !waiting.signalled {
            waiting.signalled = true;
            self.fd.signal();
        }
    }

    /// Everything queued, in order; the count of lost events comes last.
    pub fn take(&self) -> Vec<Event> {
        let mut waiting = self.lock();
        if waiting.signalled {
            waiting.signalled = false;
            self.fd.drain();
        }
        let mut events: Vec<Event> = waiting.events.drain(..).collect();
        let dropped = std::mem::take(&mut waiting.dropped);
        if dropped > 0 {
            events.push(Event::EventsDropped { count: dropped });
        }
        events
    }
}
