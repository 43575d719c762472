//! How layers, sinks, sources and transports refer to each other; a key of what is gone finds nothing.

use slotmap::new_key_type;

new_key_type! {
    /// Finds a transport while it exists.
    pub struct TransportKey;
    /// Finds a source while it exists.
    pub struct SourceKey;
    /// Finds a layer while it exists.
    pub struct LayerKey;
    /// Finds a sink while it exists.
    pub struct SinkKey;
}
