"""Pure: offers read, answers and ICE fragments written. No connection, no clock, no third-party type."""
