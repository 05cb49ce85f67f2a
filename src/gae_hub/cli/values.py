"""Values of flags and of YAML files, read by their declared types.

A string is read as text: "1e-3" is 0.001 for a float field, and stays "1e-3" for a str field. Any other value must
already have the declared type.
"""

__all__ = ["did_you_mean", "dump_yaml", "load_yaml", "read_value", "type_name"]

import re
from collections.abc import Iterable
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml

# YAML


class _Loader(yaml.SafeLoader):
    """Scalars as in YAML 1.2: 1e-3 is a number; no, on and dates are strings."""

    yaml_implicit_resolvers = {}


class _Dumper(yaml.SafeDumper):
    """Quotes the strings that YAML 1.1 or `_Loader` would read as another type."""


_SCALARS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?(0|[1-9]\d*)", list("-+0123456789")),
    "float": (
        r"[-+]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "merge": ("<<", ["<"]),
}
for _name, (_pattern, _first) in _SCALARS.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"(?:{_pattern})\Z"), _first)


def load_yaml(text: str) -> Any:
    """Python values of a YAML or JSON text.

    Raises:
        ValueError: if the text is not valid YAML.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {' '.join(str(error).split())}") from error


def dump_yaml(values: dict[str, Any]) -> str:
    """YAML text that `load_yaml` reads back to the same values."""
    return yaml.dump(values, Dumper=_Dumper)


# Types

_NAMES = {int: "an integer", float: "a number", bool: "true or false", str: "a string", list: "a list", dict: "a dict"}
_PLURALS = {int: "integers", float: "numbers", str: "strings", list: "lists", dict: "dicts"}
_ORDER = (NoneType, Literal, bool, int, float, list, tuple, dict, Any, str)
"""Types that can be read, in the order in which the members of a union are tried."""

_TRUE, _FALSE = ("true", "yes", "t", "y", "1"), ("false", "no", "f", "n", "0")


def read_value(annotation: Any, value: Any) -> Any:
    """A value of the declared type.

    Args:
        annotation: the type of a flag or field: int, float, bool, str, None, a Literal, a list, tuple or dict, or a
            union of these. Other members of a union, such as classes, are ignored.
        value: text from the command line, or a value from a YAML file.

    Raises:
        ValueError: if the value does not have the type, with the type in words.
    """
    kinds = _members(annotation)
    for kind in kinds:
        try:
            return _read_as(kind, value, str in kinds)
        except ValueError:
            continue
    choices = [str(choice) for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    hint = did_you_mean(str(value), choices)
    if not hint and str in kinds and isinstance(value, (bool, int, float)):
        hint = f"; write '{value}' in quotes"
    raise ValueError(f"expected {_in_words(kinds)}, got {value!r}{hint}")


def _members(annotation: Any) -> list[Any]:
    """The readable members of a union, or the type itself, in the order of `_ORDER`."""
    members = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return sorted((kind for kind in members if _base(kind) in _ORDER), key=lambda kind: _ORDER.index(_base(kind)))


def _base(kind: Any) -> Any:
    """list for list[int], Literal for a Literal."""
    return get_origin(kind) or kind


def _read_as(kind: Any, value: Any, may_be_text: bool) -> Any:
    """A value of one member of a union. Where a string is allowed too, only unmistakable text is another type."""
    base, parameters, is_text = _base(kind), get_args(kind), isinstance(value, str)
    if base is Any:
        return value
    if base is Literal:
        for choice in parameters:
            if value == choice and type(value) is type(choice) or is_text and value == str(choice):
                return choice
    elif base is NoneType:
        if value is None or is_text and not may_be_text and value.lower() in ("null", "none"):
            return None
    elif base is bool:
        if isinstance(value, bool):
            return value
        if is_text and value.lower() in (_TRUE[:1] if may_be_text else _TRUE):
            return True
        if is_text and value.lower() in (_FALSE[:1] if may_be_text else _FALSE):
            return False
    elif base in (int, float):
        if is_text or (type(value) is int or type(value) is base):
            return base(value)
    elif base in (list, tuple):
        if is_text and value.startswith("["):
            value = load_yaml(value)
        elif is_text and not may_be_text:
            value = [value]
        if isinstance(value, (list, tuple)):
            return base(read_value(parameters[0], item) if parameters else item for item in value)
    elif base is dict:
        if is_text and value.startswith("{"):
            value = load_yaml(value)
        if isinstance(value, dict):
            return {key: read_value(parameters[1], item) if parameters else item for key, item in value.items()}
    elif base is str and is_text:
        return value
    raise ValueError


def _in_words(kinds: list[Any]) -> str:
    """The types as an error names them, such as "an integer or a list of integers"."""
    words = []
    for kind in kinds:
        base, parameters = _base(kind), get_args(kind)
        if base is Literal:
            choices = ", ".join(map(str, parameters))
            words.append(f"one of {choices}" if len(parameters) > 1 else choices)
        elif base in (list, tuple) and parameters:
            words.append(f"a list of {_PLURALS.get(_base(parameters[0]), 'values')}")
        elif base is dict and parameters:
            words.append(f"a dict of {_PLURALS.get(_base(parameters[1]), 'values')}")
        elif base in _NAMES and not (base is int and float in kinds):
            words.append(_NAMES[base])
    return " or ".join(dict.fromkeys(words))


def type_name(annotation: Any) -> str:
    """A short name of a type for `--help`, such as "int" or "{gaussian,bernoulli}"."""
    names = []
    for kind in _members(annotation):
        if get_origin(kind) is Literal:
            names.append("{" + ",".join(map(str, get_args(kind))) + "}")
        elif kind is not NoneType:
            names.append("list" if _base(kind) is tuple else _base(kind).__name__)
    return "|".join(dict.fromkeys(names))


def did_you_mean(word: str, known: Iterable[str], prefix: str = "") -> str:
    """The end of an error, such as "; did you mean --seed?", or "" if no known word is near."""
    known = list(known)
    near = get_close_matches(word, known, n=1) or [name for name in known if name.startswith(word)]
    return f"; did you mean {prefix}{near[0]}?" if near else ""
