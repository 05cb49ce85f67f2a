"""The look of the library's Gradio pages: blue on grey, compact, in the fonts of the visitor's system."""

__all__ = ["PAGE_STYLE", "make_theme"]

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradio.themes import Base

_SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "DejaVu Sans", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")

PAGE_STYLE = """
.gradio-container { --block-label-text-color: var(--body-text-color-subdued); }
.gradio-container h1 { font-size: clamp(1.5rem, 3.4vw, 2.1rem); letter-spacing: -.02em; line-height: 1.2; }
.gradio-container main { max-width: 78rem; }
@media (max-width: 40rem) { .gradio-container .main.app { padding: 8px 4px !important; } }
"""
"""CSS of every page, in addition to the theme."""


def make_theme() -> "Base":
    """The theme. It loads no font from the network."""
    import gradio as gr

    theme = gr.themes.Base(
        primary_hue="blue",
        secondary_hue="blue",
        neutral_hue="slate",
        spacing_size="sm",
        radius_size="sm",
        font=_SANS,
        font_mono=_MONO,
    )
    return theme.set(
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        body_background_fill_dark="#14171b",
        background_fill_primary_dark="#14171b",
        background_fill_secondary_dark="#1c2026",
        block_background_fill_dark="#1c2026",
        block_border_width="0px",
        block_shadow="none",
        block_label_text_weight="600",
        block_title_text_weight="600",
        block_title_text_size="*text_sm",
        block_title_text_color="*body_text_color_subdued",
    )
