"""`python -m hyperjax` is the command `hyperjax`."""

from hyperjax.cli import main

main()
