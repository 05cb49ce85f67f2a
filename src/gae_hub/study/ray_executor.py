"""Runs a study on a Ray cluster: the driver gives one cell after another to workers, which are Ray actors.

A worker is an actor rather than a task for each cell, since it loads the data once, and keeps the features of the data
that every cell is compared with. The driver starts as many as the cluster has room for, also when nodes join or leave.
It knows which cell each worker runs, so a cell that kills its workers is found wherever they are.
"""

__all__ = ["RayClusterError", "RayOptions", "run_on_ray"]

import os
import platform
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from math import floor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import get_token
from tqdm.auto import tqdm
from transformers.utils import logging

from .._version import __version__
from .claims import claim, clean_claims, holder, remove_claims_of
from .declaration import Study
from .execution import extractor_folder
from .folder import StudyFolder, is_complete
from .hub_results import HubResults
from .plan import CellPlan, StudyPlan
from .stacks import clean_stacks
from .store import Cell
from .study_data import StudyData
from .supervision import Deaths, EndedCells
from .worker import StudyStoppedError, Worker, load_study_data

logger = logging.get_logger(__name__)

POLL = 1.0  # seconds between looks at the workers
PATIENCE = 10.0  # seconds without a connection after which the cluster counts as gone; Ray ends the process after 60
GRACE = 30.0  # seconds in which interrupted workers save their checkpoints
MAX_FAILED_STARTS = 3  # workers in a row that die before they have started
AGAIN = "finished cells are kept; run the same line again to go on"


class RayClusterError(StudyStoppedError):
    """The Ray cluster cannot be reached, has disappeared, or cannot run the workers."""


@dataclass(frozen=True)
class RayOptions:
    """Where a study runs, and what each worker reserves. The arguments are those of [`run_study`]."""

    address: str | None = None
    processes: int | None = None
    cpus_per_cell: int = 1
    gpus_per_cell: float = 0
    threads: int | None = None
    results_repo: str | None = None


# Workers


class Place(NamedTuple):
    """Where a worker runs."""

    process: int
    host: str
    node_id: str


class RayWorker:
    """A worker in a process of the cluster. The driver makes an actor of this class.

    Args:
        folder, study, plan: as for [`Worker`]. The folder is replaced by a temporary one if `results` is given.
        threads: of this process.
        working_dir: of the driver, from which relative paths of data are read if it exists here.
        version: of the driver's gae_hub.
        results: the repository for results, if the folder is not shared.
    """

    def __init__(
        self,
        folder: StudyFolder,
        study: Study,
        plan: StudyPlan,
        threads: int,
        working_dir: str,
        version: str,
        results: HubResults | None,
    ):
        self.folder, self.study, self.plan, self.results = folder, study, plan, results
        self.threads, self.working_dir, self.version = threads, working_dir, version

    def start(self) -> Place:
        """Load the data. Errors are raised here, since Ray reports those of a constructor as a death.

        Raises:
            ValueError: if this node has another version of gae_hub, does not see the folder, or lacks the data.
        """
        import ray

        host = platform.node()
        if __version__ != self.version:
            raise ValueError(
                f"gae_hub is {__version__} on '{host}', but {self.version} here; install the same version"
            )
        if self.results is not None:
            self.folder = StudyFolder(Path(tempfile.mkdtemp(prefix="gae-hub-study-")), self.plan.name)
            self.plan.write(self.folder.study)
        elif not self.folder.study.is_dir():
            raise ValueError(
                f"'{self.folder.root}' does not exist on '{host}'; choose an --output_dir that all nodes share, or "
                "pass --results_repo user/name"
            )
        signal.signal(signal.SIGUSR1, signal.default_int_handler)  # Ray blocks SIGINT in its processes
        torch.set_num_threads(self.threads)
        logging.disable_progress_bar()
        with suppress(OSError):
            os.chdir(self.working_dir)
        self._worker = Worker(self.folder, self.study, self.plan, load_study_data(self.study))
        return Place(os.getpid(), host, ray.get_runtime_context().get_node_id())

    def run(self, cells: Sequence[CellPlan]):
        """Run the first of these cells. See [`Worker.run_cell`].

        Args:
            cells: the cell, and its group if it is to be trained with it and the folder is not shared.
        """
        if self.results is None:
            self._worker.run_cell(cells[0])
            return
        ids = [one.id for one in cells]
        self.results.download(self.folder.root, ids)
        self._worker.run_cell(cells[0])
        present = [name for name in ids if (self.folder.root / "cells" / name).is_dir()]
        self.results.upload(self.folder.root, present)
        for name in present:
            shutil.rmtree(self.folder.root / "cells" / name)


