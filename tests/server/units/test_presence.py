"""Who is there."""

from __future__ import annotations

from server.model.ids import DeviceId
from server.units.presence import Presence, Seen

PHONE = DeviceId("d1")


def test_online_while_connected_or_publishing() -> None:
    presence = Presence()
    assert presence.seen(PHONE) == Seen(online=False, last_seen=None)
    assert presence.connected(PHONE, 10.0) is True
    assert presence.connected(PHONE, 11.0) is False
    assert presence.publishing(PHONE, True, 12.0) is False
    assert presence.disconnected(PHONE, 13.0) is False
    assert presence.disconnected(PHONE, 14.0) is False
    assert presence.seen(PHONE) == Seen(online=True, last_seen=14.0)
    assert presence.publishing(PHONE, True, 15.0) is False
    assert presence.publishing(PHONE, False, 16.0) is True
    assert presence.seen(PHONE) == Seen(online=False, last_seen=16.0)
    assert presence.statistics() == {"online": 0}


def test_last_seen_moves_on_by_minutes_whichever_way_the_clock_jumps() -> None:
    presence = Presence()
    presence.connected(PHONE, 1000.0)
    assert presence.tick(1059.0) == []
    assert presence.tick(1060.0) == [PHONE]
    assert presence.seen(PHONE).last_seen == 1060.0
    assert presence.tick(500.0) == [PHONE]
    presence.disconnected(PHONE, 501.0)
    assert presence.tick(9999.0) == []


def test_what_a_phone_says_of_itself() -> None:
    presence = Presence()
    assert presence.told(PHONE, battery=80, charging=False, network="4g") is True
    assert presence.told(PHONE, battery=80, charging=False, network="4g") is False
    assert presence.told(PHONE, battery=79, charging=None, network="wifi") is True
    assert presence.seen(PHONE) == Seen(battery=79, charging=None, network="wifi")


def test_devices_that_are_not_registered_are_forgotten() -> None:
    presence = Presence()
    presence.connected(PHONE, 1.0)
    presence.connected(DeviceId("d2"), 1.0)
    presence.forget(frozenset({DeviceId("d2")}))
    assert presence.seen(PHONE) == Seen()
    assert presence.seen(DeviceId("d2")).online
    assert presence.disconnected(PHONE, 2.0) is True  # it was gone already; nothing breaks
