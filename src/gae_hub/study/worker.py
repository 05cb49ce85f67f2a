"""A worker of a study: claims a cell, runs its steps, and goes on until no cell is left."""

__all__ = ["StudyChangedError", "StudyStoppedError", "Worker", "load_study_data", "main"]

import argparse
import errno
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from transformers.utils import logging

from ..core.files import write_atomically
from ..core.hub_errors import HubError
from .claims import Claim, claim, clean_claims, holder
from .declaration import Study
from .execution import CellRunner
from .folder import StudyFolder, is_complete
from .plan import PLAN_FILE, CellPlan, StudyPlan
from .stacks import Stack, clean_stacks
from .store import Cell
from .study_data import StudyData

logger = logging.get_logger(__name__)

POLL = 1.0  # seconds between looks at the cells of other workers
PATIENT_TRIES = 30  # to claim a cell that trains with others, each 0.1 seconds apart
_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)


class StudyStoppedError(RuntimeError):
    """A study stopped before its end, for a reason that concerns all of its cells."""


class StudyChangedError(StudyStoppedError):
    """The plan of a study was replaced while a worker ran it."""


def load_study_data(study: Study) -> dict[str, StudyData]:
    """The data sets of a study by name."""
    return {name: StudyData(settings) for name, settings in study.data.items()}


class Worker:
    """Runs cells of a study in this process.

    Args:
        folder: of the study.
        study, plan, data: the declaration, its plan, and its data sets by name.
        report: called with a cell and what is done with it, such as "training".
        should_stop: called before each cell; True ends the work.
        progress: whether to show the progress bars of trainings.
    """

    def __init__(
        self,
        folder: StudyFolder,
        study: Study,
        plan: StudyPlan,
        data: dict[str, StudyData],
        report: Callable[[CellPlan, str], None] = lambda cell, what: None,
        should_stop: Callable[[], bool] = lambda: False,
        progress: bool = False,
    ):
        self.folder, self.plan, self._report, self._should_stop = folder, plan, report, should_stop
        self._runner = CellRunner(study, data, folder.root, progress)
        self._waiting = plan.runnable()
        self._digest, self._stamp = plan.digest, None

    def run(self):
        """Run cells until none is left that this worker can run.

        Raises:
            StudyChangedError: if the study was started again with another declaration meanwhile.
            OSError: if the disk is full. Any other error of a cell is recorded in it.
        """
        with self._explain_full_disk():
            clean_claims(self.folder.root / "claims")
            clean_stacks(self.folder)
            self._run_cells()

    def _run_cells(self):
        while not self._should_stop():
            self._check_plan()
            found = self._claim_cell()
            if found is not None:
                with found[1]:
                    self._run_cell(found[0], may_defer=len(self._waiting) > 1)
            elif self._waiting:  # other workers have claimed the cells that are left
                time.sleep(POLL)
            else:
                return

    def run_cell(self, plan: CellPlan):
        """Run one cell. Does nothing if another worker has claimed it, or the group that it is to be trained with.

        Raises:
            StudyChangedError, OSError: as in `run`.
        """
        with self._explain_full_disk():
            self._check_plan()
            held = self._claim(plan, Cell(self.folder.cell(plan)))
            if held is not None:
                with held:
                    self._run_cell(plan)

    @contextmanager
    def _explain_full_disk(self) -> Iterator[None]:
        """Raise HubError, an OSError, if the disk is full."""
        try:
            yield
        except Exception as error:
            if _is_disk_full(error):
                raise HubError(
                    f"the disk of '{self.folder.root}' is full: the study stopped, and what is finished is kept; free "
                    "some space, and start it again"
                ) from error
            raise

    def _check_plan(self):
        """Raise StudyChangedError if the plan in the folder is another one. It is only read if the file is new."""
        found = (self.folder.study / PLAN_FILE).stat()
        stamp = found.st_mtime_ns, found.st_ino, found.st_size
        if stamp != self._stamp and self.folder.read_plan().digest != self._digest:
            raise StudyChangedError(
                f"the study '{self.plan.name}' was changed while it ran: finished cells are kept; start it again"
            )
        self._stamp = stamp

    def _claim_cell(self) -> tuple[CellPlan, ExitStack] | None:
        """The next cell that has something left to do, claimed. Cells without are dropped from the list."""
        left = []
        for index, plan in enumerate(self._waiting):
            if holder(self.folder.lock(plan)) is not None:
                left.append(plan)
                continue
            cell = Cell(self.folder.cell(plan))
            if cell.problem is None:
                failed = cell.has_failed(plan.steps)
                if failed or (is_complete(plan, cell) and cell.find_changed_file() is None):
                    self._report(plan, "failed" if failed else "done")
                    continue
            left.append(plan)
            held = self._claim(plan, cell)
            if held is not None:
                self._waiting = left + self._waiting[index + 1 :]
                return plan, held
        self._waiting = left
        return None

    def _claim(self, plan: CellPlan, cell: Cell) -> ExitStack | None:
        """The claims on a cell and, if it is to be trained, on its group; None if another worker has one of them."""
        with ExitStack() as held:
            for lock in self.folder.locks(plan, cell):
                found = None if holder(lock) is not None else claim(lock)
                if found is None:
                    return None
                held.enter_context(found)
            return held.pop_all()

    def _run_cell(self, plan: CellPlan, may_defer: bool = False):
        """Run what is left of a claimed cell. An error is recorded in the cell.

        With `may_defer`, the cell is put off after its training if another worker is training the extractor.
        """
        cell = self._runner.open_cell(plan)
        cell.error = None  # of a step that was changed since
        with self._record_error(plan, cell):
            was_trained = cell.is_finished("train", plan.steps["train"])
            if not was_trained:
                self._report(plan, "training")
                self._train(plan, cell)
            if cell.error is not None:
                return
            if may_defer and self._runner.waits_for_extractor(plan.dataset):
                self._waiting.remove(plan)
                self._waiting.append(plan)  # after those that can be trained meanwhile
                time.sleep(POLL if was_trained else 0)
            else:
                self._report(plan, "measuring")
                self._runner.run_steps(plan, cell, lambda: self._record_error(plan, cell))

    @contextmanager
    def _record_error(self, plan: CellPlan, cell: Cell) -> Iterator[None]:
        """Record an error of this context in a cell, its first one, unless it concerns the whole study."""
        try:
            yield
        except Exception as error:
            if _is_disk_full(error):
                raise
            step, message = self._runner.step, f"{type(error).__name__}: {error}"
            logger.warning(f"{plan.id}: {step} failed: {message}")
            if cell.error is None:
                cell.fail(step, message, traceback.format_exc(), plan.steps.get(step))

    def _train(self, plan: CellPlan, cell: Cell):
        """Train a cell, with the other cells of its group."""
        if plan.group is None:
            self._runner.train(plan, cell)
            return
        stack = Stack(self.folder.root, plan.group)
        with ExitStack() as held:
            members, cells = self._claim_group(plan, cell, stack, held)
            if len(members) == 1:
                self._runner.train(plan, cell)
                return
            for member in self._runner.train_together(members, cells, stack.folder):
                with self._record_error(member, cells[member.id]):
                    self._runner.train(member, cells[member.id])
            stack.delete()

    def _claim_group(
        self, plan: CellPlan, cell: Cell, stack: Stack, held: ExitStack
    ) -> tuple[list[CellPlan], dict[str, Cell]]:
        """The cells of a group to train together, and by id those of them that have to be saved, claimed.

        If a training of the group was killed, they are the cells of that training.
        """
        begun, cells = stack.read_members(), {plan.id: cell}
        if begun is not None and plan.id not in begun:
            return [plan], cells
        group = [other for other in self.plan.runnable() if other.group == plan.group]
        for other in group:
            record = Cell(self.folder.cell(other))
            if other.id == plan.id or record.is_finished("train", other.steps["train"]):
                continue
            if other.id not in begun if begun is not None else record.has_failed(other.steps):
                continue
            found = _claim_patiently(self.folder.lock(other))
            if found is not None:
                held.enter_context(found)
                cells[other.id] = self._runner.open_cell(other)
        members = [other for other in group if other.id in (cells if begun is None else begun)]
        if begun is None and len(members) > 1:
            stack.begin([member.id for member in members])
        return members, cells