# Driver


@dataclass
class _Member:
    """A worker as the driver sees it.

    Args:
        actor: the Ray actor.
        call: what it does now: its start, or a cell. None if it waits for a cell.
        place: where it runs, once it has started.
        cells: the cell that it runs, and its group if it is to be trained with it and the folder is not shared.
        claims: the driver's claims on these cells, if the folder is not shared.
    """

    actor: Any
    call: Any
    place: Place | None = None
    cells: list[CellPlan] = field(default_factory=list)
    claims: ExitStack = field(default_factory=ExitStack)


def run_on_ray(
    folder: StudyFolder,
    study: Study,
    plan: StudyPlan,
    data: dict[str, StudyData],
    options: RayOptions,
    deadline: float,
    progress: bool,
):
    """Run the cells of a study on a Ray cluster.

    Args:
        folder, study, plan, data: the study, and its data sets by name.
        options: the cluster, and what a worker reserves.
        deadline: time after which no further cell is started.
        progress: whether to show a progress bar of cells.

    Raises:
        RayClusterError: if the cluster cannot be reached, disappears, or cannot run the workers.
        StudyChangedError, OSError, ValueError: as raised by a worker, or if the Hub does not respond.
    """
    clean_claims(folder.root / "claims")
    clean_stacks(folder)
    results, extractors = None, {}
    if options.results_repo is not None:
        results = HubResults(options.results_repo, get_token())
        _exchange(results, folder, plan)
        if study.uses_extractor and study.extractor == "trained":
            extractors = {name: extractor_folder(folder.root, study, one) for name, one in data.items()}
    if all(_has_ended(folder, one) for one in plan.runnable()):
        return
    with _connected(options):
        _Driver(folder, study, plan, options, deadline, results, extractors).run(progress)


def _has_ended(folder: StudyFolder, plan: CellPlan) -> bool:
    """Whether a cell is done or has failed."""
    cell = Cell(folder.cell(plan))
    if cell.problem is not None:
        return False
    return cell.has_failed(plan.steps) or (is_complete(plan, cell) and cell.find_changed_file() is None)


def _exchange(results: HubResults, folder: StudyFolder, plan: StudyPlan):
    """Download the cells that only the repository has, and upload those that workers need and the folder has."""
    results.create()
    cells = plan.runnable()
    results.download(folder.root, [one.id for one in cells if not folder.cell(one).is_dir()])
    unfinished = [one for one in cells if not is_complete(one, Cell(folder.cell(one)))]
    needed = {one.id for one in unfinished}
    groups = {one.group for one in unfinished if one.group is not None}
    needed |= {one.id for one in cells if one.group in groups}  # a group is trained without its trained cells
    results.upload(folder.root, [one.id for one in cells if one.id in needed and folder.cell(one).is_dir()])


