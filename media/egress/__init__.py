"""Where media goes that no viewer is waiting for: recordings."""