def _claim_patiently(lock: Path) -> Claim | None:
    """The claim on a cell of a group that this worker has claimed.

    Others hold it for a moment at most, to look whether it is a dead worker's, unless they run another study.
    """
    for _ in range(PATIENT_TRIES):
        found = claim(lock)
        if found is not None:
            return found
        time.sleep(0.1)
    return None


def _is_disk_full(error: Exception) -> bool:
    """Whether the disk is full, which stops all cells. safetensors and torch.save say so only in their texts."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno in _DISK_IS_FULL:
            return True
        if any(text in str(found) for text in ("os error 28", "PytorchStreamWriter failed writing")):
            return True
        found = found.__cause__ or found.__context__
    return False


def _follow_parent(parent: int):
    """Interrupt this process when its parent ends, as Ctrl-C does: a training saves a checkpoint after its step."""

    def watch():
        while os.getppid() == parent:
            time.sleep(POLL)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


def main():
    """Entry point of a worker process: `python -m gae_hub.study.worker ROOT NAME PARENT DEADLINE FILE`."""
    parser = argparse.ArgumentParser(prog="gae_hub.study.worker")
    parser.add_argument("root", type=Path)
    parser.add_argument("name")
    parser.add_argument("parent", type=int, help="process without which the worker stops")
    parser.add_argument("deadline", type=float, help="time after which it starts no cell")
    parser.add_argument("cell_file", type=Path, help="file into which it writes the name of its cell")
    args = parser.parse_args()
    logging.disable_progress_bar()
    folder = StudyFolder(args.root, args.name)

    def report(cell: CellPlan, what: str):
        if what not in ("done", "failed"):
            with write_atomically(args.cell_file, durable=False) as temporary:
                temporary.write_text(cell.id, encoding="utf-8")

    # Python installs no handler where Ctrl-C is ignored, as it is for processes that scripts start in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _follow_parent(args.parent)
        study, plan = folder.load_study(), folder.read_plan()
        Worker(folder, study, plan, load_study_data(study), report, lambda: time.time() > args.deadline).run()
    except KeyboardInterrupt:
        sys.exit(130)
    except (StudyStoppedError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(3)


if __name__ == "__main__":
    main()
