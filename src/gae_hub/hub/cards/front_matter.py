"""The YAML block at the top of a card: read as the Hub reads it, and written so that all parsers read the same.

The Hub reads YAML 1.2. PyYAML reads YAML 1.1, where `language: no` is false, 12:30 is the number 750, 010 is 8, and
dates are objects.
"""

__all__ = ["dump_metadata", "read_metadata", "text_below_metadata"]

import re
from typing import Any

import yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK


def read_metadata(card: str) -> dict[str, Any]:
    """The YAML block at the top of a card as a dict, empty if there is none.

    Raises:
        ValueError: if it is not a YAML mapping.
    """
    match = REGEX_YAML_BLOCK.search(card)
    try:
        metadata = yaml.load(match[2], Loader=_Loader) if match is not None else None  # a SafeLoader
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"the YAML block at its top is not valid ({' '.join(str(error).split())})") from error
    if metadata is None:
        return {}
    if not isinstance(metadata, dict):
        raise ValueError(f"the YAML block at its top must be a mapping, got a {type(metadata).__name__}")
    return metadata


def dump_metadata(metadata: dict[str, Any]) -> str:
    """YAML of the output of `read_metadata`. Numbers are written as they were typed."""
    return yaml.dump(metadata, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6).strip()


def text_below_metadata(card: str) -> str:
    """The card without its YAML block."""
    match = REGEX_YAML_BLOCK.search(card)
    return card if match is None else card[match.end() :]


class _Number(str):
    """A number as it was typed, such as 3.10."""


class _Loader(yaml.SafeLoader):
    """Only true, false, null and decimal numbers are not text."""

    yaml_implicit_resolvers = {}


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 would read as something else."""


def _represent_number(dumper: yaml.SafeDumper, number: _Number) -> yaml.ScalarNode:
    kind = "int" if number.lstrip("+-").isdigit() else "float"
    return dumper.represent_scalar(f"tag:yaml.org,2002:{kind}", str(number))


_DECIMAL = r"[-+]?(?:0|[1-9]\d*)(?:\.\d*(?:[eE][-+]\d+)?)?"
_NUMBER = re.compile(rf"(?:{_DECIMAL}|\.\d+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)$")
_NULL = re.compile(r"(?:~|null|Null|NULL|)$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", _BOOL, list("tTfF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", _NULL, ["~", "n", "N", ""])
_Loader.add_implicit_resolver("!number", _NUMBER, list("-+.0123456789"))
_Loader.add_constructor("!number", lambda loader, node: _Number(node.value))
_Dumper.add_representer(_Number, _represent_number)