class _Driver:
    """Gives cells to workers, and replaces workers that die.

    Args:
        folder, study, plan, options, deadline: as for [`run_on_ray`].
        results: the repository for results, if the folder is not shared.
        extractors: folder of the extractor of each data set, if one of the workers trains it and `results` is given.
    """

    def __init__(
        self,
        folder: StudyFolder,
        study: Study,
        plan: StudyPlan,
        options: RayOptions,
        deadline: float,
        results: HubResults | None,
        extractors: dict[str, Path],
    ):
        import ray

        self.folder = StudyFolder(folder.root.resolve(), folder.name)
        self.plan, self.options, self.deadline = plan, options, deadline
        self.results, self.extractors = results, extractors
        self.waiting = [one for one in plan.runnable() if not _has_ended(self.folder, one)]
        self.deaths, self.failed_starts = Deaths(self.folder), 0
        self.members: list[_Member] = []
        self.cluster = _Cluster(options)
        threads = options.threads or options.cpus_per_cell
        environment = {"OMP_NUM_THREADS": str(threads)}
        if not options.gpus_per_cell:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        self._actor_class: Any = ray.remote(
            num_cpus=options.cpus_per_cell, num_gpus=options.gpus_per_cell, runtime_env={"env_vars": environment}
        )(RayWorker)
        inputs = study, plan, threads, os.getcwd(), __version__, results
        self._inputs = self.folder, *inputs

    def run(self, progress: bool):
        """Run until no cell is left, or the deadline has passed."""
        import ray

        ended = EndedCells(self.folder, self.plan)
        with tqdm(total=len(ended.cells), desc=self.plan.name, unit="cell", disable=not progress) as bar:
            try:
                while True:
                    self.cluster.check()
                    self._hand_out()
                    busy = [member for member in self.members if member.cells]
                    if not busy and (not self.waiting or time.time() > self.deadline):
                        break
                    self._start_workers()
                    calls = [member.call for member in self.members if member.call is not None]
                    if calls:
                        for call in ray.wait(calls, num_returns=len(calls), timeout=POLL)[0]:
                            self._collect(next(member for member in self.members if member.call == call))
                    else:
                        time.sleep(POLL)  # others have claimed the cells that are left
                    bar.n = ended.count()
                    bar.refresh()
            except ConnectionError as error:  # of ray://
                raise RayClusterError(f"the connection to the Ray cluster was lost ({error}): {AGAIN}") from error
            except KeyboardInterrupt:
                self._interrupt()
                raise
            finally:
                for member in self.members:
                    member.claims.close()
            bar.n = ended.count()
            bar.refresh()

    def _start_workers(self):
        """Start workers until there are as many as cells are left, and as the cluster has room for."""
        num_cells = len(self.waiting) + sum(bool(member.cells) for member in self.members)
        while len(self.members) < min(num_cells, self.cluster.num_workers()):
            actor = self._actor_class.remote(*self._inputs)
            self.members.append(_Member(actor, actor.start.remote()))

    def _hand_out(self):
        """Give cells to the workers that have nothing to do."""
        for member in self.members:
            if member.call is not None or time.time() > self.deadline:
                continue
            member.cells = self._take_cells(member.claims)
            if member.cells:
                member.call = member.actor.run.remote(member.cells)

    def _take_cells(self, claims: ExitStack) -> list[CellPlan]:
        """The next cell that is free, with its group if that must be moved with it; empty without one."""
        for plan in list(self.waiting):
            if holder(self.folder.lock(plan)) is not None or self._waits_for_extractor(plan):
                continue
            if _has_ended(self.folder, plan):
                self.waiting.remove(plan)
                continue
            locks = self.folder.locks(plan, Cell(self.folder.cell(plan)))
            if any(holder(lock) is not None for lock in locks):  # of its group
                continue
            cells = [plan]
            if self.results is not None:
                if len(locks) > 1:  # to be trained with its group
                    cells += [one for one in self.plan.runnable() if one.group == plan.group and one.id != plan.id]
                    locks += [self.folder.lock(one) for one in cells[1:]]
                if not _claim_all(locks, claims):
                    continue
            taken = {one.id for one in cells}
            self.waiting = [one for one in self.waiting if one.id not in taken]
            return cells
        return []

    def _waits_for_extractor(self, plan: CellPlan) -> bool:
        """Whether a worker trains the extractor that a cell needs. Workers that share no folder would each train one,
        and numbers of different extractors cannot be compared."""
        extractor = self.extractors.get(plan.dataset)
        if extractor is None or (extractor / "config.json").is_file():
            return False
        return any(member.cells and member.cells[0].dataset == plan.dataset for member in self.members)

    def _collect(self, member: _Member):
        """Take the result of a worker's call, which has ended."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            found: Any = ray.get(member.call)
        except RayTaskError as error:  # raised by our code
            raise error.cause from None
        except RayError as error:
            self._bury(member, error)
            return
        member.call = None
        if member.place is None:
            member.place, self.failed_starts = Place(*found), 0
        else:
            if self.results is not None:
                self.results.download(self.folder.root, [plan.id for plan in member.cells])
            self._take_back(member)

    def _take_back(self, member: _Member):
        """Take the cells of a worker back. The next worker that is free continues those that have not ended."""
        member.claims.close()
        self.waiting = [plan for plan in member.cells if not _has_ended(self.folder, plan)] + self.waiting
        member.cells = []

    def _bury(self, member: _Member, error: Exception):
        """Forget a worker that has died, and count the death in its cell."""
        import ray

        ray.kill(member.actor)  # one that is only out of reach must not go on
        self.members.remove(member)
        if member.place is None:
            self.failed_starts += 1
            if self.failed_starts == MAX_FAILED_STARTS:
                raise RayClusterError(f"workers do not start on the Ray cluster: {_first_line(error)}")
            return
        process, host, _ = member.place
        member.claims.close()
        remove_claims_of(self.folder.root / "claims", process, host)
        if member.cells:
            logger.warning(f"the worker {process} on {host} died; starting another one")
            self.deaths.record(member.cells[0], f"the last time on {host}")
        self._take_back(member)

    def _interrupt(self):
        """Interrupt the workers, which save checkpoints, and wait for them."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        kill: Any = ray.remote(num_cpus=0, max_retries=0)(_interrupt_process)
        calls = []
        for member in self.members:
            if member.place is None or not member.cells:
                continue
            process, host, node_id = member.place
            if host == platform.node():
                _interrupt_process(process)
            else:
                node = NodeAffinitySchedulingStrategy(node_id, soft=False)
                kill.options(scheduling_strategy=node).remote(process)
            calls.append(member.call)
        if calls:
            ray.wait(calls, num_returns=len(calls), timeout=GRACE)


