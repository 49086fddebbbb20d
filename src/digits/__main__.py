"""`python -m digits` is `digits`."""

from digits.cli import main

main()
