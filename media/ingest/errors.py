"""FFmpeg's errors in the words of `media.protocol.PULL_ERRORS`."""

from __future__ import annotations

import errno

import av

_BY_TYPE: tuple[tuple[type[BaseException], str, str], ...] = (
    (av.HTTPUnauthorizedError, "unauthorized", "the camera refuses the user name or password"),
    (av.HTTPForbiddenError, "unauthorized", "the camera does not let this user watch"),
    (av.HTTPNotFoundError, "not_found", "the camera knows no such stream; check the path of the address"),
    (av.HTTPBadRequestError, "broken", "the camera does not understand the request"),
    (av.HTTPServerError, "broken", "the camera reports an error of its own"),
    (av.HTTPOtherClientError, "not_found", "the camera refuses the request"),
    (av.InvalidDataError, "broken", "what the camera sends is not a readable stream"),
    (av.EOFError, "ended", "the camera closed the stream"),
    (av.TimeoutError, "timeout", "the camera does not answer"),
    (av.ExitError, "timeout", "the camera does not answer"),
)
_BY_ERRNO = {
    errno.ECONNREFUSED: ("refused", "nothing listens at the camera's address and port"),
    errno.EHOSTUNREACH: ("timeout", "there is no way to the camera's address"),
    errno.ENETUNREACH: ("timeout", "there is no way to the camera's network"),
    errno.ETIMEDOUT: ("timeout", "the camera does not answer"),
    errno.ECONNRESET: ("ended", "the camera closed the connection"),
    errno.EPIPE: ("ended", "the camera closed the connection"),
}


def classify(error: BaseException) -> tuple[str, str]:
    """(code of PULL_ERRORS, a plain sentence) for whatever opening or reading a camera raised."""
    for kind, code, sentence in _BY_TYPE:
        if isinstance(error, kind):
            return code, sentence
    if isinstance(error, OSError) and error.errno in _BY_ERRNO:
        return _BY_ERRNO[error.errno]
    return "broken", f"reading the camera failed: {type(error).__name__}"
