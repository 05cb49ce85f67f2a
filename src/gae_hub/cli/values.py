"""Values of flags, read by their declared types.

Text is converted: "1e-3" is 0.001 for a float field, and stays "1e-3" for a str field. Values from YAML files are
checked; their strings are read as text.
"""

__all__ = ["did_you_mean", "read_value", "type_name"]

from collections.abc import Iterable
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from ..core.yaml_files import load_yaml

_READABLE = (NoneType, Literal, bool, int, float, list, tuple, dict, Any, str)
"""Types that can be read, in the order in which the members of a union are tried."""

_BRACKETS = {list: "[", tuple: "[", dict: "{"}
_LONGEST_VALUE = 200  # characters that an error shows
_TRUE, _FALSE = ("true", "yes", "t", "y", "1"), ("false", "no", "f", "n", "0")
_WORDS = {int: "an integer", float: "a number", bool: "true or false", str: "a string", list: "a list", dict: "a dict"}
_PLURALS = {int: "integers", float: "numbers", str: "strings", list: "lists", dict: "dicts"}


def read_value(annotation: Any, value: Any) -> Any:
    """A value of the declared type.

    Args:
        annotation: the type of a flag or field: int, float, bool, str, None, a Literal, a list, tuple or dict, or a
            union of these. Other members of a union, such as classes, are ignored.
        value: text from the command line, or a value from a YAML file.

    Raises:
        ValueError: if the value does not have the type; the message names the type in words.
    """
    kinds = _members(annotation)
    brackets = {_BRACKETS[base] for base in map(_base, kinds) if base in _BRACKETS}
    for kind in kinds:
        if kind is str and isinstance(value, str) and value[:1] in brackets:
            continue  # a list or dict with a mistake in it
        try:
            return _read_text(kind, value, str in kinds) if isinstance(value, str) else _check(kind, value)
        except ValueError:
            continue
    choices = [str(choice) for kind in kinds if _base(kind) is Literal for choice in get_args(kind)]
    hint = did_you_mean(str(value), choices)
    if not hint and str in kinds and isinstance(value, (bool, int, float)):
        hint = f"; write '{value}' in quotes"
    raise ValueError(f"expected {_in_words(kinds)}, got {_shorten(value)}{hint}")


def _shorten(value: Any) -> str:
    """A value as an error shows it."""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _members(annotation: Any) -> list[Any]:
    """The readable members of a union, or the type itself, in the order of `_READABLE`."""
    members = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return sorted(
        (kind for kind in members if _base(kind) in _READABLE), key=lambda kind: _READABLE.index(_base(kind))
    )


def _base(kind: Any) -> Any:
    """list for list[int], Literal for a Literal."""
    return get_origin(kind) or kind


def _read_text(kind: Any, text: str, may_be_string: bool) -> Any:
    """Text as a value of one type.

    If the union also has str, only text that is unmistakably of the other type is read as such: "true" as a bool, but
    not "1"; "[a, b]" as a list, but not "a".
    """
    base = _base(kind)
    if base in (str, Any):
        return text
    if base is Literal:
        for choice in get_args(kind):
            if text == str(choice):
                return choice
    elif base is NoneType:
        if not may_be_string and text.lower() in ("null", "none"):
            return None
    elif base is bool:
        count = 1 if may_be_string else None
        for word, value in ((_TRUE[:count], True), (_FALSE[:count], False)):
            if text.lower() in word:
                return value
    elif base in (int, float):
        return base(text)
    elif base in (list, tuple):
        if text.startswith("["):
            return _check(kind, load_yaml(text))
        if not may_be_string:
            return _check(kind, [text])
    elif text.startswith("{"):
        return _check(kind, load_yaml(text))
    raise ValueError


def _check(kind: Any, value: Any) -> Any:
    """A value that is not text, if it has the type. Integers are also floats; items of lists and dicts are read."""
    base, parameters = _base(kind), get_args(kind)
    if base is Any:
        return value
    if base is Literal:
        for choice in parameters:
            if type(value) is type(choice) and value == choice:
                return choice
    elif base in (list, tuple) and isinstance(value, (list, tuple)):
        return base(read_value(parameters[0], item) if parameters else item for item in value)
    elif base is dict and isinstance(value, dict):
        return {key: read_value(parameters[1], item) if parameters else item for key, item in value.items()}
    elif base is float and type(value) is int:
        return float(value)
    elif type(value) is base:
        return value
    raise ValueError


# Types in words


def _in_words(kinds: list[Any]) -> str:
    """The types as an error names them, such as "an integer or a list of integers"."""
    words = []
    for kind in kinds:
        base, parameters = _base(kind), get_args(kind)
        if base is Literal:
            words.append(("one of " if len(parameters) > 1 else "") + ", ".join(map(str, parameters)))
        elif base in (list, tuple) and parameters:
            words.append(f"a list of {_PLURALS.get(_base(parameters[0]), 'values')}")
        elif base is dict and parameters:
            words.append(f"a dict of {_PLURALS.get(_base(parameters[1]), 'values')}")
        elif base in _WORDS and not (base is int and float in kinds):
            words.append(_WORDS[base])
    return " or ".join(dict.fromkeys(words))


def type_name(annotation: Any) -> str:
    """A short name of a type for `--help`, such as "int" or "{gaussian,bernoulli}"."""
    names = []
    for kind in _members(annotation):
        if _base(kind) is Literal:
            names.append("{" + ",".join(map(str, get_args(kind))) + "}")
        elif kind is not NoneType:
            names.append("list" if _base(kind) is tuple else _base(kind).__name__)
    return "|".join(dict.fromkeys(names))


def did_you_mean(word: str, known: Iterable[str], prefix: str = "") -> str:
    """The end of an error, such as "; did you mean --seed?", or "" if no known word is near."""
    known = list(known)
    near = get_close_matches(word, known, n=1) or [name for name in known if name.startswith(word)]
    return f"; did you mean {prefix}{near[0]}?" if near else ""
