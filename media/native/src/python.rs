//! What Python sees of the engine, as `media._native`: bytes in and bytes out (see CONTRACT.md). The interpreter is
//! free for others while the engine's thread is waited for.

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::handle::Handle;

/// The version of CONTRACT.md; `media/relay/engine_native.py` takes no other.
pub const CONTRACT: u32 = 1;

/// An engine with a thread of its own.
#[pyclass(frozen, module = "media._native")]
struct Engine {
    handle: Handle,
}

#[pymethods]
impl Engine {
    /// Raises OSError when the system gives no thread or no event descriptor.
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        match py.detach(Handle::new) {
            Ok(handle) => Ok(Self { handle }),
            Err(reason) => Err(PyOSError::new_err(reason)),
        }
    }

    /// Begin to read. Listeners may be added before or after.
    fn start(&self, py: Python<'_>) {
        py.detach(|| self.handle.start());
    }

    /// A Transaction; the answer is its Ack.
    fn apply<'py>(&self, py: Python<'py>, transaction: &[u8]) -> Bound<'py, PyBytes> {
        let transaction = transaction.to_vec();
        PyBytes::new(py, &py.detach(|| self.handle.apply(transaction)))
    }

    /// A descriptor that is readable while events wait. It stays the engine's.
    fn event_fd(&self) -> i32 {
        self.handle.event_fd()
    }

    /// Take the waiting events, as an array.
    fn events<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.handle.events()))
    }

    /// A snapshot: EngineStatistics.
    fn statistics<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.handle.statistics()))
    }

    /// Close every socket and end the thread. Nothing is sent afterwards.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.handle.close());
    }
}

/// Fengsui's relay engine in Rust.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("CONTRACT", CONTRACT)?;
    module.add_class::<Engine>()
}
