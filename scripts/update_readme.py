"""Write the generated tables of README.md and docs/metrics.md: python scripts/update_readme.py."""

from pathlib import Path

from gae_hub import AutoGAE, AutoSampler
from gae_hub.hub.cards.papers import paper_of
from gae_hub.metrics import METRICS

README = Path(__file__).parents[1] / "README.md"
METRICS_PAGE = README.parent / "docs" / "metrics.md"
BEGIN, END = "<!-- methods: begin (written by `python scripts/update_readme.py`) -->", "<!-- methods: end -->"


def table() -> str:
    """Markdown rows: name for `--model`, class, paper."""
    rows = ["| name | class | paper |", "|---|---|---|"]
    for auto in (AutoGAE, AutoSampler):
        for name in auto.names():
            paper, cls = paper_of(auto.model_class(name)), auto.model_class(name).__name__
            rows.append(f"| `{name}` | `{cls}` | [{paper.title}]({paper.url}), {paper.year} |")
    return "\n".join(rows)


def metrics_table() -> str:
    """Markdown rows: name for `--metrics`, description."""
    rows = [f"| `{name}` | {metric.description} |" for name, metric in METRICS.items()]
    return "\n".join(["| name | what it measures |", "|---|---|", *rows])


def with_table(text: str, write=table, of: str = "methods") -> str:
    """Return the page with a new table between its marks."""
    begin, end = (mark.replace("methods", of) for mark in (BEGIN, END))
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{write()}\n{end}{rest.partition(end)[2]}"


def with_metrics(text: str) -> str:
    """Return the page with a new table of metrics."""
    return with_table(text, metrics_table, "metrics")


if __name__ == "__main__":
    for page, renew in ((README, with_table), (METRICS_PAGE, with_metrics)):
        page.write_text(renew(page.read_text(encoding="utf-8")), encoding="utf-8")
