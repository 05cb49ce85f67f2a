"""Run a study, or go on with it: methods with grids, trained, sampled and measured, each cell once."""

__all__ = ["add_arguments", "run"]

from argparse import Namespace
from dataclasses import replace
from typing import Literal

from .flags import OUTPUT_DIR, Flag
from .parser import Parser, UsageError


def add_arguments(parser: Parser):
    parser.add_positional("study", "Built-in study, as `gae-hub list` shows it, or a YAML file")
    parser.add_flags(
        replace(OUTPUT_DIR, help="Folder of the study; the same line goes on with it", required=True),
        Flag(
            "processes",
            int | None,
            "Number of worker processes: 1, on Ray as many as the cluster has room for",
            minimum=1,
        ),
        Flag(
            "threads", int | None, "Threads of each process; by default the cores divided by the processes", minimum=1
        ),
        Flag("retry_failed", bool, "Run failed cells again"),
        Flag(
            "executor", Literal["local", "ray"], "Run processes of this machine, or workers on a Ray cluster", "local"
        ),
        Flag(
            "ray_address",
            str,
            "Ray cluster: auto, host:port or ray://host:port; by default one is started on this machine",
        ),
        Flag("cpus_per_cell", int, "CPUs that a worker on Ray reserves, and its threads", 1, minimum=1),
        Flag("gpus_per_cell", float, "GPUs that a worker on Ray reserves; part of one shares it", 0.0, minimum=0),
        Flag("results_repo", str, "Data set repository for results of workers on Ray that do not share --output_dir"),
    )
    parser.epilog = "Ctrl-C stops; the same line goes on. The exit status is 1 if a cell failed."


def run(args: Namespace) -> int:
    try:
        return _run(args)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; the same line goes on") from None


def _run(args: Namespace) -> int:
    from ..study.runner import run_study
    from ..study.worker import StudyStoppedError

    try:
        counts = run_study(
            args.study,
            args.output_dir,
            processes=args.processes,
            threads=args.threads,
            retry_failed=args.retry_failed,
            executor=args.executor,
            ray_address=args.ray_address,
            cpus_per_cell=args.cpus_per_cell,
            gpus_per_cell=args.gpus_per_cell,
            results_repo=args.results_repo,
        )
    except StudyStoppedError as error:
        raise UsageError(str(error)) from error
    print(", ".join(f"{number} {state}" for state, number in sorted(counts.items())))
    if counts.get("failed"):
        print(f"gae-hub study status {args.output_dir} --errors shows the errors; --retry_failed tries again")
    print(f"next: gae-hub study report {args.output_dir}")
    return 1 if counts.get("failed") else 0
