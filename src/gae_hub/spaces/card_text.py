"""The text of a model's card without anything that a browser loads from elsewhere: anybody may have written it."""

__all__ = ["read_card"]

import re
from pathlib import Path

from ..hub.cards.front_matter import text_below_metadata

_MAX_CARD = 100_000  # characters
_BRACKETS = r"\[(?:[^\[\]\\]|\\.|\[(?:[^\[\]\\]|\\.)*\])*\]"  # with at most one pair inside another
_PARENTHESES = r"\((?:[^()\\]|\\.|\((?:[^()\\]|\\.)*\))*\)"
_IMAGE = re.compile(rf"!{_BRACKETS}(?:{_PARENTHESES}|{_BRACKETS})", re.DOTALL)
_DIAGRAM = re.compile(r"([`~]{3})(?:(?:[^\S\n]|\ufeff)*mermaid\b)+", re.IGNORECASE)  # its nodes can be images

_LOADING = (
    "applet|audio|base|bgsound|body|button|embed|feimage|form|frame|frameset|iframe|image|img|input|link|math|meta|"
    "object|picture|portal|script|source|style|svg|track|use|video"
)
_LOADING_TAG = re.compile(rf"</?(?:{_LOADING})\b[^<>]*>", re.IGNORECASE)
_TAG_WITH_ATTRIBUTES = re.compile(r"<([a-z][a-z0-9]*)\s[^<>]*?(/?)>", re.IGNORECASE)
_ADDRESS = re.compile(r"""\shref\s*=\s*["']?([^"'<>\s]+)""", re.IGNORECASE)
_BEGINNING_OF_TAG = re.compile(
    rf"""<(?=[a-z/!?])(?!/?(?!(?:{_LOADING})\b)[a-z][\w.-]*\s*/?>|a href="[^"'<>\s]*">|https?://[^\s<>]*>)""",
    re.IGNORECASE,
)
"""A "<" of HTML, unless it begins a tag without attributes, a link or an address, which load nothing."""


def read_card(folder: Path) -> str:
    """The text of a model's card as Markdown, without metadata, comments, pictures and other media.

    Args:
        folder: of the model.
    """
    card = folder / "README.md"
    if not card.is_file():
        return "This model has no card."
    text = text_below_metadata(card.read_text(encoding="utf-8", errors="replace")[:_MAX_CARD])
    without = _remove_media(_remove_comments(text).replace("<Gallery />", ""))
    return re.sub(r"\n{3,}", "\n\n", without).strip() or "The card of this model is empty."


def _remove_comments(text: str) -> str:
    first, *rest = text.split("<!--")
    return first + "".join(part.partition("-->")[2] for part in rest)


def _remove_media(text: str) -> str:
    """Markdown without pictures, diagrams and HTML that loads something.

    Complete pictures and tags are removed, and the attributes of other tags. What is left of their syntax is changed
    at the end, so that it is shown as text whatever a renderer makes of incomplete and nested forms.
    """
    text = _LOADING_TAG.sub("", _IMAGE.sub("", text))
    text = _TAG_WITH_ATTRIBUTES.sub(_remove_attributes, _DIAGRAM.sub(r"\1", text))
    return _BEGINNING_OF_TAG.sub("&lt;", re.sub(r"(?<!!)!+\[", "[", text))


def _remove_attributes(tag: re.Match[str]) -> str:
    address = _ADDRESS.search(tag[0]) if tag[1].lower() == "a" else None
    return f'<a href="{address[1]}">' if address else f"<{tag[1]}{tag[2]}>"
