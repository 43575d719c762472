"""Join links: an address with a secret, and the same as a QR code that a phone's camera reads.

The secret is the last part of the path; it is told once and stored hashed (`server.units.registration`).
"""

from __future__ import annotations

import io
from typing import Final

import segno

from server.model.errors import BadRequest

MIN_HOURS: Final = 0.01


def link_url(base: str, secret: str) -> str:
    """`base`: an origin of this server."""
    return f"{base.rstrip('/')}/j/{secret}"


def qr_svg(text: str) -> str:
    """An SVG of the QR code (ISO/IEC 18004) with the quiet zone the standard asks for; refers to nothing outside.

    It scales with its box and carries its own white ground, so it can be read on a dark page. Raises BadRequest.
    """
    try:
        code = segno.make_qr(text, error="m")
    except segno.DataOverflowError as error:
        raise BadRequest("the address is too long for a QR code") from error
    svg = io.BytesIO()
    code.save(svg, kind="svg", border=4, dark="#000", light="#fff", omitsize=True, xmldecl=False, nl=False)
    return svg.getvalue().decode()


def checked_hours(hours: float | None, *, default: float, longest: float) -> float:
    """How long a link is good, h. Raises BadRequest."""
    wanted = default if hours is None else hours
    if not MIN_HOURS <= wanted <= longest:
        raise BadRequest(f"a join link is good for up to {longest:g} hours", field="hours")
    return wanted
