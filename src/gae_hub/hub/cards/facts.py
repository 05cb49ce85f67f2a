"""Facts about a model and its training run: training.json, kept beside the card so that later saves can show them.

Anyone may have written the training.json of a repository, so a card shows only facts that pass a check, with
escaped text.
"""

__all__ = ["FACTS_FILE", "FACT_CHECKS", "is_hub_dataset", "is_repo_id", "load_facts", "read_facts", "valid_facts"]

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from transformers.utils import logging

from ...core.hub_files import fetch_file
from ...core.json_files import read_json_object
from ...models.base import GAEPreTrainedModel
from ...samplers.base import GAESampler
from .escaping import clean

logger = logging.get_logger(__name__)

FACTS_FILE = "training.json"
MAX_FACTS_BYTES = 1 << 24

Check = Callable[[Any], bool]


# Checks


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and abs(value) < 1 << 63


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or _is_integer(value)


def _is_plain_data(value: Any, depth: int = 8) -> bool:
    """Whether a value consists of text, numbers, lists and dicts, nested at most `depth` levels."""
    if isinstance(value, (dict, list, tuple)):
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        return depth > 0 and all(_is_plain_data(content, depth - 1) for content in inner)
    return value is None or _is_text(value) or _is_number(value)


def _optional(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _dict_of(check: Check) -> Check:
    """A dict with text keys, whose values all pass one check."""
    return lambda value: isinstance(value, dict) and all(map(_is_text, value)) and all(map(check, value.values()))


def _dict_with(checks: dict[str, Check]) -> Check:
    """A dict whose values for these keys pass their checks. Other keys are allowed."""
    return lambda value: isinstance(value, dict) and all(check(value.get(key)) for key, check in checks.items())


_has_position = _dict_with({"epoch": _is_number, "step": _is_integer})
_is_latents = _dict_with(
    {
        "order": _list_of(_is_integer),
        "active_units": _is_integer,
        "num_images": _is_integer,
        "by": lambda value: value in ("kl", "variance"),
        "values": _list_of(_is_number),
    }
)
FACT_CHECKS: dict[str, Check] = {
    **dict.fromkeys(("dataset", "origin", "revision", "held_out", "binarized"), _is_text),
    **dict.fromkeys(("num_train_images", "num_processes", "steps", "best_step"), _is_integer),
    **dict.fromkeys(("seconds", "joules"), _is_number),
    **dict.fromkeys(("arguments", "data_options", "environment"), _dict_of(_is_plain_data)),
    "warnings": _dict_of(_is_text),
    "divergences": _list_of(_dict_with({"step": _is_integer, "term": _is_text, "restored_step": _is_integer})),
    "log": _list_of(lambda entry: _has_position(entry) and _dict_of(_is_number)(entry) and len(entry) < 100),
    "latents": lambda value: value == {} or _is_latents(value),
    "study": _dict_with(
        {
            **dict.fromkeys(("name", "title", "cell", "results", "page"), _is_text),
            "chosen_for": _list_of(_is_text),
            "samplers": _dict_of(_is_text),
        }
    ),
    "imported": _dict_with({"from": _is_text, "library": _optional(_is_text), "notes": _list_of(_is_text)}),
    "results": _dict_with(
        {
            "dataset": _is_text,
            "origin": _optional(_is_text),
            "split": _optional(_is_text),
            "metrics": _dict_of(_is_number),
            "passports": _optional(_dict_of(_dict_of(_is_plain_data))),
        }
    ),
}
"""Name to check of every fact that a card can show. None means unknown, and passes."""


def valid_facts(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts that pass their check. Each other fact is ignored with a warning."""
    valid = {}
    for name, value in facts.items():
        if value is None or (_is_plain_data(value) and FACT_CHECKS.get(name, _is_plain_data)(value)):
            valid[name] = value
        else:
            logger.warning(f"ignoring '{clean(name)}' from {FACTS_FILE}: its value has the wrong type or structure")
    return valid


def is_repo_id(name: str | None) -> bool:
    """Whether a name is a possible name of a Hub repository, "user/name"."""
    # huggingface_hub 1.5 accepts letters outside ASCII and a newline at the end, the Hub does not
    if name is None or not re.fullmatch(r"[\w.-]+/[\w.-]+", name, re.ASCII):
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def is_hub_dataset(name: str | None, origin: str | None) -> bool:
    """Whether data were read from the Hub, under a name that is possible there.

    Args:
        name: name of the data.
        origin: where they were read from, as the loader recorded it. Facts without an origin are older than that
            record; then the name decides.
    """
    return is_repo_id(name) and origin in ("hub", None) and not Path(name or "").exists()


# Loading


def load_facts(model: GAEPreTrainedModel | GAESampler) -> dict[str, Any]:
    """Facts that the model holds, or else the facts of the checkpoint that it was loaded from. Samplers have none.

    A training.json that cannot be read is ignored with a warning.
    """
    if isinstance(model, GAESampler):
        return {}
    if model.facts is None:
        model.facts = read_facts(*model.source)
    return model.facts


def read_facts(source: str, where: dict[str, Any]) -> dict[str, Any]:
    """The content of training.json in a folder or Hub repository; empty without one that can be read.

    Args:
        source: the folder or repository.
        where: `revision` and other arguments for the Hub.
    """
    path = _find_facts(source, where)
    return _read_facts(path) if path is not None and path.is_file() else {}


def _find_facts(source: str, where: dict[str, Any]) -> Path | None:
    """Path of training.json in the folder or Hub repository `source`, or None."""
    if source and Path(source).is_dir():
        return Path(source) / FACTS_FILE
    if not is_repo_id(source):
        return None
    try:
        return fetch_file(source, FACTS_FILE, **where)
    except (OSError, ValueError) as error:
        logger.warning(f"ignoring {FACTS_FILE} of '{source}', which could not be loaded ({error})")
        return None


def _read_facts(path: Path) -> dict[str, Any]:
    """Content of training.json, or an empty dict, with a warning, if it is too large or not a JSON object."""
    try:
        return read_json_object(path, MAX_FACTS_BYTES, any_depth=True)
    except ValueError as error:
        logger.warning(f"ignoring {error}")
        return {}
