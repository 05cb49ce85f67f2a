"""How the Gradio pages of gae_hub look: one theme, and two palettes, light and dark."""

__all__ = ["PALETTE", "make_theme"]

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradio.themes import Base

PALETTE = """
.gradio-container {
  --gae-paper: #f7f5f0;
  --gae-card: #ffffff;
  --gae-ink: #1d1b18;
  --gae-soft: #6a645b;
  --gae-line: #e1dcd2;
  --gae-accent: #0b6e69;
  --gae-on-accent: #ffffff;
  --gae-wash: #e3efed;
  --gae-error: #a3241b;
  --gae-tile: #ece8df;
  color: var(--gae-ink);
  background: var(--gae-paper) !important;
  max-width: none !important;
}
.dark .gradio-container, .gradio-container.dark {
  --gae-paper: #141513;
  --gae-card: #1d1f1c;
  --gae-ink: #eeebe4;
  --gae-soft: #a39d91;
  --gae-line: #34362f;
  --gae-accent: #58c7bb;
  --gae-on-accent: #0d1917;
  --gae-wash: #1f302d;
  --gae-error: #ff8f85;
  --gae-tile: #2a2c28;
}
"""
"""CSS variables of the colours."""


def make_theme() -> "Base":
    """The theme of every page. Its fonts come with Gradio, whose semi-bold IBM Plex Sans has few letters."""
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
