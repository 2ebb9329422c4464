"""The command line: one file a command, each imported when it is called. See `neoc --help`."""

from __future__ import annotations


def _terminate(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def main() -> None:
    """Entry point of the `neoc` command; ends the process with the documented status."""
    import signal

    from neoc.cli.app import run

    # A polite kill ends like an error, so that scratch folders and child processes go with it.
    signal.signal(signal.SIGTERM, _terminate)
    raise SystemExit(run())
