"""What can be wrong with a peer's description, each with its own code.

    BadSdp (server.model.errors)        bad_sdp                not a description (line and reason in the sentence)
    ├── NotText                         sdp_not_text           NUL or another control character
    ├── SdpTooLarge                     sdp_too_large          more bytes than this peer may send
    ├── TooManySections                 sdp_too_many_sections  more m-lines than this peer may send
    ├── NoFingerprint                   sdp_no_fingerprint     no certificate to hold the peer to (RFC 8122)
    ├── NoIce                           sdp_no_ice             no ICE user fragment and password (RFC 8839)
    └── Unacceptable                                           understood, but it cannot become a session
        ├── IceLitePeer                 sdp_ice_lite           both ends would wait for checks (RFC 8445 6.1.1)
        ├── NotBundled                  sdp_not_bundled        sections outside one BUNDLE group (RFC 9143)
        ├── NoRtcpMux                   sdp_no_rtcp_mux        RTCP on a port of its own (RFC 8834 4.5)
        ├── WrongDirection              sdp_direction          nothing would flow the way that was asked for
        └── WrongSections               sdp_sections           the number, order or identity of the m-sections

`NotAcceptable` (code `codec`) is raised by the planners when nothing offered can be relayed.
"""

from __future__ import annotations

from server.model.errors import BadSdp


class NotText(BadSdp):
    code = "sdp_not_text"


class SdpTooLarge(BadSdp):
    code = "sdp_too_large"
    status = 413


class TooManySections(BadSdp):
    code = "sdp_too_many_sections"
    status = 413


class NoFingerprint(BadSdp):
    code = "sdp_no_fingerprint"


class NoIce(BadSdp):
    code = "sdp_no_ice"


class Unacceptable(BadSdp):
    code = "sdp_unacceptable"
    status = 422


class IceLitePeer(Unacceptable):
    code = "sdp_ice_lite"


class NotBundled(Unacceptable):
    code = "sdp_not_bundled"


class NoRtcpMux(Unacceptable):
    code = "sdp_no_rtcp_mux"


class WrongDirection(Unacceptable):
    code = "sdp_direction"


class WrongSections(Unacceptable):
    code = "sdp_sections"
