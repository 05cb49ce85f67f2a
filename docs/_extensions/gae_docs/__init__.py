"""Sphinx extension of this site: pages from the library's own docstrings, configs, parsers and studies.

`docstrings` turns docstrings into reStructuredText and Markdown, `links` rewrites links that leave the site, `mathml`
renders formulas without JavaScript, `results` reads the tables of docs/studies, and `pages` writes the pages.
"""

__all__ = ["setup"]

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from . import links, mathml
from .docstrings import to_rst
from .pages import public_names, write_pages


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the extension to Sphinx."""
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir)))
    app.connect("source-read", links.rewrite_source)
    app.connect("autodoc-process-docstring", _convert_docstring, priority=100)
    app.add_html_math_renderer(
        "mathml", inline_renderers=(mathml.visit_inline, None), block_renderers=(mathml.visit_block, None)
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _convert_docstring(app: Sphinx, kind: str, name: str, item: Any, options: Any, lines: list[str]):
    """Convert a docstring in place."""
    lines[:] = to_rst("\n".join(lines), public_names()).splitlines()
