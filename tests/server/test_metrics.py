from __future__ import annotations

import pytest

from server.metrics import Metrics, process_statistics


def broken() -> dict[str, object]:
    raise ZeroDivisionError


def test_numbers_of_all_objects_in_prometheus_form() -> None:
    metrics = Metrics()
    metrics.add(
        "http", lambda: {"open": 3, "accepted_total": 7, "name": "text", "up": True, "deep": {"a-b": 1.5}}
    )
    metrics.add("broken", broken)
    said = metrics.text().decode()
    assert "# TYPE fengsui_http_open gauge\nfengsui_http_open 3.0" in said
    assert "# TYPE fengsui_http_accepted_total counter\nfengsui_http_accepted_total 7.0" in said
    assert "fengsui_http_up 1.0" in said
    assert "fengsui_http_deep_a_b 1.5" in said
    assert "text" not in said
    assert "broken" not in said
    with pytest.raises(ValueError, match="already"):
        metrics.add("http", dict)


def test_the_process_itself() -> None:
    said = process_statistics()
    assert 10_000_000 < float(str(said["resident_bytes"])) < 10_000_000_000
    assert int(str(said["open_files"])) >= 3
