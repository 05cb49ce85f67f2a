"""Docstrings of the library as reStructuredText, which autodoc needs, and as MyST Markdown, which pages are made of.

They are written in plain text with `code`, [`Name`] for links, fenced examples, math in reStructuredText, and sections
such as "Args:" whose entries are "name, name: text".
"""

__all__ = ["read_arguments", "to_markdown", "to_rst"]

import inspect
import re
from collections.abc import Mapping
from textwrap import dedent, indent

TITLES = {
    "Args": "Parameters",
    "Attributes": "Attributes",
    "Returns": "Returns",
    "Yields": "Yields",
    "Raises": "Raises",
    "Example": "Example",
    "Relations": "Relations",
}
"""Heading of a section in a docstring to its heading on the site."""

WITH_ENTRIES = ("Args", "Attributes", "Raises")

_SECTION = re.compile(rf"^({'|'.join(TITLES)}):(?:\n|$)((?: {{4}}.*(?:\n|$)|\n)*)", re.M)
_ENTRY = re.compile(
    r"^(\*{0,2}\w[\w.]*(?:, \*{0,2}\w[\w.]*)*):(?: |\n)(.*(?:\n|$)(?:    .*(?:\n|$)|\n(?=    ))*)", re.M
)
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.S | re.M)
_MATH = re.compile(r"^\.\. math::\n((?:    .*\n?|\n(?=    ))+)", re.M)
_ROLE = re.compile(r":(\w+):`([^`]+)`")
_LINK = re.compile(r"\[`([\w.]+)`\]")
_CODE = re.compile(r"``?([^`]+?)``?")
_INLINE = re.compile(rf"{_ROLE.pattern}|{_LINK.pattern}|{_CODE.pattern}", re.S)


def to_rst(text: str, names: Mapping[str, str]) -> str:
    """A docstring in reStructuredText.

    Args:
        text: the docstring.
        names: each name that has a place in the reference, with its full name, for [`Name`].
    """
    parts, end, text = [], 0, inspect.cleandoc(text)
    for section in _SECTION.finditer(text):
        parts += [_prose_to_rst(text[end : section.start()], names), _section_to_rst(section[1], section[2], names)]
        end = section.end()
    parts.append(_prose_to_rst(text[end:], names))
    return re.sub(r"\n{3,}", "\n\n", "\n\n".join(part.strip("\n") for part in parts if part.strip()))


def to_markdown(text: str, names: Mapping[str, str]) -> str:
    """The prose of a docstring in MyST Markdown."""
    text = _MATH.sub(lambda found: f"```{{math}}\n{dedent(found[1]).strip()}\n```\n", text)
    text = _ROLE.sub(lambda found: f"{{{found[1]}}}`{' '.join(found[2].split())}`", text)
    return _LINK.sub(lambda found: _markdown_link(found[1], names), text).strip()


def read_arguments(text: str) -> dict[str, str]:
    """Name to text of each entry in the section "Args:" of a docstring."""
    found = {}
    for section in _SECTION.finditer(inspect.cleandoc(text)):
        if section[1] == "Args":
            for names, meaning in _ENTRY.findall(dedent(section[2])):
                found.update(dict.fromkeys(names.split(", "), " ".join(meaning.split())))
    return found


def find_target(name: str, names: Mapping[str, str]) -> str | None:
    """The full name for a name in a docstring, `Name` or `Name.method`."""
    first, dot, rest = name.partition(".")
    return names[first] + dot + rest if first in names else None


def _section_to_rst(section: str, body: str, names: Mapping[str, str]) -> str:
    body = dedent(body).strip("\n")
    if not body:  # the example below is not indented
        return f"**{TITLES[section]}**"
    entries = list(_ENTRY.finditer(body)) if section in WITH_ENTRIES else []
    if entries and "".join(entry[0] for entry in entries).split() == body.split():
        items = [_entry_to_rst(section, entry[1], entry[2], names) for entry in entries]
        content = "\n".join(items)
    else:
        content = _prose_to_rst(body, names)
    return f":{TITLES[section]}:\n{indent(content, '    ')}"


def _entry_to_rst(section: str, entry_names: str, text: str, names: Mapping[str, str]) -> str:
    form = "``{}``" if section == "Raises" else "**{}**"
    shown = ", ".join(form.format(_escape(name)) for name in entry_names.split(", "))
    first, _, rest = text.strip("\n").partition("\n")
    prose = _prose_to_rst(f"{first}\n{dedent(rest)}", names).strip()
    return f"- {shown} -- {indent(prose, '  ').strip()}"


def _prose_to_rst(text: str, names: Mapping[str, str]) -> str:
    """Text outside of sections: fences and math stay as they are, all other characters lose their special meaning."""
    parts, end = [], 0
    kept = sorted([*_FENCE.finditer(text), *_MATH.finditer(text)], key=lambda found: found.start())
    for found in kept:
        if found.start() < end:
            continue
        parts.append(_inline_to_rst(text[end : found.start()], names))
        if found.re is _FENCE:
            code = indent(dedent(found[3]), "    ")
            parts.append(indent(f"\n.. code-block:: {found[2] or 'text'}\n\n{code}\n", found[1]))
        else:
            parts.append(f"\n.. math::\n\n{found[1]}\n")
        end = found.end()
    return "".join([*parts, _inline_to_rst(text[end:], names)])


def _inline_to_rst(text: str, names: Mapping[str, str]) -> str:
    parts, end = [], 0
    for found in _INLINE.finditer(text):
        role, content, link, code = found.groups()
        if role:
            shown = f":{role}:`{content}`"
        elif link:
            target = find_target(link, names)
            shown = f":py:obj:`{link} <{target}>`" if target else f"``{link}``"
        else:
            shown = f"``{' '.join(code.split())}``"
        before, after = text[end : found.start()], text[found.end() : found.end() + 1]
        parts += [_escape(before), shown, r"\ " if re.match(r"\w", after) else ""]
        end = found.end()
    return "".join([*parts, _escape(text[end:])])


def _escape(text: str) -> str:
    """Escape what reStructuredText would read as markup."""
    return re.sub(r"(?<=\w)_(?!\w)", r"\\_", re.sub(r"([\\*|`])", r"\\\1", text))


def _markdown_link(name: str, names: Mapping[str, str]) -> str:
    target = find_target(name, names)
    return f"{{py:obj}}`{name} <{target}>`" if target else f"`{name}`"
