"""Runs a study: prepares its folder, and starts workers that claim its cells."""

__all__ = ["prepare_study", "run_study"]

import os
import subprocess
import sys
import time
from collections import Counter
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from tqdm.auto import tqdm
from transformers.utils import logging

from ..core.argument_checks import check_count, describe, require_extra
from ..core.files import remove_leftovers, write_text
from ..core.yaml_files import dump_yaml, read_yaml_file
from ..metrics.networks.extractors import load_extractor
from .claims import claim
from .declaration import Study, find_study_file, read_study, read_with_base
from .folder import StudyFolder, cell_state
from .plan import STUDY_FILE, CellPlan, StudyPlan
from .planning import make_plan
from .store import Cell
from .study_data import StudyData
from .supervision import MAX_DEATHS, Deaths, EndedCells
from .worker import StudyStoppedError, Worker, load_study_data

logger = logging.get_logger(__name__)

POLL = 1.0  # seconds between looks at the workers


def run_study(
    source: str | Path,
    output_dir: str | Path,
    *,
    processes: int | None = None,
    threads: int | None = None,
    retry_failed: bool = False,
    progress: bool = True,
    executor: Literal["local", "ray"] = "local",
    ray_address: str | None = None,
    cpus_per_cell: int = 1,
    gpus_per_cell: float = 0,
    results_repo: str | None = None,
) -> dict[str, int]:
    """Run a study, or go on with it: finished cells are not run again.

    Several calls may run the same study at the same time, on one machine or on several that share the folder.

    Args:
        source: name of a built-in study, or path of a study file.
        output_dir: folder of the study. Several studies may share it.
        processes: number of worker processes. By default 1, which runs the cells in this process; on Ray, as many as
            the cluster has room for.
        threads: threads of each process; by default the cores of the machine, divided by the processes, and
            `cpus_per_cell` on Ray.
        retry_failed: run failed cells again.
        progress: whether to show progress bars.
        executor: "local" for processes of this machine, "ray" for workers on a Ray cluster.
        ray_address: of the cluster: "auto", "host:port" or "ray://host:port"; by default the environment variable
            RAY_ADDRESS, or a cluster on this machine that lasts as long as the call.
        cpus_per_cell, gpus_per_cell: what a worker on Ray reserves. Part of a GPU shares it between workers.
        results_repo: data set repository on the Hub, "user/name", through which results come back from workers on Ray
            that do not share `output_dir`. It is created, private, unless it exists.

    Returns:
        Number of cells by state: "done", "failed", "waiting", "running" and "skipped".

    Raises:
        ValueError: for an unknown study, or a setting that does not fit, before anything runs.
        StudyChangedError: if the study is started with another declaration meanwhile.
        OSError: if the disk is full, the extractor cannot be loaded, or the Hub does not respond.
        ImportError: if executor is "ray" and Ray is not installed.
        RayClusterError: if the Ray cluster cannot be reached, disappears, or has no room for a worker.
    """
    for name, value in {"processes": processes, "threads": threads, "cpus_per_cell": cpus_per_cell}.items():
        if value is not None:
            check_count(name, value)
    if executor not in ("local", "ray"):
        raise ValueError(f"executor must be 'local' or 'ray', got {describe(executor)}")
    if executor == "local" and (ray_address, cpus_per_cell, gpus_per_cell, results_repo) != (None, 1, 0, None):
        raise ValueError("ray_address, cpus_per_cell, gpus_per_cell and results_repo need executor 'ray'")
    if not gpus_per_cell >= 0:
        raise ValueError(f"gpus_per_cell must be 0 or more, got {gpus_per_cell}")
    if executor == "ray":
        require_extra("ray", "executor 'ray'")
    folder, study, plan, data = prepare_study(source, output_dir)
    if study.extractor != "trained" and _needs_extractor(folder, plan, study):
        load_extractor(study.extractor)  # before anything trains; the workers then find it in the cache
    if retry_failed:
        forget_failures(folder, plan)
    deadline = time.time() + 3600 * study.hours if study.hours < inf else inf
    if executor == "ray":
        from .ray_executor import RayOptions, run_on_ray

        options = RayOptions(ray_address, processes, cpus_per_cell, gpus_per_cell, threads, results_repo)
        run_on_ray(folder, study, plan, data, options, deadline, progress)
    elif processes in (None, 1):
        _run_here(folder, study, plan, data, threads, deadline, progress)
    else:
        threads = threads or max(1, (os.cpu_count() or 1) // processes)
        _Workers(folder, plan, processes, threads, deadline).run(progress)
    return dict(Counter(cell_state(folder, cell, Cell(folder.cell(cell))) for cell in plan.cells))


def prepare_study(
    source: str | Path, output_dir: str | Path
) -> tuple[StudyFolder, Study, StudyPlan, dict[str, StudyData]]:
    """Check a study, load its data, and write its declaration and plan into its folder.

    Raises:
        ValueError: as in [`run_study`].
    """
    path = find_study_file(source)
    content = read_with_base(path)
    study = read_study(content, str(source))
    folder = StudyFolder(Path(output_dir), study.name)
    try:
        data = load_study_data(study)
        plan = make_plan(study, data)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    remove_leftovers(folder.study)
    if _read_declaration(folder) != content:
        write_text(folder.study / STUDY_FILE, dump_yaml(content))
    if _read_plan_digest(folder) != plan.digest:
        plan.write(folder.study)
    for dataset, tasks in plan.omitted.items():
        for task, reason in tasks.items():
            logger.warning(f"{dataset}: the task '{task}' is left out: {reason}")
    return folder, study, plan, data


def _needs_extractor(folder: StudyFolder, plan: StudyPlan, study: Study) -> bool:
    """Whether a cell that is not done has a task that uses the extractor."""
    tasks = {name for name, task in study.tasks.items() if task.uses_extractor}
    for cell in plan.runnable():
        wanted = {step: digest for step, digest in cell.steps.items() if step.split("/")[0] in tasks}
        record = Cell(folder.cell(cell)) if wanted else None
        if record is not None and not all(record.is_finished(*step) for step in wanted.items()):
            return True
    return False


def _read_declaration(folder: StudyFolder) -> dict[str, Any] | None:
    """The declaration in a folder; None if there is none, or it is damaged."""
    try:
        return read_yaml_file(folder.study / STUDY_FILE)
    except ValueError:
        return None


def _read_plan_digest(folder: StudyFolder) -> str | None:
    """Digest of the plan in a folder; None if there is none, or it is damaged."""
    try:
        return folder.read_plan().digest
    except (ValueError, TypeError):
        return None


def forget_failures(folder: StudyFolder, plan: StudyPlan):
    """Clear the errors of failed cells that no worker has claimed."""
    for cell in plan.runnable():
        record = Cell(folder.cell(cell))
        if record.error is not None:
            held = claim(folder.lock(cell))
            if held is not None:
                with held:
                    record.clear_error()


def _run_here(
    folder: StudyFolder,
    study: Study,
    plan: StudyPlan,
    data: dict[str, StudyData],
    threads: int | None,
    deadline: float,
    progress: bool,
):
    """Run the cells in this process, with a progress bar of cells."""
    before = torch.get_num_threads()
    with tqdm(total=len(plan.runnable()), desc=plan.name, unit="cell", disable=not progress) as bar:

        def report(cell: CellPlan, what: str):
            if what in ("done", "failed"):
                bar.update()
            else:
                bar.set_postfix_str(f"{cell.method} {cell.configuration}: {what}")

        worker = Worker(folder, study, plan, data, report, lambda: time.time() > deadline)
        try:
            torch.set_num_threads(threads or before)
            worker.run()
        finally:
            torch.set_num_threads(before)


class _Workers:
    """Worker processes of one study, which are started again if they die.

    Args:
        folder, plan: of the study.
        processes, threads: number of workers, and threads of each.
        deadline: time after which they start no further cell.
    """

    def __init__(self, folder: StudyFolder, plan: StudyPlan, processes: int, threads: int, deadline: float):
        self.folder, self.plan, self.deadline = folder, plan, deadline
        self.environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self.deaths, self.early_deaths = Deaths(folder), 0
        self.num_processes = processes
        self.processes: list[subprocess.Popen[bytes]] = []

    def run(self, progress: bool):
        """Start the workers, and wait until all have ended.

        Raises:
            StudyStoppedError: if a worker ended with an error that concerns the whole study.
        """
        with TemporaryDirectory() as cell_files:
            self.cell_files = Path(cell_files)
            self._run(progress)

    def _start(self, index: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "gae_hub.study.worker", str(self.folder.root), self.folder.name]
        command += [str(os.getpid()), str(self.deadline), str(self._cell_file(index))]
        # in a session of its own, a worker receives Ctrl-C once, from `_stop`: a second one would end it at once
        return subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, start_new_session=True)

    def _cell_file(self, index: int) -> Path:
        """The file in which a worker names its cell."""
        return self.cell_files / str(index)

    def _run(self, progress: bool):
        ended = EndedCells(self.folder, self.plan)
        with tqdm(total=len(ended.cells), desc=self.plan.name, unit="cell", disable=not progress) as bar:
            try:
                for index in range(self.num_processes):
                    self.processes.append(self._start(index))
                while any(process.poll() is None for process in self.processes) or self._replace_dead():
                    self._replace_dead()
                    bar.n = ended.count()
                    bar.refresh()
                    time.sleep(POLL)
            except BaseException:
                self._stop()
                raise
            bar.n = ended.count()
            bar.refresh()
        if any(process.returncode for process in self.processes):
            raise StudyStoppedError(
                f"the study '{self.plan.name}' stopped: see the message above; finished cells are kept"
            )

    def _replace_dead(self) -> bool:
        """Start a new worker for each that was killed, and fail a cell in which two have died.

        Returns:
            Whether a worker was started.

        Raises:
            StudyStoppedError: if workers die again and again before they start a cell.
        """
        started = False
        for index, process in enumerate(self.processes):
            code = process.poll()
            if code is None or code >= 0:
                continue
            file = self._cell_file(index)
            name = file.read_text(encoding="utf-8") if file.is_file() else ""
            file.unlink(missing_ok=True)
            self.early_deaths += not name
            if self.early_deaths >= MAX_DEATHS * len(self.processes):
                raise StudyStoppedError(
                    f"workers of the study '{self.plan.name}' were killed {self.early_deaths} times before they "
                    f"started a cell, by signal {-code}; is there enough memory?"
                )
            for cell in self.plan.runnable():
                if cell.id == name:
                    self.deaths.record(cell, f"by signal {-code}")
            logger.warning(f"a worker was killed by signal {-code}; starting another one")
            self.processes[index] = self._start(index)
            started = True
        return started

    def _stop(self):
        """End the workers after their current step: they save checkpoints when they are interrupted."""
        import signal

        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self.processes:
            process.wait()
