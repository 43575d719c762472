from __future__ import annotations

import uuid

from server.model.uuid7 import new_id


def test_version_variant_time_and_order() -> None:
    made = [uuid.UUID(new_id(1_800_000_000.0 + number)) for number in range(50)]
    assert {one.version for one in made} == {7}
    assert {one.variant for one in made} == {uuid.RFC_4122}
    assert made[0].int >> 80 == 1_800_000_000_000
    assert [str(one) for one in made] == sorted(str(one) for one in made)


def test_ids_of_one_moment_differ() -> None:
    assert len({new_id(1_800_000_000.0) for _ in range(1000)}) == 1000


def test_a_clock_before_1970_breaks_nothing() -> None:
    assert uuid.UUID(new_id(-5.0)).int >> 80 == 0
