import pytest

from media.rtp.errors import BadPayload, Truncated
from media.rtp.h264_profile import DEFAULT, Profile, ProfileLevelId, same_profile


@pytest.mark.parametrize(
    ("text", "profile", "level"),
    [
        ("42e01f", Profile.CONSTRAINED_BASELINE, "3.1"),
        ("42001f", Profile.BASELINE, "3.1"),
        ("4d001f", Profile.MAIN, "3.1"),
        ("4D8028", Profile.CONSTRAINED_BASELINE, "4"),
        ("58e00b", Profile.CONSTRAINED_BASELINE, "1.1"),
        ("58a00c", Profile.BASELINE, "1.2"),
        ("58200d", Profile.EXTENDED, "1.3"),
        ("640c1f", Profile.CONSTRAINED_HIGH, "3.1"),
        ("640032", Profile.HIGH, "5"),
        ("6e0033", Profile.HIGH_10, "5.1"),
        ("7a0033", Profile.HIGH_422, "5.1"),
        ("f40034", Profile.HIGH_444, "5.2"),
        ("2c001f", Profile.OTHER, "3.1"),
        ("42f00b", Profile.CONSTRAINED_BASELINE, "1b"),
        ("640009", Profile.HIGH, "1b"),
        (DEFAULT, Profile.BASELINE, "1"),
    ],
)
def test_profiles_and_levels(text: str, profile: Profile, level: str) -> None:
    parsed = ProfileLevelId.parse(text)
    assert parsed.profile is profile
    assert parsed.level == level
    assert str(parsed) == text.lower()


def test_levels_are_ordered() -> None:
    levels = ["42000a", "42100b", "42000b", "42000c", "42001f", "420020"]
    ranks = [ProfileLevelId.parse(text).level_rank for text in levels]
    assert ranks == sorted(set(ranks))


def test_same_profile_whatever_the_level() -> None:
    assert same_profile("42e01f", "42C033")
    assert same_profile("42e01f", "4d801f")
    assert not same_profile("42e01f", "42001f")
    assert same_profile("2c001f", "2c0020")
    assert not same_profile("2c001f", "2c1020")


def test_of_an_sps() -> None:
    assert str(ProfileLevelId.of_sps(bytes.fromhex("6742c01eda0280bf"))) == "42c01e"
    with pytest.raises(Truncated):
        ProfileLevelId.of_sps(b"\x67\x42\xc0")


@pytest.mark.parametrize("text", ["", "42e01", "42e01f0", "42e01g", " 2e01f", "４2e01f", "+2e01f"])
def test_what_is_not_six_hexadecimal_digits(text: str) -> None:
    with pytest.raises(BadPayload):
        ProfileLevelId.parse(text)
