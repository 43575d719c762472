from media.rtp import ntp


def test_known_instants() -> None:
    assert ntp.from_unix(0) == 2_208_988_800 << 32
    assert ntp.from_unix(1_700_000_000.5) == (3_908_988_800 << 32) | 0x80000000
    assert ntp.to_unix((3_908_988_800 << 32) | 0x80000000) == 1_700_000_000.5
    assert ntp.middle32(0x1234_5678_9ABC_DEF0) == 0x5678_9ABC


def test_the_era_wraps_in_2036() -> None:
    assert ntp.from_unix(4_294_967_296 - 2_208_988_800) == 0
