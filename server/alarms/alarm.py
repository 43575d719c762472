"""The life of an alarm. Pure."""
