from media.rtp import errors


def test_codes_are_stable_and_sentences_carry_the_facts() -> None:
    examples = {
        errors.PacketError("x"): ("packet.malformed", "x"),
        errors.Truncated("header", needed=12, available=3): (
            "packet.truncated",
            "header: 12 bytes needed, 3 available",
        ),
        errors.BadVersion(1): ("packet.version", "version 1 instead of 2"),
        errors.BadPadding(9, 4): ("packet.padding", "padding of 9 bytes in 4"),
        errors.BadField("count", 32): ("packet.field", "count: 32 is not allowed"),
        errors.BadExtension(15, 300): (
            "packet.extension",
            "header extension 15 of 300 bytes cannot be written",
        ),
        errors.BadPayload("empty payload"): ("payload.malformed", "empty payload"),
        errors.UnsupportedPayload("NAL type", 26): ("payload.unsupported", "NAL type 26 is not supported"),
    }
    for error, (code, sentence) in examples.items():
        assert (error.code, str(error)) == (code, sentence)
        assert isinstance(error, ValueError)
