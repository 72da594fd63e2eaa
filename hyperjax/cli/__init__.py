"""The command line: arguments in, messages out."""

from hyperjax.cli.command import app, main

__all__ = ["app", "main"]
