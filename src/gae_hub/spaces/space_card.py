"""The card of a Space: what the Hub reads of it, and its text."""

__all__ = ["MAX_DESCRIPTION", "space_metadata", "write_card"]

import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..hub.cards.escaping import clean
from ..hub.cards.facts import is_repo_id
from ..hub.cards.front_matter import dump_metadata
from ..hub.cards.license import DEFAULT_LICENSE
from ..hub.cards.merging import BEGIN, END, write_merged
from .thumbnail import THUMBNAIL

MAX_DESCRIPTION = 60
"""Largest number of characters of a Space's short description on the Hub."""


def space_metadata(
    title: str, description: str, *, repo_id: str | None = None, license: Any = None, **fields: Any
) -> dict[str, Any]:
    """The metadata of a Gradio Space, with the versions of Gradio and Python that wrote it.

    Args:
        title: heading.
        description: short description, cut to what the Hub takes.
        repo_id: `user/name` of the Space, if it is published. The thumbnail needs it.
        license: by default apache-2.0.
        **fields: other fields, such as emoji, colours, tags and models.
    """
    if len(description) > MAX_DESCRIPTION:
        description = f"{description[: MAX_DESCRIPTION - 1]}…"
    metadata = {
        "title": clean(title),
        "sdk": "gradio",
        "sdk_version": version("gradio"),
        "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "app_file": "app.py",
        "pinned": False,
        "short_description": description,
        "license": license or DEFAULT_LICENSE,
        "suggested_hardware": "cpu-basic",
        **fields,
    }
    if repo_id is not None and is_repo_id(repo_id):
        metadata["thumbnail"] = f"https://huggingface.co/spaces/{repo_id}/resolve/main/{THUMBNAIL}"
    return metadata


def write_card(folder: Path, metadata: Mapping[str, Any], text: str):
    """Write README.md. What was added to it by hand stays."""
    write_merged(folder / "README.md", f"---\n{dump_metadata(dict(metadata))}\n---\n\n{BEGIN}\n\n{text}\n{END}\n")
