"""The page of a study: one HTML file without external requests."""

__all__ = ["write_page"]

import base64
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from .._version import __version__
from ..core.files import write_text
from .findings import Finding
from .page_methods import view_methods
from .page_parts import describe_context, environment, read_template
from .page_tables import Passports, view_table
from .results import CellResult, StudyResults
from .selection import Selector
from .table import Table

_WHOLE = "configurations"  # name of the table whose rows are in the methods' sections


def write_page(
    results: StudyResults,
    tables: Iterable[Table],
    findings: Iterable[Finding],
    figures_folder: str | Path,
    output: str | Path,
) -> Path:
    """Write the page of a study.

    Args:
        results: results of the study.
        tables: tables to show. The rows of the table "configurations" go into the sections of the methods.
        findings: claims with verdicts and evidence.
        figures_folder: folder that `write_figures` wrote to.
        output: the HTML file.

    Returns:
        the file.
    """
    output, selector, passports = Path(output), Selector(results), Passports()
    tables = list(tables)
    configurations = next((table for table in tables if table.name == _WHOLE), None)
    script = read_template("page.js")
    views = [view_table(table, passports) for table in tables if table.name != _WHOLE]
    methods = list(view_methods(selector, lambda cell: _link(cell, output)))
    settings = {}
    if configurations is not None:
        settings = {method.name: view_table(configurations, passports, method.name) for method in methods}
    context = {
        **describe_context(results, findings, Path(figures_folder)),
        "version": __version__,
        "style": Markup(read_template("colours.css", "blocks.css", "page.css")),
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "tables": views,
        "methods": methods,
        "settings": settings,
        "passports": Markup(passports.to_json()),
        "passport_groups": passports.to_groups(),
    }
    write_text(output, environment().get_template("page.html").render(context))
    return output


def _link(cell: CellResult, output: Path) -> str | None:
    """The folder of a cell, relative to the page."""
    return None if cell.folder is None else quote(os.path.relpath(cell.folder, output.parent).replace(os.sep, "/"))
