"""Write the README's table of methods and samplers from the registry: python scripts/update_readme.py."""

from pathlib import Path

from gae_hub import AutoGAE, AutoSampler
from gae_hub.hub.papers import paper_of

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- methods: begin (written by `python scripts/update_readme.py`) -->", "<!-- methods: end -->"


def table() -> str:
    """Markdown rows: name for `--model`, class, paper."""
    rows = ["| name | class | paper |", "|---|---|---|"]
    for auto in (AutoGAE, AutoSampler):
        for name in auto.names():
            paper, cls = paper_of(auto.model_class(name)), auto.model_class(name).__name__
            rows.append(f"| `{name}` | `{cls}` | [{paper.title}]({paper.url}), {paper.year} |")
    return "\n".join(rows)


def with_table(text: str) -> str:
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
