"""Time gae_hub against its peers: python -m benchmarks.run [sections] [--write]. Needs the extra `peers`.

A section is a module of this folder with `TITLE`, `SIDES` and a generator `comparisons()`, so that what one row needs
is freed before the next row is built. Each side of a section has its own process, because memory and threads of one
library would otherwise affect the other. In each round both sides are timed, one after the other, so that both meet
the same machine. The table holds medians over the rounds: of the times, and of the ratios within a round.
"""

import argparse
import logging
import platform
import re
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Literal

import torch

from gae_hub.training.cpu_tuning import keep_freed_memory

from .comparison import timed
from .page import replace_part

PAGE = Path(__file__).with_name("README.md")
SECTIONS = ("convolutions", "epochs", "io", "likelihood", "memory", "metrics", "samplers", "steps")


class Side:
    """One side of a section, in a process that iterates over the rows of the section on request."""

    def __init__(self, section: str, name: Literal["ours", "baseline"], keep_memory: bool):
        context = get_context("spawn")
        self.pipe, other_end = context.Pipe()
        self.process = context.Process(target=serve, args=(section, name, keep_memory, other_end), daemon=True)
        self.process.start()
        other_end.close()  # else recv would wait forever if the process fails

    def receive_row(self) -> tuple[str, float | None] | None:
        """Wait for the next row: its name and target, or None after the last row."""
        return self.pipe.recv()

    def time(self, num_calls: int = 1) -> float:
        """Return the median seconds of several calls of the row's work."""
        self.pipe.send(num_calls)
        return self.pipe.recv()

    def finish_row(self):
        """Let the process continue with the next row."""
        self.pipe.send(0)


def serve(section: str, side: Literal["ours", "baseline"], keep_memory: bool, pipe: Connection):
    """Run one side of a section: send each row, then time its work until 0 calls are requested."""
    logging.disable(logging.WARNING)  # both libraries log while they train
    if keep_memory:
        keep_freed_memory()
    for row in import_module(f"benchmarks.{section}").comparisons():
        pipe.send((row.name, row.target))
        while num_calls := pipe.recv():
            pipe.send(median(timed(getattr(row, side)) for _ in range(num_calls)))
    pipe.send(None)


def measure(sides: list[Side], num_rounds: int, seconds: float) -> tuple[float, float, float]:
    """Return the median seconds of both sides and the median of their ratios within a round."""
    for side in sides:
        side.time()  # the first call builds models and allocates memory, and does not count
    num_calls = [max(1, int(seconds / side.time())) for side in sides]
    times = [[side.time(n) for side, n in zip(sides, num_calls, strict=True)] for _ in range(num_rounds)]
    ours, baseline = (median(column) for column in zip(*times, strict=True))
    return ours, baseline, median(first / second for first, second in times)


def measure_section(section: str, num_rounds: int, seconds: float, only: str, keep_memory: bool) -> str:
    """Return the rows of a section as a Markdown table. Each row is printed as soon as it is measured."""
    module = import_module(f"benchmarks.{section}")
    ours_title, baseline_title = module.SIDES
    lines = [f"| {module.TITLE} | {ours_title}, ms | {baseline_title}, ms | ratio | target |", "|---|---|---|---|---|"]
    print(*lines, sep="\n")
    sides = [Side(section, "ours", keep_memory), Side(section, "baseline", keep_memory=False)]
    while (row := [side.receive_row() for side in sides][0]) is not None:
        name, target = row
        if re.search(only, name):
            ours, baseline, ratio = measure(sides, num_rounds, seconds)
            target = "" if target is None else f"{target:.2f}"
            lines.append(f"| {name} | {1000 * ours:.1f} | {1000 * baseline:.1f} | {ratio:.2f} | {target} |")
            print(lines[-1], flush=True)
        for side in sides:
            side.finish_row()
    return "\n".join(lines)


def describe_machine() -> str:
    """Return the name of the CPU, the number of threads, and the versions of Python and torch."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.is_file() else None
    name = found[1] if found else platform.processor() or platform.machine()
    threads = f"{torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}"
    return f"{name}, {threads}, Python {platform.python_version()}, torch {torch.__version__}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", help=f"sections to measure, all by default: {', '.join(SECTIONS)}")
    parser.add_argument("--only", default="", help="measure only rows whose name matches this regular expression")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds")
    parser.add_argument("--seconds", type=float, default=1.0, help="time per side and round, for one call at least")
    parser.add_argument(
        "--keep_freed_memory", action="store_true", help="turn on the training argument of that name, on our side"
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="write the tables into benchmarks/README.md; rows that --only leaves out disappear from them",
    )
    args = parser.parse_args()
    for section in args.sections:
        if section not in SECTIONS:
            parser.error(f"unknown section '{section}'; choose from {', '.join(SECTIONS)}")
    options = f"--rounds {args.rounds} --seconds {args.seconds:g}"
    options += f" --only '{args.only}'" if args.only else ""
    options += " --keep_freed_memory" if args.keep_freed_memory else ""
    for section in args.sections or SECTIONS:
        table = measure_section(section, args.rounds, args.seconds, args.only, args.keep_freed_memory)
        if args.write:
            source = f"Measured by `python -m benchmarks.run {section} {options}` on {describe_machine()}."
            page = replace_part(PAGE.read_text(encoding="utf-8"), section, f"{source}\n\n{table}")
            PAGE.write_text(page, encoding="utf-8")
        print()


if __name__ == "__main__":
    main()
