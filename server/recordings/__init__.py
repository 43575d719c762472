"""What was said, kept: talk spurts, their index, and how long they stay. The bytes are written by media."""
