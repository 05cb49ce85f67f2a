"""The entry point: finds the command, runs it, and turns errors into one line and an exit status."""

__all__ = ["COMMANDS", "main", "make_parser"]

import os
import sys
from collections.abc import Collection, Sequence
from types import ModuleType

from . import (
    convert,
    embed,
    evaluate,
    export,
    fit_sampler,
    generate,
    listing,
    quickstart,
    reconstruct,
    space,
    study_init,
    study_publish,
    study_report,
    study_run,
    study_status,
    train,
    train_extractor,
)
from .parser import Parser, UsageError
from .spelling import errors_in_flags
from .values import did_you_mean

COMMANDS: dict[str, ModuleType] = {
    "train": train,
    "fit-sampler": fit_sampler,
    "generate": generate,
    "reconstruct": reconstruct,
    "embed": embed,
    "evaluate": evaluate,
    "train-extractor": train_extractor,
    "space": space,
    "study init": study_init,
    "study run": study_run,
    "study status": study_status,
    "study report": study_report,
    "study publish": study_publish,
    "convert": convert,
    "export": export,
    "list": listing,
    "quickstart": quickstart,
}
"""Name to module of each command. A module has a docstring that says what the command does, `add_arguments(parser)`,
and `run(args)`, which may return an exit status."""

_USAGE = "usage: gae-hub command [flags]"
_HELP_HINT = "; `gae-hub --help` lists the commands"
_TRACEBACK = "GAE_HUB_TRACEBACK"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after `gae-hub`; by default from the command line.

    Returns:
        The exit status: 0, 1 if a part of the work failed, 2 after an error, 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    prog = " ".join(["gae-hub", *_split_command(words)[0]])
    try:
        return _run(words)
    except SystemExit as stop:  # argparse exits after --help
        return int(stop.code or 0)
    except BrokenPipeError:  # the reader of our output closed it, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt as stop:
        print(f"\n{prog}: {str(stop) or 'interrupted'}", file=sys.stderr)
        return 130
    except _reported_errors() as error:
        if os.environ.get(_TRACEBACK):
            raise
        hint = "" if isinstance(error, UsageError) else f"\n({_TRACEBACK}=1 shows the traceback)"
        print(f"{prog}: {_message(error)}{hint}", file=sys.stderr)
        return 2
    return 0


def make_parser(name: str) -> Parser:
    """The parser of a command."""
    command = COMMANDS[name]
    parser = Parser(f"gae-hub {name}", _summary(command))
    command.add_arguments(parser)
    return parser


def _run(words: list[str]) -> int:
    """Run a command, and return its exit status."""
    if words[:1] in (["--help"], ["-h"]):
        print(_overview())
        return 0
    if not words:
        raise UsageError(f"missing command: {', '.join(COMMANDS)}\n{_USAGE}")
    found, rest = _split_command(words)
    group = [name for name in COMMANDS if name.startswith(f"{words[0]} ")]
    if not found and group and words[1:] in (["--help"], ["-h"]):
        print(_overview(group))
        return 0
    if not found:
        raise UsageError(_describe_unknown(words))
    name = " ".join(found)
    parser = make_parser(name)
    args = parser.read(rest)

    command = COMMANDS[name]
    if getattr(command, "LOADS_MODELS", True):  # the import takes a second, which `study status` saves
        from transformers.utils import logging

        logging.disable_progress_bar()
    with errors_in_flags(parser.flags):
        return command.run(args) or 0


def _split_command(words: list[str]) -> tuple[list[str], list[str]]:
    """The one or two words of the command, empty if there is no such command, and the other words."""
    for num in (2, 1):
        if " ".join(words[:num]) in COMMANDS:
            return words[:num], words[num:]
    return [], words


def _describe_unknown(words: list[str]) -> str:
    """The error for words that begin with no command."""
    first = words[0]
    parts = [name.split()[1] for name in COMMANDS if name.split()[0] == first]
    if parts:  # a command of two words
        if len(words) == 1 or words[1].startswith("-"):
            return f"{first} needs one of {', '.join(parts)}"
        hint = did_you_mean(words[1], parts) or f"; expected one of {', '.join(parts)}"
        return f"unknown command {first} {words[1]}{hint}"
    kind = "flag" if first.startswith("-") else "command"
    return f"unknown {kind} {first}{did_you_mean(first, COMMANDS) or _HELP_HINT}"


def _overview(names: Collection[str] = COMMANDS.keys()) -> str:
    width = max(map(len, names))
    rows = [f"  {name.ljust(width)}  {_summary(COMMANDS[name])}" for name in names]
    about = "Generative autoencoders: train, sample, measure and share them."
    return "\n".join([_USAGE, "", about, "", "commands:", *rows, "", "`gae-hub command --help` shows the flags."])


def _summary(command: ModuleType) -> str:
    """The first line of a command's docstring."""
    return (command.__doc__ or "").partition("\n")[0]


def _reported_errors() -> tuple[type[Exception], ...]:
    """Errors that are shown in one line. They are imported only after an error, so that commands start fast."""
    from huggingface_hub.errors import StrictDataclassError

    return ValueError, OSError, ImportError, NotImplementedError, FloatingPointError, StrictDataclassError


def _message(error: Exception) -> str:
    """The text of an error. For an error of a config, the reason without the name of the validator."""
    from huggingface_hub.errors import StrictDataclassError

    return str(error.__cause__ if isinstance(error, StrictDataclassError) and error.__cause__ else error)
