"""The settings that launch the Spaces of models and studies, and the files of their pages."""

__all__ = ["launch_settings", "read_static"]

from functools import cache
from pathlib import Path
from typing import Any

from ..core.gradio_theme import PALETTE, make_theme

_STATIC = Path(__file__).with_name("static")


@cache
def read_static(name: str) -> str:
    """The text of a file in static/."""
    return (_STATIC / name).read_text(encoding="utf-8")


def launch_settings(max_file_size: int) -> dict[str, Any]:
    """Arguments of `Blocks.launch` that every Space uses.

    Args:
        max_file_size: of an upload, in bytes.
    """
    return {
        "theme": make_theme(),
        "css": f"{PALETTE}\n{read_static('style.css')}",
        "max_file_size": max_file_size,
        "allowed_paths": [],
        "footer_links": [],
        "ssr_mode": False,
        "show_error": False,  # of errors that are not meant for visitors
        "enable_monitoring": False,
    }
