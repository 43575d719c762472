"""RTP and RTCP as bytes: parsing, building and the small state machines that need no socket and no clock.

Everything here is pure: bytes in, values or a `PacketError` out; where time matters it is an argument.
These modules are the reference; the relay's hot path inlines what it needs and is tested against them.
"""
