"""The command table, and the one place where an error becomes a paragraph and an exit status."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click
import typer
from typer.core import TyperGroup

from neoc.cli import console
from neoc.compile.errors import NeocError, OutputError

COMMANDS = {
    "compile": "Compile MODEL for one or more targets, prove the result, race the candidates.",
    "check": "Every gap for every target at once; needs no device and no vendor tool.",
    "targets": "What neoc knows, what is usable here, and why not.",
    "doctor": "What is installed, what each engine lacks, one command to mend it.",
    "inspect": "Signature, operators, FLOPs, bytes, placement, verification of a model or an artifact.",
    "run": "Run an artifact on an .npz of inputs.",
    "verify": "Two subjects on the user's own, perhaps labelled, data.",
    "export": "The plain ONNX and each engine's native files: no lock-in.",
    "bench": "Latency of artifacts and engines, interleaved in one run.",
    "cache": "List or clear the build cache.",
    "zoo": "Fetch the real models that tests and benchmarks use.",
}
"""name -> the line in `neoc --help`, kept here so that the overview imports no command"""


class _LazyGroup(TyperGroup):
    """Commands are imported when they are called; --help reads the table."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if not ctx.resilient_parsing and ctx.invoked_subcommand is None and _wants_overview():
            return click.Command(cmd_name, help=COMMANDS[cmd_name])
        app: typer.Typer = import_module(f"neoc.cli.{cmd_name}_command").app
        command: click.Command = typer.main.get_command(app)
        command.name, command.help = cmd_name, command.help or COMMANDS[cmd_name]
        return command


def _wants_overview() -> bool:
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    return not words or words[0] not in COMMANDS


app = typer.Typer(
    cls=_LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Compile a model for a chip, prove that it computes the same thing, measure it there.\n\n"
    "Exit status: 0 done; 1 a negative verdict; 2 unusable arguments, input or output place; "
    "3 a needed tool or device is missing; 70 a bug in neoc; 130 interrupted. --debug shows tracebacks.",
)


def _show_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        print(f"neoc {version('neoc')}")
        raise typer.Exit


@app.callback()
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
    try:
        status = app(args=words, prog_name="neoc", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except NeocError as error:
        _traceback(debug)
        return _fail(error.exit_status, str(error), error.as_dict(), as_json)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.UsageError as error:
        hint = f" {error.ctx.command_path} --help lists the arguments." if error.ctx else ""
        return _fail(2, error.format_message() + hint, {"kind": "UsageError"}, as_json)
    except (KeyboardInterrupt, click.Abort):
        return _fail(130, "interrupted; nothing was left half written", {"kind": "Interrupted"}, as_json)
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
