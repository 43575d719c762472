"""The one tree of errors that a person or a client can be told.

    FengsuiError
    ├── Refused            the caller may not            (not_logged_in, forbidden, revoked, expired)
    ├── BadRequest         the caller's input is wrong   (bad_request, bad_sdp, too_large, unknown_command)
    ├── NotFound           no such thing
    ├── Conflict           the state does not allow it   (conflict, stream_not_live, already_set_up)
    ├── NotAcceptable      nothing in common             (codec)
    ├── TooMany            a limit was reached           (too_many; overloaded: 503)
    └── Unavailable        something we need is away     (media_away, storage_away)

`code` is the stable wire code, `status` the HTTP status, `field` the part of the input it is about. The sentence is
English for logs and protocol peers; the console has its own words for each code.
"""

from __future__ import annotations


class FengsuiError(Exception):
    code = "internal"
    status = 500

    def __init__(
        self, detail: str = "", *, code: str = "", field: str = "", retry_after: float = 0.0
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.retry_after = retry_after
        if code:
            self.code = code

    def __str__(self) -> str:
        return self.detail or self.code


class Refused(FengsuiError):
    code = "forbidden"
    status = 403


class NotLoggedIn(Refused):
    code = "not_logged_in"
    status = 401


class BadRequest(FengsuiError):
    code = "bad_request"
    status = 400


class BadSdp(BadRequest):
    code = "bad_sdp"


class TooLarge(BadRequest):
    code = "too_large"
    status = 413


class NotFound(FengsuiError):
    code = "not_found"
    status = 404


class Conflict(FengsuiError):
    code = "conflict"
    status = 409


class StreamNotLive(Conflict):
    code = "stream_not_live"


class NotAcceptable(FengsuiError):
    code = "codec"
    status = 422


class AddressNotAdmitted(BadRequest):
    code = "address_not_admitted"


class TooMany(FengsuiError):
    code = "too_many"
    status = 429


class Overloaded(TooMany):
    """The server as a whole has all it takes; not the caller's fault."""

    code = "overloaded"
    status = 503


class Unavailable(FengsuiError):
    code = "unavailable"
    status = 503