def _claim_all(locks: Sequence[Path], claims: ExitStack) -> bool:
    """Add the claims of all lock files to a context, or none if another process holds one of them."""
    with ExitStack() as held:
        for lock in locks:
            found = claim(lock)
            if found is None:
                return False
            held.enter_context(found)
        claims.enter_context(held.pop_all())
    return True


def _interrupt_process(process: int):
    """Raise KeyboardInterrupt in a worker of this machine."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGUSR1)


# The cluster


class _Cluster:
    """The Ray cluster to which this process is connected.

    Args:
        options: what a worker reserves.
    """

    def __init__(self, options: RayOptions):
        self.options = options
        self.address = _probed_address(options)
        self._last_seen = time.monotonic()
        self._warned = False

    def check(self):
        """Raise RayClusterError if the cluster has been out of reach for `PATIENCE` seconds."""
        host, _, port = self.address.rpartition(":")
        while True:
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
                self._last_seen = time.monotonic()
                return
            except OSError:
                if time.monotonic() - self._last_seen > PATIENCE:
                    raise RayClusterError(f"the Ray cluster at {self.address} is gone: {AGAIN}") from None
                time.sleep(POLL)

    def num_workers(self) -> int:
        """Number of workers to run: those that were asked for, or those for which the nodes have room.

        Raises:
            RayClusterError: if no node is large enough, and no number was asked for.
        """
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not nodes:
            raise RayClusterError(f"the Ray cluster at {self.address} has no node left: {AGAIN}")
        room = sum(self._room_on(node) for node in nodes)
        wanted = f"{self.options.cpus_per_cell} CPUs and {self.options.gpus_per_cell:g} GPUs"
        if not room and self.options.processes is None:
            largest = " or ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes[:3])
            raise RayClusterError(
                f"a cell reserves {wanted}, but the nodes of the Ray cluster have {largest}; lower --cpus_per_cell or "
                "--gpus_per_cell, or pass --processes to wait for larger nodes"
            )
        if not self._warned:
            if not room:
                logger.warning(f"waiting for a node with {wanted}")
            if not self.options.gpus_per_cell and any(node.get("GPU") for node in nodes):
                logger.warning("the Ray cluster has GPUs, which are not used: pass --gpus_per_cell 1")
            self._warned = True
        return self.options.processes or room

    def _room_on(self, node: dict[str, float]) -> int:
        """Number of workers for which a node has room."""
        rooms = [node.get("CPU", 0) / self.options.cpus_per_cell]
        if self.options.gpus_per_cell:
            rooms.append(node.get("GPU", 0) / self.options.gpus_per_cell)
        return floor(min(rooms))


@contextmanager
def _connected(options: RayOptions) -> Iterator[None]:
    """Connect this process to Ray meanwhile, unless it is connected already."""
    import ray

    if ray.is_initialized():
        yield
        return
    address = options.address or os.environ.get("RAY_ADDRESS") or "local"
    given: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        needed = (options.processes or 0) * options.cpus_per_cell
        given |= {"include_dashboard": False, "num_cpus": needed or max(os.cpu_count() or 1, options.cpus_per_cell)}
    try:
        ray.init(address, **given)
    except (ConnectionError, RuntimeError, ValueError, ImportError) as error:
        raise RayClusterError(f"cannot connect to the Ray cluster '{address}': {_first_line(error)}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _probed_address(options: RayOptions) -> str:
    """host:port at which the cluster answers connections."""
    import ray

    if options.address is not None and options.address.startswith("ray://"):
        return options.address.removeprefix("ray://").rstrip("/")
    return ray.get_runtime_context().gcs_address


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
