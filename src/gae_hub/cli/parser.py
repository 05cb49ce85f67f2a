"""The parser of a command, with one-line errors that name the nearest flag."""

__all__ = ["Parser", "UsageError"]

import argparse
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from .flags import Flag
from .values import did_you_mean

_MISSING = "the following arguments are required: "


class UsageError(ValueError):
    """A command line that cannot be read: an unknown flag, a wrong value, or flags that exclude each other."""


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises [`UsageError`] instead of printing its usage and exiting.

    Args:
        prog: name of the command, such as "gae-hub train".
        description: text above the flags in `--help`.
        add_help: whether to accept `--help`.

    Attributes:
        flags: flags by name.
        help_command: the command that shows all flags.
        extend: adds the flags that depend on other flags; called with the parser and the words before they are read.
    """

    def __init__(self, prog: str, description: str | None = None, add_help: bool = True):
        super().__init__(prog, description=description, allow_abbrev=False, add_help=add_help)
        # argparse before Python 3.14 reads -1e-3 as a flag
        self._negative_number_matcher = re.compile(r"-\.?\d")
        self.flags: dict[str, Flag] = {}
        self.help_command = f"{prog} --help"
        self.extend: Callable[[Parser, list[str]], None] | None = None

    def add_model(self):
        """Add the positional argument `model`."""
        self.add_positional("model", "Folder or Hub repository of a trained model")

    def add_positional(self, name: str, help: str, default: str | None = None):
        """Add a positional argument, which may be left out if it has a default."""
        words = [action.dest for action in self._actions if not action.option_strings]
        self.usage = f"%(prog)s {' '.join([*words, name if default is None else f'[{name}]'])} [flags]"
        settings: dict[str, Any] = {} if default is None else {"nargs": "?", "default": default}
        self.add_argument(name, help=help, **settings)

    def add_flags(self, *flags: Flag, group: str | None = None, given_only: bool = False):
        """Add flags.

        Args:
            flags: the flags.
            group: heading of the flags in `--help`.
            given_only: whether the arguments hold only flags that are given, without defaults. Boolean flags then
                accept a value: `--resume`, `--resume true`.
        """
        target = self if group is None else self.add_argument_group(group)
        for flag in flags:
            self.flags[flag.name] = flag
            if flag.type is bool and not given_only:
                target.add_argument(f"--{flag.name}", action="store_true", help=flag.full_help)
                continue
            default = argparse.SUPPRESS if given_only else flag.default
            settings: dict[str, Any] = {"default": default, "required": flag.required, "metavar": flag.metavar}
            if flag.many:
                settings["nargs"] = "+"
            elif flag.bare is not None:
                settings |= {"nargs": "?", "const": flag.bare}
            target.add_argument(f"--{flag.name}", type=_reader(flag), help=flag.full_help, **settings)

    def peek(self, words: list[str], *flags: Flag) -> dict[str, Any]:
        """Read `flags` before the other flags of the command are known. Returns the values of the given ones."""
        early = Parser(self.prog, add_help=False)
        early.add_flags(*flags, given_only=True)
        return vars(early.parse_known_args(words)[0])

    def set_from_yaml(self, content: Mapping[str, Any], path: str):
        """Make the content of a YAML file the defaults of the flags that it names.

        Raises:
            UsageError: for a key that is not a flag, or a value of another type.
        """
        for name, value in content.items():
            if name not in self.flags or name == "config":
                raise UsageError(f"{path}: {self._unknown(name)}")
            try:
                self.set_defaults(**{name: self.flags[name].read(value)})
            except ValueError as error:
                raise UsageError(f"{path}: {name}: {error}") from error

    def read(self, words: list[str]) -> argparse.Namespace:
        """Arguments from the words of a command line.

        Raises:
            UsageError: if the words cannot be read.
            SystemExit: after `--help`.
        """
        if self.extend is not None:
            try:
                self.extend(self, words)
            except ValueError as error:
                raise UsageError(str(error)) from error
        for word in words:
            name = word.partition("=")[0]
            if name.startswith("--") and name[2:] not in self.flags and name != "--help":
                raise UsageError(self._unknown(name[2:], "--"))
        known, rest = self.parse_known_args(words)
        if rest:
            raise UsageError(f"unexpected argument '{rest[0]}'; flags start with --")
        for flag in self.flags.values():
            found = getattr(known, flag.name, None)
            if flag.many and isinstance(found, list):
                try:
                    setattr(known, flag.name, flag.unwrap(found))
                except ValueError as error:
                    raise UsageError(f"--{flag.name}: {error}") from error
        return known

    def _unknown(self, name: str, prefix: str = "") -> str:
        hint = did_you_mean(name.replace("-", "_"), self.flags, prefix)
        return f"unknown flag {prefix}{name}" + (hint or f"; `{self.help_command}` shows all flags")

    def error(self, message: str) -> NoReturn:
        if message.startswith(_MISSING):
            raise UsageError(f"missing argument: {message.removeprefix(_MISSING)}\n{self.format_usage().strip()}")
        raise UsageError(message.removeprefix("argument "))


def _reader(flag: Flag) -> Callable[[str], Any]:
    """A flag's reader, with the error that argparse shows."""

    def read(text: str) -> Any:
        try:
            return flag.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read
