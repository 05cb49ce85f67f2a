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
from typing import Any

import torch
from tqdm.auto import tqdm
from transformers.utils import logging

from ..core.argument_checks import check_count
from ..core.files import remove_leftovers, write_text
from ..core.yaml_files import dump_yaml, read_yaml_file
from .claims import claim
from .declaration import Study, find_study_file, read_study, read_with_base
from .folder import StudyFolder, cell_state
from .plan import STUDY_FILE, CellPlan, StudyPlan
from .planning import make_plan
from .store import CELL_FILE, Cell
from .study_data import StudyData
from .worker import StudyStoppedError, Worker, load_study_data

logger = logging.get_logger(__name__)

POLL = 1.0  # seconds between looks at the workers
MAX_DEATHS = 2  # deaths of a worker in one cell after which the cell counts as failed


def run_study(
    source: str | Path,
    output_dir: str | Path,
    *,
    processes: int = 1,
    threads: int | None = None,
    retry_failed: bool = False,
    progress: bool = True,
) -> dict[str, int]:
    """Run a study, or go on with it: finished cells are not run again.

    Several calls may run the same study at the same time, on one machine or on several that share the folder.

    Args:
        source: name of a built-in study, or path of a study file.
        output_dir: folder of the study. Several studies may share it.
        processes: number of worker processes; 1 runs the cells in this process.
        threads: threads of each process; by default the cores of the machine, divided by the processes.
        retry_failed: run failed cells again.
        progress: whether to show progress bars.

    Returns:
        Number of cells by state: "done", "failed", "waiting", "running" and "skipped".

    Raises:
        ValueError: for an unknown study, or a setting that does not fit, before anything runs.
        StudyChangedError: if the study is started with another declaration meanwhile.
        OSError: if the disk is full.
    """
    check_count("processes", processes)
    if threads is not None:
        check_count("threads", threads)
    folder, study, plan, data = prepare_study(source, output_dir)
    if retry_failed:
        forget_failures(folder, plan)
    deadline = time.time() + 3600 * study.hours if study.hours < inf else inf
    if processes == 1:
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
        self.deaths: Counter[str] = Counter()
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
        states = _States(self.folder, self.plan)
        with tqdm(total=len(states.cells), desc=self.plan.name, unit="cell", disable=not progress) as bar:
            try:
                for index in range(self.num_processes):
                    self.processes.append(self._start(index))
                while any(process.poll() is None for process in self.processes) or self._replace_dead():
                    self._replace_dead()
                    bar.n = states.count_ended()
                    bar.refresh()
                    time.sleep(POLL)
            except BaseException:
                self._stop()
                raise
            bar.n = states.count_ended()
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
            self.deaths[name] += 1
            if not name and self.deaths[name] >= MAX_DEATHS * len(self.processes):
                raise StudyStoppedError(
                    f"workers of the study '{self.plan.name}' were killed {self.deaths[name]} times before they "
                    f"started a cell, by signal {-code}; is there enough memory?"
                )
            for cell in self.plan.runnable():
                if cell.id == name and self.deaths[name] >= MAX_DEATHS:
                    self._fail(cell, -code)
            logger.warning(f"a worker was killed by signal {-code}; starting another one")
            self.processes[index] = self._start(index)
            started = True
        return started

    def _fail(self, plan: CellPlan, number: int):
        held = claim(self.folder.lock(plan))
        if held is None:
            return
        with held:
            cell = Cell(self.folder.cell(plan))
            cell.settings = plan.settings
            step = next((s for s, digest in plan.steps.items() if not cell.is_finished(s, digest)), None)
            if step is not None:  # else it was killed after its last step
                reason = f"its worker was killed {MAX_DEATHS} times, by signal {number}; is there enough memory?"
                cell.fail(step, reason, "", plan.steps[step])

    def _stop(self):
        """End the workers after their current step: they save checkpoints when they are interrupted."""
        import signal

        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self.processes:
            process.wait()


class _States:
    """Counts the cells of a plan that have ended, reading only the records that changed."""

    def __init__(self, folder: StudyFolder, plan: StudyPlan):
        self.folder, self.cells = folder, plan.runnable()
        self._known: dict[str, tuple[int, bool]] = {}

    def count_ended(self) -> int:
        """Number of cells that are done or failed."""
        for plan in self.cells:
            path = self.folder.cell(plan) / CELL_FILE
            changed = path.stat().st_mtime_ns if path.is_file() else 0
            if self._known.get(plan.id, (-1, False))[0] != changed:
                state = cell_state(self.folder, plan, Cell(path.parent))
                self._known[plan.id] = changed, state in ("done", "failed")
        return sum(ended for _, ended in self._known.values())
