"""YAML files of flags and settings, with the scalars of YAML 1.2.

PyYAML follows YAML 1.1, where 1e-3 is a string, no is false, and 2024-01-01 is a date.
"""

__all__ = ["dump_yaml", "load_yaml", "read_yaml_file"]

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

_MAX_DEPTH = 20


class _Loader(yaml.SafeLoader):
    """Reads scalars as in YAML 1.2: 1e-3 is a number; no, on and dates are strings. Other tags are errors."""

    yaml_implicit_resolvers = {}
    yaml_constructors = {
        tag: yaml.SafeLoader.yaml_constructors[tag]
        for tag in (None, *(f"tag:yaml.org,2002:{kind}" for kind in ("null", "str", "seq", "map")))
    }
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As in PyYAML, which reads nested values recursively, but with a limit."""
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"values are nested deeper than {_MAX_DEPTH} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes strings that YAML 1.1 or `_Loader` would read as another type."""


_SCALARS = {  # type: pattern, and the characters that it can start with
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


def _construct_scalar(loader: _Loader, node: yaml.Node) -> Any:
    """A boolean or number, also with an explicit tag, such as `!!int 3`: PyYAML does not check these."""
    kind = node.tag.rpartition(":")[2]
    if not isinstance(node, yaml.ScalarNode) or not re.fullmatch(_SCALARS[kind][0], node.value):
        raise yaml.MarkedYAMLError(problem=f"expected a value of type {kind}", problem_mark=node.start_mark)
    return yaml.SafeLoader.yaml_constructors[node.tag](loader, node)


for _name in ("bool", "int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_name}", _construct_scalar)


def load_yaml(text: str) -> Any:
    """Python values of a YAML or JSON text.

    Raises:
        ValueError: if the text is not valid YAML, or too large or too deeply nested for settings.
    """
    from .json_files import check_nesting

    try:
        found = yaml.load(text, _Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"not valid YAML: {' '.join(str(error).split())}") from error
    check_nesting(found)
    return found


def dump_yaml(values: Mapping[str, Any]) -> str:
    """YAML text that `load_yaml` reads back to the same values, in the same order."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False)


def read_yaml_file(path: str | Path) -> dict[str, Any]:
    """Flags by name from a YAML file.

    Raises:
        ValueError: if the file does not exist, is not valid YAML, or does not hold names with values.
    """
    if not Path(path).is_file():
        raise ValueError(f"there is no file '{path}'")
    try:
        content = load_yaml(Path(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: it is not UTF-8 text ({error})") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected one flag per line, such as 'learning_rate: 0.001'")
    return {str(name): value for name, value in content.items()}
