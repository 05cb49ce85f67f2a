"""Run a small study, killed once in each phase, for test_kills.py: python killed_study.py FOLDER one|two.

A run kills itself with SIGKILL at a named point, and the same run is started again. This process imports and forks, so
that each run starts in a process that has never computed. It prints, as JSON, how each run ended, which finished steps
were run again, and what differs from an undisturbed run.
"""

import gc
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import datasets  # noqa: F401 (imported once, before the forks)
from study_outcomes import compare_runs
from tiny_study import tiny, write_study
from transformers.utils import logging

from gae_hub.core import files, hub_files
from gae_hub.metrics.networks.classifier import FeatureClassifier
from gae_hub.study import execution, runner, worker
from gae_hub.study.claims import Claim
from gae_hub.study.collect import load_results
from gae_hub.study.execution import CellRunner
from gae_hub.study.folder import StudyFolder
from gae_hub.study.plan import StudyPlan
from gae_hub.study.report import write_report
from gae_hub.study.stacked_trainer import StackedTrainer
from gae_hub.study.stacks import Stack
from gae_hub.study.store import Cell
from gae_hub.study.study_data import StudyData
from gae_hub.training.trainer import GAETrainer

STUDY = tiny(
    methods={
        "VAE": {"model": "vae", "grid": [{"seed": 0}]},
        "beta-VAE": {"model": "beta_vae", "grid": [{"beta": 0.1}, {"beta": 1}]},  # trained together
    },
    training={"num_train_epochs": 2, "per_device_train_batch_size": 30},
    samplers={
        "normal": {"sampler": "normal"},
        "gmm": {"sampler": "gaussian_mixture", "num_components": 2},
        "maf": {"sampler": "maf", "hidden_size": 8, "num_hidden_layers": 1, "training": {"num_train_epochs": 2}},
    },
)
STEPS_OF_AN_EPOCH = 4


# Points, each a function that arms this process


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def arm(owner: Any, name: str, when: Callable[..., bool] = lambda *_, **__: True, call: int = 1, after: bool = False):
    """Kill this process before, or after, a call of `owner.name`: the one of this number among those of a kind."""
    function, count = getattr(owner, name), 0

    def killing(*args, **kwargs):
        nonlocal count
        count += bool(when(*args, **kwargs))
        reached = count == call and when(*args, **kwargs)
        if reached and not after:
            kill()
        result = function(*args, **kwargs)
        if reached:
            kill()
        return result

    setattr(owner, name, killing)


