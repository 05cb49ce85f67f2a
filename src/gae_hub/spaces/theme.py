"""How the Spaces look: one theme and one style sheet, for light and dark, and the settings that launch them."""

__all__ = ["launch_settings", "make_theme", "read_static"]

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradio.themes import Base

_STATIC = Path(__file__).with_name("static")


@cache
def read_static(name: str) -> str:
    """The text of a file in static/."""
    return (_STATIC / name).read_text(encoding="utf-8")


def make_theme() -> "Base":
    """The theme of every Space. The style sheet has the colours.

    The fonts come with Gradio, whose semi-bold IBM Plex Sans has few letters."""
    from gradio import themes

    return themes.Base(
        primary_hue=themes.colors.teal,
        neutral_hue=themes.colors.stone,
        radius_size=themes.sizes.radius_md,
        font=[themes.LocalFont("IBM Plex Sans", weights=(400, 700)), "ui-sans-serif", "system-ui", "sans-serif"],
        font_mono=[themes.LocalFont("IBM Plex Mono", weights=(400,)), "ui-monospace", "Consolas", "monospace"],
    ).set(
        body_background_fill="var(--gae-paper)",
        body_background_fill_dark="var(--gae-paper)",
        body_text_color="var(--gae-ink)",
        body_text_color_dark="var(--gae-ink)",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_shadow="none",
        block_padding="0px",
    )


def launch_settings(max_file_size: int) -> dict[str, Any]:
    """Arguments of `Blocks.launch` that every Space uses.

    Args:
        max_file_size: of an upload, in bytes.
    """
    return {
        "theme": make_theme(),
        "css": read_static("style.css"),
        "max_file_size": max_file_size,
        "allowed_paths": [],
        "footer_links": [],
        "ssr_mode": False,
        "show_error": False,  # of errors that are not meant for visitors
        "enable_monitoring": False,
    }
