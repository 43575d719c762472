"""Patches of talk groups. Pure."""
