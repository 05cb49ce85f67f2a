"""Merging a new card into an earlier one, so that the text and metadata that people added stay."""

__all__ = ["BEGIN", "END", "merge_cards", "write_merged"]

import re
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData
from transformers.utils import logging

from ...core.files import write_text
from .front_matter import dump_metadata, read_metadata, text_below_metadata

logger = logging.get_logger(__name__)

BEGIN = "<!-- gae_hub: begin. Each save replaces the text up to the end mark; write above or below it. -->"
END = "<!-- gae_hub: end -->"
_BEGIN_PATTERN = re.compile(r"<!-- gae_hub: begin\b[^>]*-->")  # its wording may differ in cards of other versions
# metadata that only gae_hub sets: values of an earlier card are dropped
_OWN_METADATA = {"library_name", "pipeline_tag", "model-index", "widget", "datasets"}
# the description that transformers' push_to_hub writes into the card of an empty repository
_TRANSFORMERS_DESCRIPTION = (
    "This is the model card of a 🤗 transformers model that has been pushed on the Hub. "
    "This model card has been automatically generated."
)


def write_merged(path: Path, card: str):
    """Write a card to a path, merged with the card that is there. A card that is not UTF-8 stays, with a warning."""
    try:
        old = path.read_text(encoding="utf-8") if path.is_file() else ""
    except UnicodeDecodeError as error:
        logger.warning(f"'{path}' was not updated, because it is not UTF-8 text ({error}); save it as UTF-8")
        return
    merged = merge_cards(old, card) if old else card
    if merged != old:
        write_text(path, merged)


def merge_cards(old: str, new: str) -> str:
    """The new card, with the old card's text outside the marks and the metadata that gae_hub does not set.

    An old card without marks was written by hand and is returned unchanged, unless it is the unedited template of
    transformers. So is a card whose metadata is not valid YAML, with a warning.
    """
    old = old.removeprefix("\ufeff")  # some editors begin a file with it
    try:
        old_metadata = read_metadata(old)
    except ValueError as error:
        logger.warning(f"README.md was not updated, because its metadata cannot be read: {error}")
        return old
    old_text, new_text, new_metadata = text_below_metadata(old), text_below_metadata(new), read_metadata(new)
    begin = _BEGIN_PATTERN.search(old_text)
    if begin is None or END not in old_text[begin.end() :]:
        return new if _is_transformers_template(old_text) else old
    before, after = old_text[: begin.start()], old_text[begin.end() :].partition(END)[2]
    added = {name: value for name, value in old_metadata.items() if name not in _OWN_METADATA}
    tags = [*_as_list(new_metadata.get("tags")), *_as_list(old_metadata.get("tags"))]
    metadata = {**new_metadata, "tags": list(dict.fromkeys(tags))}
    metadata |= {name: value for name, value in added.items() if name not in metadata}
    generated = BEGIN + new_text.partition(BEGIN)[2].partition(END)[0] + END
    return f"---\n{dump_metadata(metadata)}\n---\n{before}{generated}{after}"


def _as_list(tags: Any) -> list[str]:
    """Tags from metadata that may hold a list, one text, or anything else."""
    listed = tags if isinstance(tags, list) else [tags]
    return [tag for tag in listed if isinstance(tag, str)]


def _is_transformers_template(text: str) -> bool:
    """Whether this is the unedited card that transformers' push_to_hub writes into an empty repository."""
    template = ModelCard.from_template(
        ModelCardData(library_name="transformers"), model_description=_TRANSFORMERS_DESCRIPTION
    )
    return text.strip() == template.text.strip()
