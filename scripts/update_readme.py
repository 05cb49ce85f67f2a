"""Write the tables of README.md and docs/metrics.md from the registries: python scripts/update_readme.py."""

from pathlib import Path

from marked_tables import replace_table

from gae_hub import AutoGAE, AutoSampler
from gae_hub.hub.cards.papers import GROUPS, paper_of
from gae_hub.metrics import METRICS

README = Path(__file__).parents[1] / "README.md"
SCRIPT = Path(__file__).name
METRICS_PAGE = README.parent / "docs" / "metrics.md"


def write_methods() -> str:
    """Markdown tables of the methods, one for each group."""
    rows: dict[str, list[str]] = {group: [] for group in GROUPS}
    for name in AutoGAE.names():
        model_class = AutoGAE.model_class(name)
        paper = paper_of(model_class)
        if paper is None or paper.changes not in GROUPS:
            raise ValueError(f"the docstring of {name}.py needs the line 'Changes: <one of {', '.join(GROUPS)}>.'")
        rows[paper.changes].append(f"| `{name}` | {_link(paper)} | {paper.use_when} |")
    tables = [
        "\n".join([f"**{title}**", "", "| name | paper | use it when |", "|---|---|---|", *rows[group]])
        for group, title in GROUPS.items()
    ]
    return "\n\n".join(tables)


def write_samplers() -> str:
    """A Markdown table of the samplers."""
    papers = {name: paper_of(AutoSampler.model_class(name)) for name in AutoSampler.names()}
    rows = [f"| `{name}` | {_link(paper)} | {paper.use_when} |" for name, paper in papers.items() if paper]
    return "\n".join(["| name | paper | use it when |", "|---|---|---|", *rows])


def write_metrics() -> str:
    """A Markdown table of the metrics."""
    rows = [f"| `{name}` | {metric.description} |" for name, metric in METRICS.items()]
    return "\n".join(["| name | what it measures |", "|---|---|", *rows])


def _link(paper) -> str:
    return f"[{paper.title}]({paper.url}), {paper.year}"


def update_readme(page: str) -> str:
    """README.md with current tables."""
    page = replace_table(page, "methods", write_methods(), SCRIPT)
    return replace_table(page, "samplers", write_samplers(), SCRIPT)


def update_metrics_page(page: str) -> str:
    """docs/metrics.md with a current table."""
    return replace_table(page, "metrics", write_metrics(), SCRIPT)


if __name__ == "__main__":
    for path, update in ((README, update_readme), (METRICS_PAGE, update_metrics_page)):
        path.write_text(update(path.read_text(encoding="utf-8")), encoding="utf-8")
