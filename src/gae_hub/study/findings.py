"""Findings: whether each claim of the paper's text holds in a study, with the numbers behind each answer."""

__all__ = [
    "PAPER_TITLE",
    "RULE",
    "Finding",
    "describe_unmeasured",
    "evidence_table",
    "find_findings",
    "findings_markdown",
]

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from .evidence import Evidence
from .finding_rules import RULES, Rule
from .outcomes import Verdict, describe_outcome, find_verdict
from .paper_columns import LATENT_DIMS
from .paper_values import PAPER_URL, PaperValue, load_paper_values, paper_methods
from .results import CellResult, StudyResults

PAPER_TITLE = "Pythae: Unifying Generative Autoencoders in Python (Chadebec et al., 2022, arXiv:2206.08309)"
RULE = (
    "Each claim is checked by comparisons of test numbers; configurations are chosen on validation. A claim holds if "
    "at least three quarters of its comparisons agree, does not hold if at most one quarter does, and is mixed in "
    "between. With one seed, differences are not tested for significance. With several, a comparison is undecided if "
    "the 95 % interval of its difference over the seeds includes 0, and a claim is undecided if such comparisons "
    "could change its verdict. The verdict of the paper's own tables is about all of its methods."
)
MAX_NAMES = 8  # of methods in a list that is not about a group of the claim
MAX_LEFT_OUT = 4
_COUNTS = ("agree", "undecided", "compared")


@dataclass(frozen=True)
class Finding:
    """A claim of the paper's text, and whether the study's own numbers agree.

    Args:
        claim: the claim.
        section: where the paper makes it.
        verdict: "holds", "does not hold", "mixed", "undecided" or "not measured".
        criterion: what a comparison is, and when it agrees.
        evidence: rows of numbers. Of `compared` comparisons in a row, `agree` agree with the claim, and `undecided`
            have no decision.
        note: what is missing, and what to know about the paper's own numbers.
        paper_verdict: verdict of the same criterion for the values in the paper's tables, where they suffice.
        scope: which methods of the study were compared.
        left_out: the paper's methods of the claim's groups that were not compared, nor another method of their models.
    """

    claim: str
    section: str
    verdict: Verdict
    criterion: str
    evidence: list[dict[str, Any]]
    note: str = ""
    paper_verdict: Verdict = "not measured"
    scope: str = ""
    left_out: tuple[str, ...] = ()

    @property
    def is_measured(self) -> bool:
        """Whether any comparison was possible."""
        return self.verdict != "not measured"

    @property
    def restriction(self) -> str:
        """The left out methods: "without VQVAE, RAE-GP"; empty without any."""
        if len(self.left_out) > MAX_LEFT_OUT:
            return f"without {len(self.left_out)} of the paper's methods"
        return f"without {', '.join(self.left_out)}" if self.left_out else ""

    @property
    def count(self) -> str:
        """Number of comparisons by outcome, "12 of 13 comparisons agree, 1 is undecided"; empty without any."""
        agree, undecided, compared = (sum(row.get(name, 0) for row in self.evidence) for name in _COUNTS)
        if not compared:
            return ""
        text = f"{agree} of {compared} comparisons agree{'s' if compared == 1 else ''}"
        text = text.replace("comparisons agrees", "comparison agrees")
        return text + (f", {undecided} {'is' if undecided == 1 else 'are'} undecided" if undecided else "")


def find_findings(results: StudyResults, paper: Iterable[PaperValue] | None = None) -> list[Finding]:
    """Check every claim.

    Args:
        results: results of the study.
        paper: the paper's values; by default those of the package.
    """
    ours = Evidence(results)
    verdicts = _paper_verdicts(load_paper_values() if paper is None else tuple(paper))
    return [_check(rule, ours, verdict) for rule, verdict in zip(RULES, verdicts, strict=True)]


def findings_markdown(findings: Iterable[Finding]) -> str:
    """The findings as a page: an overview, each measured claim with its numbers, and the claims without numbers."""
    findings = list(findings)
    measured = [finding for finding in findings if finding.is_measured]
    others = [finding for finding in findings if not finding.is_measured]
    lines = ["# Findings", "", f"The claims are those of [{PAPER_TITLE}]({PAPER_URL}). {RULE}", ""]
    if measured:
        lines.append("| claim | section | this study | comparisons | the paper's own tables |")
        lines.append("| --- | --- | --- | --- | --- |")
        for finding in measured:
            verdict = f"**{finding.verdict}**" + (
                f", without {', '.join(finding.left_out)}" if finding.left_out else ""
            )
            lines.append(
                f"| {finding.claim} | {finding.section} | {verdict} | {finding.count} | {finding.paper_verdict} |"
            )
    if others:
        lines += ["", f"{describe_unmeasured(len(others))}: [see below](#not-measured)."]
    for finding in measured:
        lines += ["", f"## {finding.claim}", "", f"**{finding.verdict}** (section {finding.section}). {finding.scope}"]
        lines += ["", f"Criterion: {finding.criterion}"]
        if finding.note:
            lines += ["", finding.note]
        lines += ["", *_evidence_lines(finding.evidence)]
    if others:
        lines += ["", "## Not measured", ""]
    for finding in others:
        lines.append(
            f"- **{finding.claim}** (section {finding.section}). {finding.note} Criterion: {finding.criterion}"
        )
    return "\n".join(lines) + "\n"


