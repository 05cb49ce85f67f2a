"""How the Gradio pages of gae_hub look: one theme, and two palettes, light and dark."""

__all__ = ["PALETTE", "make_theme"]

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradio.themes import Base

PALETTE = Path(__file__).with_name("palette.css").read_text(encoding="utf-8")
"""CSS variables of the colours, and groups of controls without a box."""


_COLOURS = {
    "body_background_fill": "paper",
    "body_text_color": "ink",
    "body_text_color_subdued": "soft",
    "background_fill_primary": "card",
    "background_fill_secondary": "tile",
    "block_title_text_color": "soft",
    "block_label_text_color": "soft",
    "border_color_primary": "line",
    "border_color_accent": "accent",
    "color_accent": "accent",
    "slider_color": "accent",
    "link_text_color": "accent",
    "link_text_color_hover": "accent",
    "link_text_color_active": "accent",
    "link_text_color_visited": "accent",
    "input_background_fill": "card",
    "input_border_color": "line",
    "input_border_color_focus": "accent",
    "checkbox_background_color": "card",
    "checkbox_background_color_selected": "accent",
    "checkbox_border_color": "soft",
    "checkbox_border_color_selected": "accent",
    "checkbox_label_text_color": "ink",
    "checkbox_label_text_color_selected": "ink",
    "button_primary_background_fill": "accent",
    "button_primary_background_fill_hover": "accent",
    "button_primary_text_color": "on-accent",
    "button_secondary_background_fill": "card",
    "button_secondary_background_fill_hover": "wash",
    "button_secondary_text_color": "ink",
    "table_border_color": "line",
    "table_even_background_fill": "card",
    "table_odd_background_fill": "paper",
}
_TRANSPARENT = (
    "block_background_fill",
    "block_label_background_fill",
    "checkbox_label_background_fill",
    "checkbox_label_background_fill_hover",
    "checkbox_label_background_fill_selected",
)
"""Variables of Gradio's themes, and the colours of `PALETTE` that they have in both modes."""


def make_theme() -> "Base":
    """The theme of every page. Its fonts come with Gradio, whose semi-bold IBM Plex Sans has few letters."""
    from gradio import themes

    theme = themes.Base(
        primary_hue=themes.colors.teal,
        neutral_hue=themes.colors.stone,
        radius_size=themes.sizes.radius_md,
        font=[themes.LocalFont("IBM Plex Sans", weights=(400, 700)), "ui-sans-serif", "system-ui", "sans-serif"],
        font_mono=[themes.LocalFont("IBM Plex Mono", weights=(400,)), "ui-monospace", "Consolas", "monospace"],
    )
    values = {name: f"var(--gae-{colour})" for name, colour in _COLOURS.items()} | dict.fromkeys(
        _TRANSPARENT, "transparent"
    )
    return theme.set(
        **values,
        **{f"{name}_dark": value for name, value in values.items() if name != "color_accent"},
        block_border_width="0px",
        block_shadow="none",
        block_padding="0px",
        block_title_text_weight="600",
        button_secondary_shadow="none",
        checkbox_label_shadow="none",
        checkbox_label_border_width="0px",
        checkbox_label_padding="4px 12px 4px 0",
        form_gap_width="16px",
        input_border_width="1px",
        input_shadow="none",
    )
