"""Links of Markdown pages to files that are not pages of the site."""

__all__ = ["REPOSITORY", "list_pages", "rewrite_links", "rewrite_source"]

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

REPOSITORY = "https://github.com/gae-hub/gae_hub"
SHOWN = (".md", ".html")
"""Endings of files in docs/ to which the site itself leads."""

PICTURES = (".png", ".svg", ".jpg")
"""Endings of files, in docs/ or beside it, that the site shows."""

_LINK = re.compile(r"(?<=\]\()([^)\s:#]+)(#[^)\s]*)?(?=\))")
_FENCED = re.compile(r"^( *)(```+|~~~+).*?^\1\2", re.S | re.M)


def rewrite_source(app: Sphinx, docname: str, source: list[str]):
    """Rewrite the links of a page, and give it its place in the navigation.

    An index of a folder lists its pages in the order of its links. Tables of studies are outside of the navigation.
    """
    page = Path(app.env.doc2path(docname))
    source[0] = rewrite_links(source[0], page, Path(app.srcdir))
    if re.fullmatch(r"studies/[^/]+/(findings|tables/\w+)", docname):
        text = source[0] if source[0].startswith("# ") else re.sub(r"^#(#+ )", r"\1", source[0], flags=re.M)
        source[0] = f"---\norphan: true\n---\n\n{text}"
    if docname in ("start/index", "howto/index", "choose/index"):
        source[0] += "\n" + list_pages(source[0], page.parent)


def list_pages(index: str, folder: Path) -> str:
    """A hidden table of contents of the pages in a folder: first those that its index links to, in that order."""
    pages = {path.stem for path in folder.glob("*.md")} - {"index"}
    linked = [name for name in re.findall(r"\]\((\w+)\.md", index) if name in pages]
    names = dict.fromkeys([*linked, *sorted(pages)])
    return "\n".join(["```{toctree}", ":hidden:", "", *names, "```", ""])


def rewrite_links(text: str, page: Path, docs: Path) -> str:
    """Markdown whose links to files outside of docs/, to folders, notebooks and data lead to the repository.

    Args:
        text: the page.
        page: its path, by which relative links are resolved.
        docs: the folder of the site's sources.
    """

    def rewrite(found: re.Match) -> str:
        # without symbolic links: the checkout may be reached through one
        target = Path(os.path.normpath(page.parent / found[1]))
        is_shown = target.suffix in PICTURES or (target.is_relative_to(docs) and target.suffix in SHOWN)
        if is_shown or not target.exists() or not target.is_relative_to(docs.parent):
            return found[0]
        kind = "tree" if target.is_dir() else "blob"
        return f"{REPOSITORY}/{kind}/main/{target.relative_to(docs.parent).as_posix()}{found[2] or ''}"

    parts, end = [], 0
    for fence in _FENCED.finditer(text):
        parts += [_LINK.sub(rewrite, text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, _LINK.sub(rewrite, text[end:])])
