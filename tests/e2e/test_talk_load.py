"""200 clients in 50 groups on one server: every press is answered, nobody hears what is not theirs, nobody suffers.

Numbers of reliability.md are asserted at four times what is promised: other tests run on the machine, too. Half of the
clients have a sound path that is counted, two in each group; the others only a socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import pytest
import pytest_asyncio

from support.running_server import Account, RunningServer, running_server
from support.sound_path import SoundPath
from support.talk_client import TalkClient, connect, phone_token
from support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

GROUPS: Final = 50
PHONES: Final = 4  # in each group; the first two have a sound path
PATHS: Final = 2
ANSWER: Final = 4 * 0.05  # s, P1
EMERGENCY: Final = 4 * 0.3  # s, P7
ALL_BACK: Final = 30.0  # s, P29
PATIENCE: Final = 20.0
FLOOD: Final = 2.0  # s that a flood of keys lasts at least


@dataclass(kw_only=True)
class Phone:
    """One client; `path` is None when it has only a socket."""

    number: int
    group: str
    token: str
    client: TalkClient
    path: SoundPath | None = None

    async def press(self, urgency: str = "normal") -> dict[str, Any]:
        """The answer; the key is held, and nothing is said."""
        self.client.hold()
        result = await self.client.do("floor.request", groups=[self.group], urgency=urgency)
        answer: dict[str, Any] = result["answers"][0]
        return answer

    async def speak(self, press: int) -> dict[str, Any]:
        """Press and speak marked packets when it is granted at once."""
        assert self.path is not None
        self.path.speak(press)
        answer = await self.press()
        if answer["state"] != "granted":
            self.path.hush()
        return answer

    async def let_go(self) -> None:
        if self.path is not None:
            self.path.hush()
        await self.client.let_go()

    @property
    def floor(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.entities["floor"][self.group]
        return found


@dataclass(kw_only=True)
class Net:
    server: RunningServer
    admin: Account
    http: aiohttp.ClientSession
    officer: TalkClient
    phones: list[Phone] = field(default_factory=list)

    def of(self, number: int) -> list[Phone]:
        """The phones of a group."""
        return self.phones[number * PHONES : (number + 1) * PHONES]

    @property
    def talkers(self) -> list[Phone]:
        """One of each group."""
        return self.phones[::PHONES]

    async def all_quiet(self) -> None:
        """No key is held and no floor is taken."""
        await asyncio.gather(*(phone.let_go() for phone in self.phones))
        await until(
            lambda: all(phone.floor["talker"] is None and not phone.floor["queued"] for phone in self.phones),
            PATIENCE,
        )
        for phone in self.phones:
            phone.client.told.clear()
            if phone.path is not None:
                phone.path.heard.clear()

    async def more(self) -> TalkClient:
        """Another desk of the officer, to misbehave with."""
        made = TalkClient(http=self.http, socket=await connect(self.http, self.server.url, self.admin.cookie))
        await made.hello()
        return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def net() -> AsyncIterator[Net]:
    async with running_server(
        server={"log_level": "warning"},
        http={"max_connections_per_address": 1000},
        limits={"websockets_per_session": 100, "requests_per_minute": 100_000},
        talk={"lost_after": 4.0},  # 200 clients share one event loop here: their signs of life may be late
    ) as server:
        admin = await server.setup_admin()
        http = server.client()
        http.connector._limit = 0  # type: ignore[union-attr]  # as many sockets as there are clients
        officer = TalkClient(http=http, socket=await connect(http, server.url, admin.cookie))
        await officer.hello()
        made = Net(server=server, admin=admin, http=http, officer=officer)
        tokens: list[str] = []
        for first in range(0, GROUPS, 10):
            names = [f"分队 {n}" for n in range(first, first + 10)]
            tokens += await asyncio.gather(*(phone_token(officer, name) for name in names))
        await until(lambda: len(officer.entities["unit"]) >= GROUPS, PATIENCE)
        units = {unit["name"]: unit["id"] for unit in officer.entities["unit"].values()}
        groups = [
            (
                await officer.do(
                    "group.create", name=f"组 {n}", members=[{"kind": "unit", "id": units[f"分队 {n}"]}]
                )
            )["group"]
            for n in range(GROUPS)
        ]
        try:
            for number in range(GROUPS):
                made.phones += await asyncio.gather(
                    *(
                        _phone(made, number * PHONES + n, groups[number], tokens[number], n < PATHS)
                        for n in range(PHONES)
                    )
                )
            yield made
        finally:
            for phone in made.phones:
                if phone.path is not None:
                    phone.path.close()
            await asyncio.gather(
                *(one.close() for one in [officer, *(phone.client for phone in made.phones)]),
                return_exceptions=True,
            )


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def quiet(net: Net) -> AsyncIterator[None]:
    """Each test begins with no key held, however the one before ended."""
    await net.all_quiet()
    yield


async def _phone(net: Net, number: int, group: str, token: str, with_path: bool) -> Phone:
    client = TalkClient(http=net.http, socket=await connect(net.http, net.server.url))
    await client.hello(token)
    phone = Phone(number=number, group=group, token=token, client=client)
    await client.do("group.tune", listening=[group], selected=[group])
    if with_path:
        phone.path = SoundPath()
        answer = await client.do("media.offer", kind="voice", sdp=phone.path.offer())
        client.session = answer["session"]
        phone.path.apply(answer["sdp"])
        await until(lambda: client.step in ("dtls", "path"), PATIENCE)
    return phone


async def timed(phones: Iterable[Phone]) -> list[float]:
    """Press and let go, one phone after another; s until each answer, which is a grant."""
    taken = []
    for phone in phones:
        begun = time.monotonic()
        assert (await phone.press())["state"] == "granted"
        taken.append(time.monotonic() - begun)
        await phone.client.let_go()
    return taken


async def test_every_press_is_answered_and_each_group_hears_its_one_talker(net: Net) -> None:
    """All 200 keys go down at once."""
    for phone in net.phones:
        if phone.path is not None:
            phone.path.speak(phone.number)
    answers = await asyncio.gather(*(phone.press() for phone in net.phones))
    for phone, answer in zip(net.phones, answers, strict=True):
        if phone.path is not None and answer["state"] != "granted":
            phone.path.hush()
    talkers = []
    for number in range(GROUPS):
        said = [(each["state"], each["cause"]) for each in answers[number * PHONES : (number + 1) * PHONES]]
        assert sorted(said[:PATHS]) == [("granted", ""), ("queued", "")]
        assert said[PATHS:] == [("denied", "no_path")] * (PHONES - PATHS)
        talkers.append(net.of(number)[0 if said[0][0] == "granted" else 1])
    for talker in talkers:
        wanted = (await talker.client.do("floor.request", groups=[talker.group]))["answers"][0]["sequence"]
        assert wanted > 0
    await until(lambda: all(phone.floor["state"] == "taken" for phone in net.phones), PATIENCE)
    listeners = [net.of(number)[1 - net.of(number).index(talkers[number])] for number in range(GROUPS)]
    await until(lambda: all(phone.path and phone.path.heard for phone in listeners), PATIENCE)
    await asyncio.sleep(0.5)  # in which anything of another group would be heard
    for talker, listener in zip(talkers, listeners, strict=True):
        assert listener.path is not None
        assert talker.path is not None
        assert set(listener.path.heard) == {talker.number}  # and nothing of any other group
        assert not talker.path.heard
    await net.all_quiet()


async def test_of_two_who_press_at_once_one_talks_and_the_other_waits(net: Net) -> None:
    """P5 over sockets; a thousand times without them in tests/server/groups/test_race.py."""
    one, two, *_ = net.of(4)
    for _ in range(100):
        answers = await asyncio.gather(one.press(), two.press())
        assert sorted(answer["state"] for answer in answers) == ["granted", "queued"]
        await asyncio.gather(one.let_go(), two.let_go())
    assert not one.client.states("revoked")
    assert not two.client.states("revoked")
    await net.all_quiet()


async def test_an_emergency_takes_a_floor_while_all_fifty_are_busy(net: Net) -> None:
    """P7."""
    answers = await asyncio.gather(*(phone.speak(1000 + phone.number) for phone in net.talkers))
    assert [answer["state"] for answer in answers] == ["granted"] * GROUPS
    taken = []
    for number in range(0, GROUPS, 10):
        talker, victim, *_ = net.of(number)
        victim.client.hold()
        begun = time.monotonic()
        done = await victim.client.do("emergency.start", key=f"sos-{number}", group=victim.group)
        taken.append(time.monotonic() - begun)
        assert done["answer"]["state"] == "granted"
        await talker.client.until_told("revoked", cause="pre_empted")
        assert [one["state"] for one in talker.client.states("revoked")] == ["revoked"]
    assert max(taken) < EMERGENCY
    others = [phone for number, phone in enumerate(net.talkers) if number % 10]
    assert not any(phone.client.states("revoked") for phone in others)
    await net.all_quiet()


async def test_two_hundred_come_back_at_once_and_standing_calls_go_on(net: Net) -> None:
    """P29 with 200."""
    talker, listener, *_ = net.of(0)
    assert talker.path is not None
    assert listener.path is not None
    answer = await talker.speak(7)
    assert answer["state"] == "granted"
    gone = net.phones[PATHS:]
    await asyncio.gather(*(phone.client.vanish() for phone in gone))
    begun = time.monotonic()
    await asyncio.gather(*(_back(net, phone) for phone in gone))
    taken = time.monotonic() - begun
    print(f"{len(gone)} clients back in {taken:.2f} s")
    assert taken < ALL_BACK
    heard, sent = listener.path.heard[7], talker.path.sent
    await until(lambda: heard.last >= sent)  # of what is said now
    assert not talker.client.states("revoked")
    assert talker.floor["sequence"] == answer["sequence"]  # one grant, all the time
    assert heard.first == 0
    assert heard.packets > 0.9 * (heard.last + 1)
    assert heard.last > talker.path.sent - 25
    await net.all_quiet()
    assert len(await timed(net.talkers)) == GROUPS  # each is granted


async def _back(net: Net, phone: Phone) -> None:
    await phone.client.come_back(net.server.url, phone.token)
    await phone.client.do("group.tune", listening=[phone.group], selected=[phone.group])
    assert phone.client.me["resumed"]


async def test_who_does_not_read_delays_nobody(net: Net) -> None:
    slow = await net.more()
    for task in slow._tasks[:1]:
        task.cancel()  # nothing is read any more; it still says that it is there
    slow.socket._reader._protocol.pause_reading()
    slow.socket.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    try:
        for number in range(300):  # some MB of answers that it will not take
            await slow.send({"type": "spurt.search", "id": f"s{number}", "limit": 200})
        for _ in range(3):
            assert statistics.median(await timed(net.talkers[:25])) < ANSWER
    finally:
        await slow.vanish()
    await net.all_quiet()


async def test_a_flood_of_keys_is_read_late_and_harms_only_its_sender(net: Net) -> None:
    """10,000 presses and releases from one phone."""
    flooder, *others = net.talkers[:20]
    assert (await flooder.press())["state"] == "granted"
    await flooder.let_go()
    answered = 0
    take = flooder.client._take

    def counted(message: dict[str, Any]) -> None:
        nonlocal answered
        answered += message["type"] == "reply"
        take(message)

    flooder.client._take = counted  # type: ignore[method-assign]
    begun = time.monotonic()
    flood = asyncio.create_task(_flood(flooder))
    await until(lambda: answered)
    taken = await timed(others)
    assert statistics.median(taken) < ANSWER
    await asyncio.sleep(max(0.0, begun + FLOOD - time.monotonic()))
    flood.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await flood
    spent = time.monotonic() - begun
    print(
        f"{answered} of 10,000 answered in {spent:.1f} s, others p50 {statistics.median(taken) * 1e3:.1f} ms"
    )
    assert 100 < answered < 400 + 100 * (spent + 1)
    await flooder.client.vanish()
    await _back(net, flooder)
    await net.all_quiet()
    assert len(await timed([flooder])) == 1


async def _flood(flooder: Phone) -> None:
    for number in range(5_000):
        await flooder.client.send({"type": "floor.request", "id": f"f{number}", "groups": [flooder.group]})
        await flooder.client.send({"type": "floor.release", "id": f"g{number}"})


async def test_tuning_to_everything_again_and_again_delays_nobody(net: Net) -> None:
    desk = await net.more()
    groups = [phone.group for phone in net.talkers][:64]

    async def tune() -> None:
        for turn in range(100):
            some = groups if turn % 2 else []
            await desk.do("group.tune", listening=some, selected=some[:16])

    tuning = asyncio.create_task(tune())
    try:
        assert statistics.median(await timed(net.talkers[:25])) < ANSWER
        await tuning
    finally:
        tuning.cancel()
        await desk.close()
    too_many = [f"g{number}" for number in range(65)]
    refused = await net.phones[0].client.command("group.tune", listening=too_many, selected=[])
    assert refused["error"]["code"] == "bad_request"
    await net.all_quiet()


async def test_signs_of_a_key_that_is_not_held_do_nothing(net: Net) -> None:
    phone = net.phones[0]
    before = phone.floor
    for _ in range(300):
        await phone.client.send({"type": "floor.alive"})
    assert await timed(net.talkers[1:3])
    assert phone.floor == before
    assert not phone.client.goodbye


async def test_what_belongs_to_others_is_refused_and_stays_as_it_is(net: Net) -> None:
    thief, owner = net.of(1)[0], net.of(2)[0]
    assert (await owner.speak(8))["state"] == "granted"
    call = (await net.officer.do("media.offer", kind="voice", sdp=(path := SoundPath()).offer()))["session"]
    path.close()
    alarm = (await net.of(3)[0].client.do("emergency.start", key="sos-3"))["alarm"]
    commands: list[tuple[str, dict[str, Any], set[str]]] = [
        ("group.tune", {"listening": [owner.group], "selected": []}, {"forbidden"}),
        ("group.tune", {"listening": [], "selected": [owner.group]}, {"forbidden"}),
        ("group.tune", {"listening": ["nonsense"], "selected": []}, {"not_found"}),
        ("floor.revoke", {"group": owner.group, "reason": "x"}, {"forbidden"}),
        ("group.change", {"group": owner.group, "name": "x"}, {"forbidden"}),
        ("group.delete", {"group": owner.group, "reason": "x"}, {"forbidden"}),
        ("patch.create", {"groups": [owner.group, thief.group]}, {"forbidden"}),
        ("patch.mute", {"group": owner.group, "seconds": 60}, {"forbidden"}),
        ("alarm.move", {"alarm": alarm, "act": "acknowledge"}, {"forbidden"}),
        ("call.answer", {"call": "nonsense", "accept": True}, {"not_found"}),
        ("call.end", {"call": "nonsense"}, {"not_found"}),
        ("callback.take", {"callback": "nonsense"}, {"forbidden"}),
        ("call.all", {}, {"forbidden"}),
        ("media.close", {"session": owner.client.session}, {"not_found", "forbidden"}),
        ("media.close", {"session": call}, {"not_found", "forbidden"}),
        ("media.offer", {"kind": "voice", "sdp": "v=0", "session": owner.client.session}, {"not_found"}),
        ("spurt.search", {"groups": [owner.group]}, {"forbidden"}),
    ]
    for type, fields, codes in commands:
        reply = await thief.client.command(type, **fields)
        assert not reply["ok"], (type, fields)
        assert reply["error"]["code"] in codes, (type, reply)
    answer = (await thief.client.do("floor.request", groups=[owner.group]))["answers"][0]
    assert (answer["state"], answer["cause"]) == ("denied", "no_member")
    await thief.client.do("floor.release", groups=[owner.group])
    await until(lambda: owner.floor["state"] == "taken")
    assert owner.group not in thief.client.entities["group"]
    assert not owner.client.states("revoked")
    await net.all_quiet()
