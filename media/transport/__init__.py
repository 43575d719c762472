"""ICE-lite, DTLS and STUN: the only wrapper around outside WebRTC libraries."""
