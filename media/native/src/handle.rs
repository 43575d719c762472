//! What whoever steers holds of a running engine: encoded requests and answers over a channel to its thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::events::EventQueue;
use crate::messages::{Ack, encode_ack, encode_events};
use crate::poll::EventFd;
use crate::worker::{Request, Worker};

/// What whoever steers holds of a running engine. Every method may be called from any thread.
pub struct Handle {
    requests: Mutex<Sender<Request>>,
    wake: Arc<EventFd>,
    events: EventQueue,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Handle {
    /// A thread of its own; nothing is read before `start`.
    pub fn new() -> Result<Handle, String> {
        let failed = |error: std::io::Error| format!("the engine cannot start: {error}");
        let wake = Arc::new(EventFd::new().map_err(failed)?);
        let events = EventQueue::new(EventFd::new().map_err(failed)?);
        let (requests, incoming) = channel();
        let (theirs, mine) = (wake.clone(), events.clone());
        let (up, running) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("relay".into())
            .spawn(move || match Worker::new(theirs, mine) {
                Ok(mut worker) => {
                    let _ = up.send(Ok(()));
                    // Without its thread the process moves nothing, and who watches it would not see that.
                    if catch_unwind(AssertUnwindSafe(|| worker.run(&incoming))).is_err() {
                        std::process::abort();
                    }
                }
                Err(error) => {
                    let _ = up.send(Err(error));
                }
            })
            .map_err(failed)?;
        running.recv().map_err(|_| "the engine's thread ended".to_owned())?.map_err(failed)?;
        Ok(Handle { requests: Mutex::new(requests), wake, events, thread: Mutex::new(Some(thread)) })
    }

    fn ask(&self, request: Request) {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.send(request).is_ok() {
            self.wake.signal();
        }
    }

    /// Begin to read. Listeners may be added before or after.
    pub fn start(&self) {
        self.ask(Request::Start);
    }

    /// A transaction and its answer, both encoded; waits until it took effect.
    pub fn apply(&self, transaction: Vec<u8>) -> Vec<u8> {
        let (answer, answered) = sync_channel(1);
        self.ask(Request::Apply(transaction, answer));
        answered.recv().unwrap_or_else(|_| encode_ack(&Ack::refused(-1, 0, "the engine is closed")))
    }

    /// Readable while events wait.
    pub fn event_fd(&self) -> i32 {
        self.events.descriptor()
    }

    /// The waiting events, encoded.
    pub fn events(&self) -> Vec<u8> {
        encode_events(&self.events.take())
    }

    /// A snapshot, encoded; empty when the engine is closed.
    pub fn statistics(&self) -> Vec<u8> {
        let (answer, answered) = sync_channel(1);
        self.ask(Request::Statistics(answer));
        answered.recv().unwrap_or_default()
    }

    /// Close every socket and end the thread. Nothing is sent afterwards.
    pub fn close(&self) {
        let (answer, answered) = sync_channel(1);
        self.ask(Request::Close(answer));
        let _ = answered.recv();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}
