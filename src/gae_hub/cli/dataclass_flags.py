"""Flags from the fields of configs and of training arguments."""

__all__ = ["RARE_ARGUMENTS", "add_training_flags", "config_flags"]

import inspect
import re
from collections.abc import Container, Mapping
from dataclasses import MISSING, Field, fields
from typing import TYPE_CHECKING, Any

from .flags import OUTPUT_DIR, PUSH_TO_HUB, SEED, Flag
from .parser import Parser

if TYPE_CHECKING:
    from ..core.configuration import StrictConfig

RARE_ARGUMENTS = "other training arguments, of transformers.TrainingArguments"
"""Title of the group of flags that transformers declares, and gae_hub does not change."""

_ARGS = re.compile(r"^Args:\n((?: {4}.*\n|\n)+)", re.MULTILINE)
_ARG = re.compile(r"^ {4}([\w, ]+): (.*\n(?: {8}.*\n)*)", re.MULTILINE)
_SHARED = {flag.name: flag for flag in (OUTPUT_DIR, PUSH_TO_HUB, SEED)}


def config_flags(config_class: "type[StrictConfig]", without: Container[str]) -> list[Flag]:
    """One flag for each field that gae_hub declares in a config class, with help from the docstrings."""
    own, texts = config_class.own_fields(), _documented_fields(config_class)
    return [
        _flag_of_field(field, texts.get(field.name, ""))
        for field in fields(config_class)
        if field.name in own and field.name not in without
    ]


def add_training_flags(parser: Parser, without: Container[str], defaults: Mapping[str, Any]):
    """Add one flag for each training argument.

    Args:
        parser: the parser of a command.
        without: names to leave out.
        defaults: defaults that differ from `GAETrainingArguments`.
    """
    from ..training.arguments import GAETrainingArguments

    own = inspect.get_annotations(GAETrainingArguments)
    common, rare = [], []
    for field in fields(GAETrainingArguments):
        if field.name not in without and field.name != "parallelism_config":  # an object that cannot be read from text
            flag = _flag_of_field(field, field.metadata.get("help", ""), defaults)
            (common if field.name in own else rare).append(flag)
    parser.add_flags(*common, group="training arguments", given_only=True)
    parser.add_flags(*rare, group=RARE_ARGUMENTS, given_only=True)


def _flag_of_field(field: Field, text: str, defaults: Mapping[str, Any] | None = None) -> Flag:
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    shared = _SHARED.get(field.name)
    return Flag(
        field.name,
        field.type,
        _first_sentence(text) if shared is None else shared.help,
        (defaults or {}).get(field.name, default),
        choices=tuple(field.metadata.get("choices", ())),
        bare=field.metadata.get("const", True if field.type in (bool, bool | None) else None),
    )


def _documented_fields(cls: type) -> dict[str, str]:
    """Field name to its text in the "Args:" section of the class or the nearest base class."""
    found = {}
    for base in reversed(cls.__mro__):
        section = _ARGS.search(inspect.cleandoc(base.__doc__ or "") + "\n")
        for names, text in _ARG.findall(section[1] if section else ""):
            found.update(dict.fromkeys(names.split(", "), text))
    return found


def _first_sentence(text: str) -> str:
    """The first sentence, with a capital and without its full stop."""
    sentence = re.split(r"(?<=\.)\s+(?=[A-Z`])", " ".join(text.split()), maxsplit=1)[0].rstrip(".")
    return sentence[:1].upper() + sentence[1:]
