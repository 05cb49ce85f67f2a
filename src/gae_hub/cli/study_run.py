"""Run a study, or go on with it: methods with grids, trained, sampled and measured, each cell once."""

__all__ = ["add_arguments", "run"]

from argparse import Namespace
from dataclasses import replace

from .flags import OUTPUT_DIR, Flag
from .parser import Parser, UsageError


def add_arguments(parser: Parser):
    parser.add_positional("study", "Built-in study, as `gae-hub list` shows it, or a YAML file")
    parser.add_flags(
        replace(OUTPUT_DIR, help="Folder of the study; the same line goes on with it", required=True),
        Flag("processes", int, "Number of worker processes", 1, minimum=1),
        Flag(
            "threads", int | None, "Threads of each process; by default the cores divided by the processes", minimum=1
        ),
        Flag("retry_failed", bool, "Run failed cells again"),
    )
    parser.epilog = "Ctrl-C stops after the current step; the same line goes on."


def run(args: Namespace):
    from ..study.runner import run_study
    from ..study.worker import StudyStoppedError

    try:
        counts = run_study(
            args.study,
            args.output_dir,
            processes=args.processes,
            threads=args.threads,
            retry_failed=args.retry_failed,
        )
    except StudyStoppedError as error:
        raise UsageError(str(error)) from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; the same line goes on") from None
    print(", ".join(f"{number} {state}" for state, number in sorted(counts.items())))
    if counts.get("failed"):
        print(f"gae-hub study status {args.output_dir} shows the errors; --retry_failed tries again")
    print(f"next: gae-hub study report {args.output_dir}")
