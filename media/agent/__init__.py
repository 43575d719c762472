"""The field agent: what a body cam's or drone's computer runs to publish over WHIP (extra `agent`)."""
