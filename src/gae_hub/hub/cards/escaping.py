r"""Escaping of text that a card shows. Names, paths, settings and messages may come from anyone's files.

Words that mean nothing in Markdown stay as they are. All others become inline code, in which links, LaTeX, HTML,
entities and emphasis are not interpreted. Backslashes and entities would not be enough: parsers of Markdown resolve
them first and look for bare URLs in the result.
"""

__all__ = ["Verbatim", "clean", "code", "escape", "fenced"]

import re
from itertools import groupby
from typing import Any
from unicodedata import category

MAX_TEXT_LENGTH = 500

# characters without a glyph that Unicode does not class as format characters: fillers and variation selectors
_BLANK = re.compile(r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
_PLAIN_WORD = re.compile(
    r"""(?: [^\W_] | [^\x00-\x7f]     # letters and digits
          | (?<=[^\W_]) _ (?=[^\W_])  # my_name, but not _emphasis_
          | \. (?! [^\W\d_])          # 0.1, but not example.com
          | / (?! /)                  # a/b, but not https://
          | : $ | & $                 # only at the end of a word, where they start no emoji and no entity
          | [,;'"!?%+=()-] )+""",
    re.VERBOSE,
)
_PLAIN_START = re.compile(r"""(?! \d+ [.)] $) (?: [('"]* -? ) (?: [^\W_] | [^\x00-\x7f])""", re.VERBOSE)


_WITHOUT_HTML = str.maketrans("<>", "‹›")


class Verbatim(str):
    """Markdown that a template inserts as it is."""


def clean(value: Any) -> Any:
    """Text on one line, without invisible characters and HTML, shortened. For YAML, which has its own quotes.

    Zero-width and bidirectional characters and lone surrogates are removed, and the brackets of HTML are replaced by
    similar characters. Applies to all text in nested dicts and lists; other values are returned unchanged.
    """
    if isinstance(value, dict):
        return {clean(key): clean(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(inner) for inner in value]
    if not isinstance(value, str):
        return value
    text = value if value.isascii() and value.isprintable() else _remove_invisible(value)
    text = " ".join(text.translate(_WITHOUT_HTML).split())
    return text if len(text) <= MAX_TEXT_LENGTH else f"{text[: MAX_TEXT_LENGTH - 1]}…"


def escape(value: Any) -> str:
    """Markdown that shows a value as text: words that could mean something else are inline code."""
    if isinstance(value, Verbatim):
        return value
    words = clean(str(value)).split()
    is_plain = [_PLAIN_WORD.fullmatch(word) is not None for word in words]
    if words and not _PLAIN_START.match(words[0]):  # it could start a list or a heading
        is_plain[0] = False
    groups = groupby(zip(is_plain, words, strict=True), key=lambda pair: pair[0])
    parts = [(plain, " ".join(word for _, word in pairs)) for plain, pairs in groups]
    return Verbatim(" ".join(text if plain else code(text) for plain, text in parts))


def code(value: Any) -> Verbatim:
    """Inline code that shows a value. A pipe, which would end the cell of a table, is shown as a broken bar."""
    text = clean(str(value)).replace("|", "¦")
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return Verbatim(f"{fence}{space}{text or ' '}{space}{fence}")


def fenced(text: str, language: str = "") -> Verbatim:
    """A block of code in this language that shows a text of several lines."""
    lines = [_remove_invisible(line).rstrip().replace("<!--", "<! --") for line in text.splitlines()]
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return Verbatim("\n".join([fence + language, *lines, fence]))


def _remove_invisible(text: str) -> str:
    """The text with spaces for control characters and line separators, and nothing for invisible characters."""
    replacements = {"Cc": " ", "Zl": " ", "Zp": " ", "Cf": "", "Cs": ""}
    return "".join(replacements.get(category(character), character) for character in _BLANK.sub("", text))
