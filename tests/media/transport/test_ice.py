"""The ICE-lite agent, fed with real checks made by `media.transport.stun` (which has its own vectors)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.relay.messages import Address, Path, SendDatagram, ValidatePath
from media.transport import stun
from media.transport.ice import Credentials, IceLite

LOCAL = Address("192.0.2.1", 8443)
PASSWORD = "serverpassword0123456789"
OURS = Credentials(ufrag="srvU", password=PASSWORD, remote_ufrag="cliU")
NEW = Credentials(ufrag="newU", password="anotherpassword012345678", remote_ufrag="cliV")


def path(port: int, host: str = "192.0.2.77", connection: int = 0) -> Path:
    return Path(listener=1, local=LOCAL, remote=Address(host, port), connection=connection)


class Peer:
    """Makes checks, each with a transaction id of its own."""

    def __init__(self) -> None:
        self.counters = Counter[str]()
        self.agent = IceLite(OURS, self.counters)
        self.transactions = 0

    @property
    def ufrags(self) -> list[str]:
        return list(self.agent.ufrags)

    def check(
        self,
        *,
        ufrag: str = "srvU",
        password: str = PASSWORD,
        nominate: bool = False,
        role: stun.IceRole = stun.IceRole.CONTROLLING,
    ) -> bytes:
        self.transactions += 1
        return stun.binding_request(
            self.transactions.to_bytes(12, "big"),
            username=f"{ufrag}:cliU",
            password=password.encode(),
            priority=1,
            role=role,
            tie_breaker=1,
            use_candidate=nominate,
        )

    def send(self, where: Path, now: float = 0.0, **how: Any) -> list[object]:
        return list(self.agent.receive(7, where, self.check(**how), now))


def test_a_valid_check_is_answered_and_selects_the_first_path() -> None:
    peer = Peer()
    validate, answer = peer.send(path(40_000), now=5.0)
    assert validate == ValidatePath(transport=7, path=path(40_000), selected=True)
    assert isinstance(answer, SendDatagram)
    assert answer.path == path(40_000)
    reply = stun.parse_response(answer.data, PASSWORD.encode())
    assert isinstance(reply, stun.BindingSuccess)
    assert (reply.host, reply.port) == ("192.0.2.77", 40_000)
    assert peer.agent.checked_at == 5.0


def test_the_published_vector_is_answered_byte_for_byte() -> None:
    request = bytes.fromhex(
        "000100482112A442000102030405060708090A0B0006000973727655 3A636C6955000000002400046E7F1EFF"
        "802A0008000000000000000000250000000800 14EF71940BEDF409AE3A54A881744A0D19FC72CCD980280004BA400112"
    )
    _, answer = Peer().agent.receive(7, path(40_000), request, 0.0)
    assert isinstance(answer, SendDatagram)
    assert answer.data.hex() == (
        "0101002c2112a442000102030405060708090a0b002000080001bd52e112a60f"
        "000800146ff28103e697da05820ecf6c311da03907bcc1528028000434dd1ab3"
    )


@pytest.mark.parametrize(
    ("how", "counter"),
    [
        ({"password": "wrongpassword0123456789x"}, "ice_integrity"),
        ({"ufrag": "nobo"}, "ice_unknown_ufrag"),
    ],
)
def test_a_wrong_check_is_dropped_and_counted(how: dict[str, Any], counter: str) -> None:
    peer = Peer()
    assert peer.send(path(1), **how) == []
    assert peer.counters == {counter: 1}
    assert not peer.agent.knows(path(1))
    assert peer.agent.selected is None


def test_bytes_cut_anywhere_are_dropped() -> None:
    peer = Peer()
    check = peer.check()
    for end in range(len(check)):
        assert peer.agent.receive(7, path(1), check[:end], 0.0) == []
    assert peer.agent.selected is None
    assert peer.counters.total() == len(check)


@given(st.binary(max_size=200), st.integers(0, 91), st.integers(1, 255))
def test_no_bytes_raise_and_none_but_the_genuine_validate(junk: bytes, at: int, flip: int) -> None:
    peer = Peer()
    check = bytearray(peer.check())
    check[at % len(check)] ^= flip
    for data in (junk, bytes(check), bytes(check) + junk):
        assert peer.agent.receive(7, path(1), data, 0.0) == []
    assert peer.agent.selected is None


def test_indications_and_answers_are_not_checks() -> None:
    peer = Peer()
    reply = stun.success_response(bytes(12), PASSWORD.encode(), "192.0.2.9", 9)
    assert peer.agent.receive(7, path(1), reply, 0.0) == []
    assert peer.counters == {"ice_not_expected": 1}


def test_a_peer_that_thinks_it_is_controlled_is_told_487_and_gets_no_path() -> None:
    peer = Peer()
    (answer,) = peer.send(path(1), role=stun.IceRole.CONTROLLED)
    assert isinstance(answer, SendDatagram)
    reply = stun.parse_response(answer.data, PASSWORD.encode())
    assert isinstance(reply, stun.BindingFailure)
    assert reply.error_code == 487
    assert reply.authenticated
    assert peer.agent.selected is None


def test_nomination_moves_the_path_and_a_check_without_it_does_not() -> None:
    peer = Peer()
    peer.send(path(1), nominate=True)
    validate, _ = peer.send(path(2), now=1.0)
    assert validate == ValidatePath(transport=7, path=path(2), selected=False)
    assert peer.agent.selected == path(1)
    validate, _ = peer.send(path(2), now=1.1, nominate=True)
    assert validate == ValidatePath(transport=7, path=path(2), selected=True)


def test_a_copied_check_from_another_address_moves_nothing() -> None:
    peer = Peer()
    check = peer.check(nominate=True)
    assert peer.agent.receive(7, path(1), check, 0.0)
    assert peer.agent.receive(7, path(666, host="198.51.100.6"), check, 1.0) == []
    assert peer.agent.selected == path(1)
    assert not peer.agent.knows(path(666, host="198.51.100.6"))
    assert peer.counters == {"ice_replayed": 1}
    # The peer's own repeat is answered.
    assert len(peer.agent.receive(7, path(1), check, 1.0)) == 2


def test_a_quiet_path_gives_way_to_one_with_checks_after_five_seconds() -> None:
    peer = Peer()
    peer.send(path(1), now=0.0)
    peer.send(path(2), now=4.9)
    assert peer.agent.selected == path(1)
    peer.send(path(2), now=5.1)
    assert peer.agent.selected == path(2)


def test_a_peer_that_nominates_every_pair_all_the_time_stops_making_us_hop() -> None:
    peer = Peer()
    moves = 0
    for second in range(50):
        for port in (1, 2):
            before = peer.agent.selected
            peer.send(path(port), now=second + port / 10, nominate=True)
            moves += peer.agent.selected != before
    # 1 to begin with, 4 at once, then 1 in 5 s.
    assert moves <= 1 + 4 + 10


def test_rebinding_moves_with_the_first_nominated_check() -> None:
    peer = Peer()
    for second in range(0, 30, 3):
        peer.send(path(40_000), now=second, nominate=True)
    peer.send(path(40_001), now=30.0, nominate=True)
    assert peer.agent.selected == path(40_001)


def test_restart_keeps_the_old_path_until_the_new_one_is_nominated() -> None:
    peer = Peer()
    peer.send(path(1), nominate=True)
    assert peer.agent.ufrags_with("newU") == ("srvU", "newU")
    peer.agent.restart(NEW)
    assert peer.ufrags == ["srvU", "newU"]
    peer.send(path(2), now=1.0, ufrag="newU", password=NEW.password)
    assert peer.agent.selected == path(1)
    peer.send(path(1), now=1.5, nominate=True)
    assert peer.ufrags == ["srvU", "newU"]
    peer.send(path(2), now=2.0, ufrag="newU", password=NEW.password, nominate=True)
    assert peer.agent.selected == path(2)
    assert peer.ufrags == ["newU"]
    # A check with the old password is nothing any more.
    assert peer.send(path(1), now=3.0, nominate=True) == []


def test_a_restart_away_from_a_path_that_went_quiet_does_not_wait_for_a_nomination() -> None:
    peer = Peer()
    peer.send(path(1), now=0.0, nominate=True)
    peer.agent.restart(NEW)
    peer.send(path(2), now=1.1, ufrag="newU", password=NEW.password)
    assert peer.agent.selected == path(2)
    assert peer.ufrags == ["srvU", "newU"]  # the peer has not chosen yet
    peer.send(path(1), now=1.2, nominate=True)  # an old one is none
    peer.send(path(1), now=1.3, ufrag="newU", password=NEW.password)
    assert peer.agent.selected == path(2)
    peer.send(path(1), now=1.4, ufrag="newU", password=NEW.password, nominate=True)
    assert peer.agent.selected == path(1)
    assert peer.ufrags == ["newU"]


def test_restart_on_the_same_path_ends_the_old_password_too() -> None:
    peer = Peer()
    peer.send(path(1), nominate=True)
    peer.agent.restart(NEW)
    peer.send(path(1), ufrag="newU", password=NEW.password, nominate=True)
    assert peer.ufrags == ["newU"]


def test_old_nominations_do_not_win_back_the_stream_after_a_restart() -> None:
    peer = Peer()
    peer.agent.restart(NEW)
    peer.send(path(2), now=0.5, ufrag="newU", password=NEW.password)
    peer.send(path(1), now=1.0, nominate=True)
    assert peer.agent.selected == path(2)


def test_two_restarts_in_a_row_keep_two_passwords() -> None:
    peer = Peer()
    peer.agent.restart(NEW)
    peer.agent.restart(Credentials(ufrag="thrd", password="x" * 24, remote_ufrag="cliW"))
    assert peer.ufrags == ["newU", "thrd"]


def test_at_most_eight_paths_and_never_without_the_selected_one() -> None:
    peer = Peer()
    for port in range(1, 30):
        peer.send(path(port), now=port / 100)
    assert [port for port in range(1, 30) if peer.agent.knows(path(port))] == [1, *range(23, 30)]


def test_a_closed_connection_hands_over_to_the_freshest_path() -> None:
    peer = Peer()
    peer.send(path(1, connection=5), nominate=True)
    peer.send(path(2), now=1.0)
    peer.send(path(3), now=2.0)
    assert peer.agent.forget(7, path(1, connection=5)) == [
        ValidatePath(transport=7, path=path(3), selected=True)
    ]
    assert peer.agent.forget(7, path(2)) == []
    assert peer.agent.forget(7, path(3)) == []
    assert peer.agent.selected is None
    peer.send(path(4), now=9.0)
    assert peer.agent.selected == path(4)
