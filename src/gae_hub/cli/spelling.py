"""Errors of the library in the spelling of the command line: `channels=1` as `--channels 1`."""

__all__ = ["errors_in_flags", "spell_as_flags"]

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_VALUE = r"""'[^']*'|"[^"]*"|\{[^}]*\}|[\w.+-]*[\w+]"""


def spell_as_flags(message: str, names: Iterable[str]) -> str:
    """A message whose options are written as flags.

    `name=value` becomes `--name value`. A bare name becomes `--name` if it has an underscore, which no other word has,
    or follows "pass". Names in quotes, in paths and in calls of functions stay as they are.

    Args:
        message: text of an error.
        names: names of the command's flags, without dashes.
    """
    known = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    pattern = rf"(?<![\w'\"/.\\-])(?<!\w\()({known})(?:=({_VALUE}))?(?![\w'\"/\\(=])"

    def spell(match: re.Match[str]) -> str:
        name, value = match.groups()
        if value is None:
            is_option = "_" in name or match.string[: match.start()].endswith("pass ")
            return f"--{name}" if is_option else name
        if value in ("True", "False"):
            value = value.lower()
        elif value.startswith("{"):
            value = f"'{value}'"
        elif value[0] in "'\"" and re.fullmatch(r"[\w./-]+", value[1:-1]):
            value = value[1:-1]
        return f"--{name} {value}"

    return re.sub(pattern, spell, message) if known else message


@contextmanager
def errors_in_flags(names: Iterable[str]) -> Iterator[None]:
    """Errors that the block raises name their options as flags. `names` are those of `spell_as_flags`."""
    try:
        yield
    except (ValueError, NotImplementedError) as error:
        for found in (error, error.__cause__):  # the cause of a config's error has its text
            if found is not None and len(found.args) == 1 and isinstance(found.args[0], str):
                found.args = (spell_as_flags(found.args[0], names),)
        raise
