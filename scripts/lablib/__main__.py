"""`python -m lablib`: what scripts/lab runs."""

from lablib.cli import main

main()
