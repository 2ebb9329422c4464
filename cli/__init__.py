"""The command line: one file a command, each imported when it is called. See `neoc --help`."""

from __future__ import annotations


def main() -> None:
    """Entry point of the `neoc` command; ends the process with the documented status."""
    from neoc.cli.app import run

    raise SystemExit(run())
