"""Findings: whether each claim of the paper's text holds in a study, with the numbers behind each answer."""

__all__ = ["Finding", "Verdict", "find_findings", "findings_markdown"]

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from .evidence import Evidence
from .finding_rules import RULES, Rule
from .paper_columns import LATENT_DIMS
from .paper_values import PaperValue, load_paper_values
from .results import CellResult, StudyResults

Verdict = Literal["holds", "does not hold", "mixed", "not measured"]

HOLDS, FAILS = 0.75, 0.25  # shares of the comparisons
RULE = (
    "Each claim is checked by comparisons of test numbers; configurations are chosen on validation. A claim holds if "
    "at least three quarters of its comparisons agree, does not hold if at most one quarter does, and is mixed in "
    "between. Differences are not tested for significance."
)


@dataclass(frozen=True)
class Finding:
    """A claim of the paper's text, and whether the study's own numbers agree.

    Args:
        claim: the claim.
        section: where the paper makes it.
        verdict: "holds", "does not hold", "mixed" or "not measured".
        criterion: what a comparison is, and when it agrees.
        evidence: rows of numbers. `agree` of `compared` comparisons in a row agree with the claim.
        note: what is missing, and what to know about the paper's own numbers.
        paper_verdict: verdict of the same criterion for the values in the paper's tables, where they suffice.
    """

    claim: str
    section: str
    verdict: Verdict
    criterion: str
    evidence: list[dict[str, Any]]
    note: str = ""
    paper_verdict: Verdict = "not measured"

    @property
    def num_agree(self) -> int:
        """Number of comparisons that agree with the claim."""
        return sum(row["agree"] for row in self.evidence)

    @property
    def num_compared(self) -> int:
        """Number of comparisons."""
        return sum(row["compared"] for row in self.evidence)


def find_findings(results: StudyResults, paper: Iterable[PaperValue] | None = None) -> list[Finding]:
    """Check every claim.

    Args:
        results: results of the study.
        paper: the paper's values; by default those of the package.
    """
    ours = Evidence(results)
    theirs = Evidence(paper_results(results, load_paper_values() if paper is None else paper))
    return [_check(rule, ours, theirs) for rule in RULES]


def findings_markdown(findings: Iterable[Finding]) -> str:
    """The findings as a page: an overview, and each claim with its criterion, numbers and notes."""
    findings = list(findings)
    lines = ["# Findings", "", RULE, "", "| claim | section | this study | comparisons | the paper's own tables |"]
    lines.append("| --- | --- | --- | ---: | --- |")
    for finding in findings:
        count = f"{finding.num_agree} of {finding.num_compared}" if finding.evidence else "–"
        lines.append(
            f"| {finding.claim} | {finding.section} | **{finding.verdict}** | {count} | {finding.paper_verdict} |"
        )
    for finding in findings:
        lines += ["", f"## {finding.claim}", "", f"**{finding.verdict}** (section {finding.section})"]
        lines += ["", f"Criterion: {finding.criterion}"]
        if finding.note:
            lines += ["", finding.note]
        if finding.evidence:
            lines += ["", *_evidence_lines(finding.evidence)]
    return "\n".join(lines) + "\n"


def paper_results(results: StudyResults, values: Iterable[PaperValue]) -> StudyResults:
    """The paper's tables as results of one configuration per method, whose validation numbers are its test numbers."""
    numbers: dict[tuple[str, str, str], dict[str, float]] = {}
    for value in values:
        found = numbers.setdefault((value.method, value.network, value.dataset), {})
        found[value.number] = value.plain_value
        found[value.number.rsplit("/", 1)[0] + "/validation"] = value.plain_value
    cells = [
        CellResult(method, 1, {}, data, network, LATENT_DIMS[data], 0, "done", found, {}, {}, None, None)
        for (method, network, data), found in numbers.items()
        if method in results.methods
    ]
    return StudyResults(
        name="paper",
        title="Values of arXiv:2206.08309",
        methods=results.methods,
        datasets=list(dict.fromkeys(cell.dataset for cell in cells)),
        networks=list(dict.fromkeys(cell.network for cell in cells)),
        latent_dims={cell.dataset: [cell.latent_dim] for cell in cells},
        samplers=["normal", "gmm", "vamp", "two_stage_vae", "maf"],
        tasks=results.tasks,
        cells=cells,
        settings={},
    )


def _check(rule: Rule, ours: Evidence, theirs: Evidence) -> Finding:
    ours.missing.clear()
    rows = rule.compare(ours)
    notes = [rule.note] if rule.note else []
    if ours.missing:
        missing = ours.describe_missing()
        notes.insert(0, f"Not measured{'' if not rows else ' everywhere'}: {missing}.")
    elif not rows:
        notes.insert(0, f"Not measured: {rule.needs}.")
    theirs_rows = rule.compare(theirs)
    verdict, paper_verdict = _verdict(rows), _verdict(theirs_rows)
    return Finding(rule.claim, rule.section, verdict, rule.criterion, rows, " ".join(notes), paper_verdict)


def _verdict(rows: list[dict[str, Any]]) -> Verdict:
    num_compared = sum(row["compared"] for row in rows)
    if not num_compared:
        return "not measured"
    share = sum(row["agree"] for row in rows) / num_compared
    return "holds" if share >= HOLDS else "does not hold" if share <= FAILS else "mixed"


def _evidence_lines(rows: list[dict[str, Any]]) -> list[str]:
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in ("agree", "compared")]
    lines = [f"| {' | '.join([*names, 'agrees'])} |", f"| {' | '.join(['---'] * (len(names) + 1))} |"]
    for row in rows:
        agrees = f"{row['agree']} of {row['compared']}"
        if row["compared"] == 1:
            agrees = "yes" if row["agree"] else "no"
        lines.append(f"| {' | '.join([*(_text(row.get(name, '')) for name in names), agrees])} |")
    return lines


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
