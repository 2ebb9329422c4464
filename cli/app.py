"""The command table, and the one place where an error becomes a paragraph and an exit status."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import typer

from neoc.cli import console
from neoc.compile.errors import NeocError, OutputError

COMMANDS = {
    "compile": "Compile MODEL for one or more targets, prove the result, race the candidates.",
    "check": "Every gap for every target at once; needs no device and no vendor tool.",
    "targets": "What neoc knows, what is usable here, and why not.",
    "doctor": "What is installed, what each engine lacks, one command to mend it.",
    "inspect": "Signature, operators, FLOPs, bytes, placement, verification of a model or an artifact.",
    "run": "Run an artifact on an .npz of inputs, or on raw items.",
    "verify": "Two subjects on the user's own, perhaps labelled, data.",
    "export": "The plain ONNX and each engine's native files: no lock-in.",
    "bench": "Artifacts and engines under load, by fresh process runs in turns.",
    "compare": "Is one record slower than another? A verdict with an interval.",
    "report": "The ledger of measurements as one HTML page.",
    "recommend": "The cheapest measured way to serve a model at a rate within a latency objective.",
    "emulator": "The ARM file system in which qemu runs what was compiled for ARM.",
    "device": "Machines reached over ssh, for `run --on` and `bench --on`.",
    "cache": "List or clear the build cache.",
    "zoo": "Fetch the real models that tests and benchmarks use.",
}
"""name -> the line in `neoc --help`, kept here so that the overview imports no command"""


HELP = (
    "Compile a model for a chip, prove that it computes the same thing, measure it there.\n\n"
    "Exit status: 0 done; 1 a negative verdict; 2 unusable arguments, input or output place; "
    "3 a needed tool or device is missing; 70 a bug in neoc; 130 interrupted. --debug shows tracebacks."
)


def build_app(called: str | None) -> typer.Typer:
    """The command line with only the called command imported; the others are there by name, for --help."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help=HELP)
    app.callback()(_root)
    for name, line in COMMANDS.items():
        if name != called:
            app.command(name, help=line)(_not_called)
            continue
        module = import_module(f"neoc.cli.{name}_command")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name, help=line)
        else:
            app.command(name)(module.command)
    return app


def _not_called() -> None:
    raise AssertionError("a command that was not called was run")


def _show_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        print(f"neoc {version('neoc')}")
        raise typer.Exit


def _root(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Print the version."),
) -> None:
    pass


_FULL_OR_FORBIDDEN = {
    errno.ENOSPC: "no space is left",
    errno.EDQUOT: "the quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EFBIG: "the file would grow past its limit",
}


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status. Never raises, whatever the command does."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    as_json = "--json" in words
    if not words:
        words = ["--help"]
    called = next((word for word in words if not word.startswith("-")), None)
    try:
        status = build_app(called)(args=words, prog_name="neoc", standalone_mode=False)
        sys.stdout.flush()
        if status == INTERRUPTED:  # typer has made this of a KeyboardInterrupt
            return _interrupted(as_json)
        return status if isinstance(status, int) else 0
    except NeocError as error:
        _traceback(debug)
        return _fail(error.exit_status, str(error), error.as_dict(), as_json)
    except typer.TyperException as error:  # what typer cannot parse
        hint = f"See `neoc {called} --help`." if called in COMMANDS else f"Commands: {', '.join(COMMANDS)}."
        message = " ".join(error.format_message().split()).rstrip(".")
        return _fail(2, f"{message}. {hint}", {"kind": "UsageError"}, as_json)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted(as_json)
    except BrokenPipeError:
        # The reader of our output has gone; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        _traceback(debug)
        if error.errno in _FULL_OR_FORBIDDEN:
            full = OutputError(
                "cannot write",
                where=str(error.filename or ""),
                why=_FULL_OR_FORBIDDEN[error.errno],
                fix="make room, or name another place with -o or NEOC_CACHE_DIR",
            )
            return _fail(2, str(full), full.as_dict(), as_json)
        return _bug(error, as_json)
    except Exception as error:  # the one net: whatever is not a NeocError is a bug of neoc's
        _traceback(debug)
        return _bug(error, as_json)


INTERRUPTED = 130


def _interrupted(as_json: bool) -> int:
    return _fail(INTERRUPTED, "interrupted; nothing was left half written", {"kind": "Interrupted"}, as_json)


def _bug(error: BaseException, as_json: bool) -> int:
    text = (
        f"a bug in neoc: {type(error).__name__}: {' '.join(str(error).split())[:500]}. "
        "Run again with --debug for the traceback and report it with the command and the model."
    )
    return _fail(70, text, {"kind": "InternalError"}, as_json)


def _traceback(debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exc()


def _fail(status: int, message: str, facts: dict[str, Any], as_json: bool) -> int:
    console.error(message)
    if as_json:
        console.print_json({"error": {"exit_status": status, "message": message, **facts}})
    return status
