"""Runs the command `digits`, as `python -m digits`."""

from digits.cli import main

main()