def describe_unmeasured(number: int) -> str:
    """The line that stands for the claims that are not measured."""
    claims = "1 claim of the paper is not measured: it needs"
    if number != 1:
        claims = f"{number} claims of the paper are not measured: they need"
    return f"{claims} other methods, tasks or networks, or cells that are not finished"


def evidence_table(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Headings and values of a finding's evidence. The last column is the outcome."""
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in _COUNTS]
    return [*names, "agrees"], [[*(row.get(name, "") for name in names), describe_outcome(row)] for row in rows]


def paper_results(values: Iterable[PaperValue]) -> StudyResults:
    """The paper's tables as results of one configuration per method, whose validation numbers are its test numbers."""
    numbers: dict[tuple[str, str, str], dict[str, float]] = {}
    for value in values:
        found = numbers.setdefault((value.method, value.network, value.dataset), {})
        found[value.number] = value.plain_value
        found[value.number.rsplit("/", 1)[0] + "/validation"] = value.plain_value
    cells = [
        CellResult(method, 1, {}, data, network, LATENT_DIMS[data], 0, "done", found, {}, {}, None, None)
        for (method, network, data), found in numbers.items()
    ]
    return StudyResults(
        name="paper",
        title="Values of arXiv:2206.08309",
        methods=paper_methods(),
        datasets=list(dict.fromkeys(cell.dataset for cell in cells)),
        networks=list(dict.fromkeys(cell.network for cell in cells)),
        latent_dims={cell.dataset: [cell.latent_dim] for cell in cells},
        samplers=["normal", "gmm", "vamp", "two_stage_vae", "maf"],
        tasks={"reconstruction": {}, "generation": {}, "classification": {}, "clustering": {}},
        cells=cells,
        settings={},
    )


@cache
def _paper_verdicts(values: tuple[PaperValue, ...]) -> tuple[Verdict, ...]:
    """The verdict of each rule for the paper's values."""
    evidence = Evidence(paper_results(values))
    return tuple(find_verdict(rule.compare(evidence)) for rule in RULES)


def _check(rule: Rule, ours: Evidence, paper_verdict: Verdict) -> Finding:
    ours.clear()
    rows = rule.compare(ours)
    notes = [rule.note] if rule.note else []
    if ours.missing:
        notes.insert(0, f"Not measured{'' if not rows else ' everywhere'}: {ours.describe_missing()}.")
    elif not rows:
        notes.insert(0, f"Not measured: {rule.needs}.")
    scope, left_out = _describe_scope(ours) if rows else ("", ())
    verdict = find_verdict(rows)
    return Finding(
        rule.claim, rule.section, verdict, rule.criterion, rows, " ".join(notes), paper_verdict, scope, left_out
    )


def _describe_scope(ours: Evidence) -> tuple[str, tuple[str, ...]]:
    """Which methods were compared, and which of the paper's were not, nor another one of their models."""
    texts: list[str] = []
    all_absent: dict[str, None] = {}
    for group, names in ours.compared.items():
        if group.has_all and len(names) > MAX_NAMES:
            texts.append(f"{len(names)} {group.label}")
            continue
        models = ours.models(names)
        absent = [
            name
            for name, method in paper_methods().items()
            if group.contains(method) and method["model"] not in models and not (group.has_all or group.is_reference)
        ]
        all_absent |= dict.fromkeys(absent)
        members = ", ".join(names) + (f"; without {', '.join(absent)}" if absent else "")
        texts.append(members if members == group.label else f"{group.label} ({members})")
    return f"Compared: {', '.join(texts)}.", tuple(all_absent)


def _evidence_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    names, values = evidence_table(rows)
    lines = [f"| {' | '.join(names)} |", f"| {' | '.join(['---'] * len(names))} |"]
    return lines + [f"| {' | '.join(map(_text, row))} |" for row in values]


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", r"\|")