def write_half(file: str, when: Callable[[Any], bool] = lambda value: True):
    """Kill this process in the middle of writing a JSON file."""
    write_text = files.write_text

    def killing(path: Path, text: str):
        if Path(path).name == file and when(json.loads(text)):
            with files.write_atomically(path) as temporary:
                temporary.write_text(text[: len(text) // 2])
                kill()
        write_text(path, text)

    files.write_text = killing


def is_in(folder: str, depth: int = 1) -> Callable[..., bool]:
    """Whether a file is moved to a place so far below a folder."""
    return lambda source, path, *_: Path(path).parents[depth].name == folder


def is_named(name: str) -> Callable[..., bool]:
    return lambda source, path, *_: path.name == name


def is_step(step: str) -> Callable[..., bool]:
    return lambda runner, cell, name, *_: name == step


POINTS: dict[str, Callable[[], None]] = {
    "data loaded": partial(arm, StudyData, "__init__", after=True),
    "plan missing": partial(arm, StudyPlan, "write"),
    "plan half written": partial(write_half, "plan.json"),
    "cell half claimed": partial(arm, os, "link"),
    "training, no checkpoint": partial(arm, GAETrainer, "training_step", call=2),
    "training, between checkpoints": partial(arm, GAETrainer, "training_step", call=STEPS_OF_AN_EPOCH + 2),
    "checkpoint half written": partial(arm, GAETrainer, "_save_optimizer_and_scheduler"),
    "training, after the last checkpoint": partial(arm, CellRunner, "save_trained"),
    "model half saved": partial(arm, hub_files, "move_file", is_in("cells"), call=2),
    "model saved, not recorded": partial(arm, Cell, "finish"),
    "record of the training half written": partial(write_half, "cell.json"),
    "checkpoints not deleted": partial(arm, execution, "delete_files"),
    "checkpoints half deleted": partial(arm, shutil, "rmtree", lambda path, **_: "checkpoint" in str(path), call=2),
    "extractor in training": partial(arm, FeatureClassifier, "forward", call=2),
    "extractor half saved": partial(arm, hub_files, "move_file", is_in("extractors", 2), call=2),
    "extractor saved, its claim not released": partial(arm, execution, "_save_at_once", after=True),
    "reconstruction": partial(arm, CellRunner, "_measure", is_step("reconstruction"), after=True),
    "sampler/normal": partial(arm, execution, "fit_sampler", after=True),
    "generation/normal": partial(arm, CellRunner, "_measure", is_step("generation/normal"), after=True),
    "sampler/gmm": partial(arm, hub_files, "move_file", is_in("samplers"), call=2),
    "generation/gmm": partial(arm, CellRunner, "_measure", is_step("generation/gmm"), after=True),
    "sampler/maf": partial(arm, GAETrainer, "training_step", call=3),
    "generation/maf": partial(arm, CellRunner, "_measure", is_step("generation/maf"), after=True),
    "classification": partial(arm, CellRunner, "_measure", is_step("classification"), after=True),
    "record of a measurement half written": partial(write_half, "cell.json"),
    "clustering": partial(arm, CellRunner, "_measure", is_step("clustering"), after=True),
    "interpolation, picture half written": partial(arm, files, "move_file", is_named("interpolations.png")),
    "likelihood": partial(arm, CellRunner, "_measure", is_step("likelihood"), after=True),
    "results half written": partial(write_half, "results.json"),
    "card missing": partial(arm, execution, "record_results", after=True),
    "last record half written": partial(write_half, "cell.json", lambda value: "likelihood" in value["steps"]),
    "cell done, its claim not released": partial(arm, Claim, "release"),
    "together, no checkpoint": partial(arm, StackedTrainer, "_take_step", call=2),
    "together, between checkpoints": partial(arm, StackedTrainer, "_take_step", call=STEPS_OF_AN_EPOCH + 2),
    "together, all trained": partial(arm, StackedTrainer, "train", after=True),
    "together, one model saved": partial(arm, CellRunner, "save_trained", after=True),
    "together, checkpoint not deleted": partial(arm, Stack, "delete"),
}
REPORT_POINTS: dict[str, Callable[[], None]] = {
    "table half written": partial(arm, files, "move_file", is_named("reconstruction.csv")),
    "page half written": partial(arm, files, "move_file", is_named("index.html")),
}


# Runs, each in a process of its own


def note_steps(log: Path):
    """Write down the steps that this process runs, and the numbers of its training steps."""

    def note(owner: Any, name: str, text: Callable[..., str]):
        function = getattr(owner, name)

        def noting(*args, **kwargs):
            with log.open("a") as file:
                file.write(text(*args) + "\n")
            return function(*args, **kwargs)

        setattr(owner, name, noting)

    note(CellRunner, "save_trained", lambda runner, plan, cell, model: f"{cell.folder.name} train")
    note(StackedTrainer, "_take_step", lambda trainer, *_: f"training step {trainer._step}")
    note(CellRunner, "_measure", lambda runner, cell, step, *_: f"{cell.folder.name} {step}")
    note(execution, "fit_sampler", lambda settings, context: f"{context.folder.name} sampler/{settings.name}")
    note(GAETrainer, "training_step", lambda trainer, *_: f"training step {trainer.state.global_step}")


def run_in_fork(run: Callable[[], int]) -> int:
    """Status of a function in a process of its own; negative for a signal."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            status = run()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def run_study(root: Path, log: Path, point: str | None = None, processes: int = 1) -> int:
    """Run the study in this process, to a point or to its end. Returns 0 if all cells are done."""
    note_steps(log)
    if point is not None:
        POINTS[point]()
    counts = runner.run_study(root.parent / "study.yaml", root, processes=processes, threads=1, progress=False)
    return 0 if counts.keys() == {"done"} else 1


def report(root: Path, point: str | None = None) -> int:
    """Write the report of the study in this process, to a point or to its end."""
    if point is not None:
        REPORT_POINTS[point]()
    folder = StudyFolder.find(root)
    write_report(load_results(folder), folder.study / "report")
    return 0


def finished_steps(root: Path) -> set[str]:
    return {
        f"{path.parent.name} {step}" for path in root.glob("cells/*/cell.json") for step in Cell(path.parent).steps
    }


def survive(folder: Path) -> dict[str, Any]:
    """Run the study with a kill at each point, one after the other, and compare it with an undisturbed one."""
    write_study(folder, STUDY)
    whole, cut, log = folder / "whole", folder / "cut", folder / "log.txt"
    if run_in_fork(partial(run_study, whole, log)) != 0:
        raise SystemExit("the undisturbed study failed")
    statuses, repeated, first_steps = {}, [], {}
    for point in (*POINTS, None):
        log.write_text("")
        finished = finished_steps(cut)
        statuses[str(point)] = run_in_fork(partial(run_study, cut, log, point))
        ran = log.read_text().splitlines()
        repeated += [f"{point}: {step}" for step in ran if step in finished]
        first_steps[str(point)] = next((int(line.split()[-1]) for line in ran if line.startswith("training")), None)
    for point in REPORT_POINTS:
        statuses[point] = run_in_fork(partial(report, cut, point))
    for root in (whole, cut):
        if run_in_fork(partial(report, root)) != 0:
            raise SystemExit("the report failed")
    return {"statuses": statuses, "repeated": repeated, "first_steps": first_steps, **compare_runs(whole, cut)}


# Several workers


class ForkedWorker:
    """A worker in a forked process, with the part of `subprocess.Popen` that the runner uses."""

    def __init__(self, command: list[str], cell_file: Path, point: str | None):
        self.returncode: int | None = None
        parent_id, self.pid = os.getpid(), os.fork()
        if self.pid == 0:
            status = 1
            with suppress(BaseException):
                sys.argv = [*command, str(parent_id), "inf", str(cell_file)]
                if point is not None:
                    POINTS[point]()
                worker.main()
                status = 0
            sys.stderr.flush()
            os._exit(status)

    def poll(self) -> int | None:
        if self.returncode is None:
            process, status = os.waitpid(self.pid, os.WNOHANG)
            if process:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number: int):
        os.kill(self.pid, number)

    def wait(self):
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def run_with_workers(root: Path, log: Path, points: list[str | None], kill_runner: bool = False) -> int:
    """Run the study with two workers; the first that are started are killed at these points."""
    left = [*points]
    runner.POLL = 0.1

    def start_worker(workers: Any, index: int) -> ForkedWorker:
        command = ["worker", str(workers.folder.root), workers.folder.name]
        return ForkedWorker(command, workers._cell_file(index), left.pop(0) if left else None)

    runner._Workers._start = start_worker
    if kill_runner:
        arm(CellRunner, "save_trained", after=True)  # in workers
        arm(runner.EndedCells, "count", call=3)
    return run_study(root, log, processes=2)


def survive_with_workers(folder: Path) -> dict[str, Any]:
    """Kill one worker, all workers, and the runner. Compare each study with an undisturbed one."""
    write_study(folder, STUDY)
    whole, log = folder / "whole", folder / "log.txt"
    found: dict[str, Any] = {}
    if run_in_fork(partial(run_study, whole, log)) != 0:
        raise SystemExit("the undisturbed study failed")
    cases = {
        "a worker": ["training, between checkpoints"],
        "all workers": ["training, no checkpoint", "training, no checkpoint"],
        "workers without a cell": ["cell half claimed", "cell half claimed"],
    }
    for name, points in cases.items():
        cut = folder / name
        status = run_in_fork(partial(run_with_workers, cut, log, points))
        found[name] = {"statuses": [status], **compare_runs(whole, cut)}
    cut = folder / "the runner"
    statuses = [run_in_fork(partial(run_with_workers, cut, log, [], kill_runner=True))]
    statuses.append(run_in_fork(partial(run_with_workers, cut, log, [])))
    found["the runner"] = {"statuses": statuses, **compare_runs(whole, cut)}
    return found


if __name__ == "__main__":
    gc.freeze()
    logging.disable_progress_bar()
    surviving = {"one": survive, "two": survive_with_workers}[sys.argv[2]]
    print(json.dumps(surviving(Path(sys.argv[1]))))
