"""Camera addresses (H25): what is refused whatever the configuration, and what a network allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.model.errors import AddressNotAdmitted
from server.video.admission import CameraPolicy, admitted, camera_address

LAN = CameraPolicy(networks=("192.168.10.0/24", "fd00:10::/64"), ports=(554, 8554))
EVERYTHING = CameraPolicy(networks=("0.0.0.0/0", "::/0"), ports=(554, 8443))


@pytest.mark.parametrize(
    ("url", "host", "port", "literal"),
    [
        ("rtsp://192.168.10.7/1", "192.168.10.7", 554, True),
        ("rtsp://192.168.10.7:8554/a?b=1", "192.168.10.7", 8554, True),
        ("rtsp://[fd00:10::7]/1", "fd00:10::7", 554, True),
        ("rtsp://Camera-1.example./1", "camera-1.example", 554, False),
    ],
)
def test_addresses(url: str, host: str, port: int, literal: bool) -> None:
    address = camera_address(url, LAN)
    assert (address.url, address.host, address.port, address.literal) == (url, host, port, literal)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://192.168.10.7/",
        "file:///etc/passwd",
        "concat:rtsp://192.168.10.7/|file:///etc/passwd",
        "rtsp:///etc/passwd",
        "-f lavfi",
        "rtsps://192.168.10.7/",  # its usual port is not in the list
        "rtmp://192.168.10.7/",
        "rtsp://",
        "rtsp:///x",
        "rtsp://admin:secret@192.168.10.7/",
        "rtsp://a@192.168.10.7/",
        "rtsp://192.168.10.7:22/",
        "rtsp://192.168.10.7:99999/",
        "rtsp://192.168.10.7:-1/",
        "rtsp://2130706433/",
        "rtsp://0x7f000001/",
        "rtsp://0177.0.0.1/",
        "rtsp://127.1/",
        "rtsp://[::1/",
        "rtsp://192.168.10.7\\@127.0.0.1/",
        "rtsp://192.168.10.7/ x",
        "rtsp://192.168.10.7/\r\nHost:x",
        "rtsp://１２７.0.0.1/",
        "rtsp://192.168.10.7/" + "x" * 1024,
    ],
)
def test_urls_that_are_never_used(url: str) -> None:
    with pytest.raises(AddressNotAdmitted) as caught:
        camera_address(url, LAN)
    assert (caught.value.code, caught.value.field) == ("address_not_admitted", "url")


CAMERA = camera_address("rtsp://camera.example/1", LAN)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "fe80::1%eth0",
    ],
)
def test_special_addresses_need_a_network_of_their_own(address: str) -> None:
    with pytest.raises(AddressNotAdmitted):
        admitted(CAMERA, [address], EVERYTHING)


@pytest.mark.parametrize(
    ("network", "address", "found"),
    [
        ("127.0.0.0/8", "127.0.0.1", "127.0.0.1"),
        ("127.0.0.1/32", "::ffff:127.0.0.1", "127.0.0.1"),
        ("::1/128", "::1", "::1"),
        ("169.254.7.0/24", "169.254.7.9", "169.254.7.9"),
        ("0.0.0.0/0", "198.51.100.7", "198.51.100.7"),
    ],
)
def test_allowed(network: str, address: str, found: str) -> None:
    assert admitted(CAMERA, [address], CameraPolicy(networks=(network,))) == (found,)


def test_only_the_allowed_of_several_are_pinned() -> None:
    resolved = ["127.0.0.1", "192.168.10.7", "192.168.11.7", "fd00:10::7", "192.168.10.7"]
    assert admitted(CAMERA, resolved, LAN) == ("192.168.10.7", "fd00:10::7")


def test_nothing_is_allowed_by_default() -> None:
    with pytest.raises(AddressNotAdmitted):
        admitted(CAMERA, ["192.168.10.7"], CameraPolicy())
    with pytest.raises(AddressNotAdmitted):
        admitted(CAMERA, [], LAN)


@pytest.mark.parametrize("address", ["192.168.10.5", "127.0.0.1", "::ffff:192.168.10.5"])
def test_our_own_ports_are_never_connected_to(address: str) -> None:
    policy = CameraPolicy(
        networks=("192.168.10.0/24", "127.0.0.0/8"),
        ports=(8443, 554),
        own=frozenset({"192.168.10.5"}),
        own_ports=frozenset({8443}),
    )
    with pytest.raises(AddressNotAdmitted):
        admitted(camera_address("rtsp://camera.example:8443/", policy), [address], policy)
    assert admitted(camera_address("rtsp://camera.example/", policy), [address], policy)


@given(st.one_of(st.text(max_size=60), st.text(max_size=40).map(lambda tail: "rtsp://" + tail)))
def test_any_text_is_an_address_or_refused(url: str) -> None:
    try:
        address = camera_address(url, LAN)
    except AddressNotAdmitted:
        return
    assert address.port in LAN.ports
