"""The report of a study: tables, figures, findings and the page."""

__all__ = ["write_report"]

from collections.abc import Iterable
from pathlib import Path

from .figures import write_figures
from .page import Finding, write_page
from .results import StudyResults
from .table_files import write_tables
from .tables import build_tables


def write_report(results: StudyResults, folder: str | Path, findings: Iterable[Finding] = ()) -> Path:
    """Write tables, figures and page of a study. Equal results give equal files.

    Args:
        results: results of the study.
        folder: gets `tables/`, `figures/` and `index.html`.
        findings: claims with verdicts and evidence.

    Returns:
        the page.
    """
    folder = Path(folder)
    tables = build_tables(results)
    write_tables(results, folder / "tables", tables)
    write_figures(results, folder / "figures")
    return write_page(results, tables, findings, folder / "figures", folder / "index.html")
