"""Which engine runs, and the shell around the native one; what it does is in the conformance suite."""

from __future__ import annotations

import select
import sys
from types import ModuleType

import pytest

import media
from media.relay.messages import (
    AddListener,
    AddTransport,
    ListenerKind,
    RemoveListener,
    Transaction,
    TransportKind,
)
from media.serving import ENGINES, engines_here

native = pytest.mark.skipif("native" not in ENGINES, reason="the native engine was not built")


def other_contract() -> ModuleType:
    module = ModuleType("media._native")
    module.CONTRACT = 0  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize("module", [None, other_contract()])
def test_without_the_native_engine_of_this_contract_the_python_one_runs(
    module: ModuleType | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(media, "_native", raising=False)
    monkeypatch.setitem(sys.modules, "media._native", module)  # None: as if it were not there
    monkeypatch.delitem(sys.modules, "media.relay.engine_native", raising=False)
    found = engines_here()
    assert sorted(found) == ["auto", "python"]
    assert found["auto"][0] == "python"


@native
def test_where_it_is_there_it_is_taken() -> None:
    assert ENGINES["auto"] == ENGINES["native"]
    assert ENGINES["auto"][0] == "native"


@native
def test_answers_and_what_is_said_once_it_is_closed() -> None:
    from media.relay.engine_native import NativeEngine

    engine = NativeEngine()
    engine.start()
    listening = AddListener(listener=1, kind=ListenerKind.UDP_MUX, host="127.0.0.1")
    ack = engine.apply(Transaction(number=7, commands=(listening,)))
    assert (ack.number, ack.error, ack.command, len(ack.ports)) == (7, "", -1, 1)
    transport = AddTransport(transport=1, kind=TransportKind.WEBRTC)
    ack = engine.apply(Transaction(number=8, commands=(transport, RemoveListener(listener=2))))
    assert (ack.number, ack.error, ack.command, ack.ports) == (8, "listener 2 is not known", 1, ())
    assert engine.statistics().transports == ()
    assert engine.events() == []
    assert select.select([engine.event_fd()], [], [], 0)[0] == []
    engine.close()
    engine.close()
    ack = engine.apply(Transaction(number=9, commands=()))
    assert (ack.number, ack.error) == (9, "the engine is closed")
    assert engine.events() == []
    assert engine.statistics().counters == {}


@native
def test_numbers_out_of_range_are_refused_with_a_word() -> None:
    from media.relay.engine_native import NativeEngine

    engine = NativeEngine()
    for port in (-1, 65_536, 1 << 40):
        command = AddListener(listener=1, kind=ListenerKind.UDP_MUX, host="127.0.0.1", port=port)
        ack = engine.apply(Transaction(number=1, commands=(command,)))
        assert (ack.number, ack.error) == (1, f"port {port}")
    engine.close()
