"""Summarize benchmarks/README.md for README.md and docs/speed.md: python -m benchmarks.summary [--write]."""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from .page import replace_part

ROWS_PAGE = Path(__file__).with_name("README.md")
SPEED_PAGE = Path(__file__).parents[1] / "docs" / "speed.md"
README = Path(__file__).parents[1] / "README.md"
NETWORKS = ("mlp", "paper_resnet", "paper_conv")
STEPS_PER_EPOCH = 500  # 50,000 images in batches of 100
SLOW = 1.5  # methods above this multiple of the VAE's step are listed


@dataclass(frozen=True)
class Row:
    """A row of the section "steps". Times are milliseconds of one training step."""

    network: str
    method: str
    precision: str
    ours: float
    ratio: float


def read_rows(page: str) -> list[Row]:
    """Parse the rows of training steps from the text of benchmarks/README.md."""
    section = page.partition("<!-- steps: begin -->")[2].partition("<!-- steps: end -->")[0]
    names = r"^\| (\w+), (\w+)(?:[ ,][^|]*)?, (fp32|bf16)"
    numbers = r" \| ([\d.]+) \| [\d.]+ \| ([\d.]+) \|"
    found = re.findall(names + numbers, section, re.M)
    return [Row(*row[:3], *map(float, row[3:])) for row in found]


def summarize_networks(rows: list[Row]) -> str:
    """Return a table by network and precision: seconds per epoch, and the ratio to Pythae over all rows."""
    lines = [
        "| network | precision | VAE, s per epoch | median method, s per epoch | ratio to Pythae, median (range) |",
        "|---|---|---|---|---|",
    ]
    for network in NETWORKS:
        for precision in ("fp32", "bf16"):
            chosen = [row for row in rows if (row.network, row.precision) == (network, precision)]
            (vae,) = (row.ours for row in chosen if row.method == "vae")
            ratios = [row.ratio for row in chosen]
            epochs = [f"{STEPS_PER_EPOCH * ms / 1000:.1f}" for ms in (vae, median(row.ours for row in chosen))]
            spread = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            lines.append(f"| `{network}` | {precision} | {epochs[0]} | {epochs[1]} | {spread} |")
    return "\n".join(lines)


def summarize_costs(rows: list[Row]) -> str:
    """Return a table of the methods with slow steps: their step in fp32 as a multiple of the VAE's."""
    steps = {(row.network, row.method): row.ours for row in rows if row.precision == "fp32"}
    multiples = {key: step / steps[key[0], "vae"] for key, step in steps.items()}
    slow = {method: max(multiples.get((n, method), 0) for n in NETWORKS) for _, method in multiples}
    lines = ["| method | " + " | ".join(f"`{network}`" for network in NETWORKS) + " |", "|---" * 4 + "|"]
    for method in sorted((method for method, most in slow.items() if most >= SLOW), key=lambda m: -slow[m]):
        cells = [multiples.get((network, method)) for network in NETWORKS]
        lines.append(f"| `{method}` | " + " | ".join("" if c is None else f"{c:.1f}" for c in cells) + " |")
    return "\n".join(lines)


def update(page: str) -> str:
    """Return the text of docs/speed.md with its tables computed from the rows of benchmarks/README.md."""
    rows = read_rows(ROWS_PAGE.read_text(encoding="utf-8"))
    page = replace_part(page, "networks", summarize_networks(rows))
    return replace_part(page, "costs", summarize_costs(rows))


def update_readme(page: str) -> str:
    """Return the text of README.md with its table computed from the rows of benchmarks/README.md."""
    return replace_part(page, "networks", summarize_networks(read_rows(ROWS_PAGE.read_text(encoding="utf-8"))))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the tables into README.md and docs/speed.md")
    args = parser.parse_args()
    rows = read_rows(ROWS_PAGE.read_text(encoding="utf-8"))
    print(summarize_networks(rows), summarize_costs(rows), sep="\n\n")
    if args.write:
        for path, updated in ((SPEED_PAGE, update), (README, update_readme)):
            path.write_text(updated(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
