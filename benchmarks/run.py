"""Time gae_hub beside its peers, alternating in one run: python -m benchmarks.run [sections] [--write].

A section is a file of this folder with a function `comparisons()`, a generator of [`Comparison`]s: what it makes for
one row is freed before the next. Each side has a process of its own, so that neither lives with the other's memory and
threads. Each round times the one and then the other, so that both see the same machine; the table holds medians over
rounds, and the median of the rounds' ratios. Needs the extra `peers`.
"""

import argparse
import platform
import re
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import torch

from .comparison import timed

HERE = Path(__file__).parent
PAGE = HERE / "README.md"

SECTIONS = ("epochs", "io", "likelihood", "metrics", "samplers", "steps")


class Side:
    """One side of a section, in a process that goes through its rows as it is told."""

    def __init__(self, section: str, name: str):
        context = get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=serve, args=(section, name, other), daemon=True)
        self.process.start()
        other.close()  # so that a process that ends is noticed

    def row(self) -> tuple[str, float | None] | None:
        """Name and target of the row that it has come to; None after the last."""
        return self.pipe.recv()

    def time(self, repeats: int = 1) -> float:
        """Median seconds of the row's work."""
        self.pipe.send(repeats)
        return self.pipe.recv()

    def go_on(self):
        """To the next row."""
        self.pipe.send(0)


def serve(section: str, side: str, pipe):
    """What such a process does: it names each row, and times its work as often as it is told."""
    for row in import_module(f"benchmarks.{section}").comparisons():
        pipe.send((row.name, row.target))
        while repeats := pipe.recv():
            pipe.send(median(timed(getattr(row, side)) for _ in range(repeats)))
    pipe.send(None)


def measure(sides: list[Side], rounds: int, seconds: float) -> tuple[float, float, float]:
    """Median seconds of both sides, and the median of the rounds' ratios."""
    for side in sides:  # what is made at the first call is not what is compared
        side.time()
    repeats = [max(1, int(seconds / side.time())) for side in sides]
    times = [[side.time(n) for side, n in zip(sides, repeats, strict=True)] for _ in range(rounds)]
    return (*(median(column) for column in zip(*times, strict=True)), median(ours / theirs for ours, theirs in times))


def table(section: str, rounds: int, seconds: float, only: str) -> str:
    """The section's rows as a table, each printed as soon as it is there."""
    module = import_module(f"benchmarks.{section}")
    lines = [f"| {module.TITLE} | gae_hub, ms | {module.PEER}, ms | ratio | to reach |", "|---|---|---|---|---|"]
    print(*lines, sep="\n")
    sides = [Side(section, name) for name in ("ours", "theirs")]
    while (row := [side.row() for side in sides][0]) is not None:
        name, target = row
        if re.search(only, name):
            ours, theirs, ratio = measure(sides, rounds, seconds)
            target = "" if target is None else f"{target:.2f}"
            lines.append(f"| {name} | {1000 * ours:.1f} | {1000 * theirs:.1f} | {ratio:.2f} | {target} |")
            print(lines[-1], flush=True)
        for side in sides:
            side.go_on()
    return "\n".join(lines)


def machine() -> str:
    """The processor, the cores used, and the versions."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.is_file() else None
    name = found[1] if found else platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} threads, Python {platform.python_version()}, torch {torch.__version__}"


def write(section: str, text: str, command: str):
    """Put a section's table into docs/speed.md, in place of the one that is there."""
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    body = f"{begin}\nMeasured by `{command}` on {machine()}.\n\n{text}\n{end}"
    page = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else "# Speed\n"
    marked = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.S)
    page = marked.sub(lambda _: body, page) if marked.search(page) else f"{page}\n{body}\n"
    PAGE.write_text(page, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; all by default")
    parser.add_argument("--only", default="", help="regular expression: rows to measure, by name")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each side in each round; one call at least")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/speed.md")
    args = parser.parse_args()
    for section in args.sections or SECTIONS:
        if section not in SECTIONS:
            parser.error(f"there is no section '{section}'; known are {', '.join(SECTIONS)}")
        text = table(section, args.rounds, args.seconds, args.only)
        if args.write:
            options = f"--rounds {args.rounds} --seconds {args.seconds:g}" + (
                f" --only '{args.only}'" if args.only else ""
            )
            write(section, text, f"python -m benchmarks.run {section} {options}")
        print()


if __name__ == "__main__":
    main()
