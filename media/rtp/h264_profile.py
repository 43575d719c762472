"""profile-level-id, by which SDP names an H.264 profile and level (RFC 6184 8.1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from media.rtp.errors import BadPayload, Truncated

DEFAULT = "42000a"  # when SDP says nothing: Baseline, level 1


class Profile(Enum):
    """The sub-profiles that profile-level-id can tell apart (RFC 6184 table 5)."""

    CONSTRAINED_BASELINE = "Constrained Baseline"
    BASELINE = "Baseline"
    MAIN = "Main"
    EXTENDED = "Extended"
    CONSTRAINED_HIGH = "Constrained High"
    HIGH = "High"
    HIGH_10 = "High 10"
    HIGH_422 = "High 4:2:2"
    HIGH_444 = "High 4:4:4 Predictive"
    OTHER = "other"


# profile_idc, mask and value of the constraint byte -> profile; the first match counts.
_PROFILES = (
    (0x42, 0x4F, 0x40, Profile.CONSTRAINED_BASELINE),
    (0x4D, 0x8F, 0x80, Profile.CONSTRAINED_BASELINE),
    (0x58, 0xCF, 0xC0, Profile.CONSTRAINED_BASELINE),
    (0x42, 0x4F, 0x00, Profile.BASELINE),
    (0x58, 0xCF, 0x80, Profile.BASELINE),
    (0x4D, 0xAF, 0x00, Profile.MAIN),
    (0x58, 0xCF, 0x00, Profile.EXTENDED),
    (0x64, 0xFF, 0x0C, Profile.CONSTRAINED_HIGH),
    (0x64, 0xFF, 0x00, Profile.HIGH),
    (0x6E, 0xFF, 0x00, Profile.HIGH_10),
    (0x7A, 0xFF, 0x00, Profile.HIGH_422),
    (0xF4, 0xFF, 0x00, Profile.HIGH_444),
)
_WITH_LEVEL_1B_FLAG = frozenset((0x42, 0x4D, 0x58))
_RANK_1B = 21


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileLevelId:
    """The three bytes of an SPS after its header: profile_idc, constraint flags, level_idc."""

    profile_idc: int
    constraints: int
    level_idc: int

    @classmethod
    def parse(cls, text: str) -> ProfileLevelId:
        """Six hexadecimal digits, as in `profile-level-id=42e01f`. Raises `BadPayload` for anything else."""
        if len(text) != 6 or not all(digit in "0123456789abcdefABCDEF" for digit in text):
            raise BadPayload("profile-level-id is not six hexadecimal digits")
        profile_idc, constraints, level_idc = bytes.fromhex(text)
        return cls(profile_idc=profile_idc, constraints=constraints, level_idc=level_idc)

    @classmethod
    def of_sps(cls, unit: bytes) -> ProfileLevelId:
        """Of a whole SPS unit, header included. Raises `Truncated`."""
        if len(unit) < 4:
            raise Truncated("SPS", needed=4, available=len(unit))
        return cls(profile_idc=unit[1], constraints=unit[2], level_idc=unit[3])

    @property
    def profile(self) -> Profile:
        """The profile, `Profile.OTHER` for a combination RFC 6184 does not list."""
        for profile_idc, mask, value, profile in _PROFILES:
            if self.profile_idc == profile_idc and self.constraints & mask == value:
                return profile
        return Profile.OTHER

    @property
    def level_rank(self) -> int:
        """A number that orders levels: twice level_idc, with 1b between 1 and 1.1."""
        flagged = self.level_idc == 11 and self.constraints & 0x10 and self.profile_idc in _WITH_LEVEL_1B_FLAG
        return _RANK_1B if flagged or self.level_idc == 9 else 2 * self.level_idc

    @property
    def level(self) -> str:
        """The level as people write it: "3.1", "4", "1b"."""
        if self.level_rank == _RANK_1B:
            return "1b"
        return f"{self.level_idc // 10}.{self.level_idc % 10}".removesuffix(".0")

    def __str__(self) -> str:
        return f"{self.profile_idc:02x}{self.constraints:02x}{self.level_idc:02x}"


def same_profile(one: str, other: str) -> bool:
    """Whether two profile-level-ids name the same profile, whatever their levels. Raises `BadPayload`."""
    first, second = ProfileLevelId.parse(one), ProfileLevelId.parse(other)
    if first.profile is Profile.OTHER:
        return (first.profile_idc, first.constraints) == (second.profile_idc, second.constraints)
    return first.profile is second.profile
