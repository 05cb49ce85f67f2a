"""Findings as the page shows them: claims with numbers, and claims that are not measured."""

__all__ = ["FindingView", "view_findings"]

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .findings import Finding, evidence_table
from .table_notes import one_line


@dataclass(frozen=True)
class FindingView:
    """A finding, and its evidence as text."""

    finding: Finding
    columns: list[str]
    rows: list[list[str]]


def view_findings(findings: Iterable[Finding]) -> tuple[list[FindingView], list[Finding]]:
    """The claims that are measured, and those that are not."""
    findings = list(findings)
    measured: list[FindingView] = []
    for finding in findings:
        if finding.is_measured:
            columns, rows = evidence_table(finding.evidence)
            measured.append(FindingView(finding, columns, [[_text(value) for value in row] for row in rows]))
    return measured, [finding for finding in findings if not finding.is_measured]


def _text(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else one_line(value)
