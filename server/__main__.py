"""`python -m server` is `fengsui`."""

from server.cli import main

main()
