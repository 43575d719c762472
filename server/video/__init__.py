"""Streams of devices: what they are, how they are, and why there is no picture."""
