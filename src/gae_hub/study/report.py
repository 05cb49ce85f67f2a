"""The report of a study: tables, figures, findings and the page."""

__all__ = ["write_report"]

from pathlib import Path

from ..core.files import remove_leftovers, write_text
from .figures import write_figures
from .findings import find_findings, findings_markdown
from .page import write_page
from .results import StudyResults
from .table_files import write_tables
from .tables import build_tables


def write_report(results: StudyResults, folder: str | Path) -> Path:
    """Write tables, figures, findings and page of a study. Equal results give equal files.

    Args:
        results: results of the study.
        folder: gets `tables/`, `figures/`, `findings.md` and `index.html`.

    Returns:
        the page.
    """
    folder = Path(folder)
    for place in (folder, folder / "tables", folder / "figures"):
        remove_leftovers(place)
    tables = build_tables(results)
    write_tables(results, folder / "tables", tables)
    write_figures(results, folder / "figures")
    findings = find_findings(results)
    write_text(folder / "findings.md", findings_markdown(findings))
    return write_page(results, tables, findings, folder / "figures", folder / "index.html")
