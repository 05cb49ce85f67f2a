"""Kill studies with SIGKILL and go on: python kill_studies.py FOLDER [--seed 0] [--kills 100].

A part of the built-in study `smoke` runs in one process or two, with models trained one by one or together. In each
round it is killed several times: its only process, its runner, one of its workers or all of them, at a random moment
or while it writes or moves a file. The same line is started again each time. In the end, numbers, pictures and
weights must equal those of an undisturbed run to the byte, and no file of a killed process may be left.

FOLDER keeps the record in kills.json and kills.md; started again, the script goes on where it stopped.
"""

import argparse
import json
import random
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any, NamedTuple

import psutil
from kill_commands import kill_tree, start, wait_for_imports
from study_outcomes import compare_runs

from gae_hub.study.folder import StudyFolder
from gae_hub.study.plan import CellPlan, StudyPlan
from gae_hub.study.store import Cell

KILLS_OF_A_ROUND = 12
WRITES = 120  # a kill while writing hits one of so many writes of a process, if it comes so far
TRAINING = ("training, no checkpoint", "training, between checkpoints", "saving the model")
NAME = "smoke-kills"
STUDY = """\
name: smoke-kills
extends: smoke
only: {methods: [VAE, VAMP, beta-VAE, VQVAE, RAE-L2]}
train_together: %s
"""


@dataclass(frozen=True)
class Mode:
    """How a study is run."""

    processes: int
    together: bool

    @property
    def name(self) -> str:
        return f"{self.processes} process(es), trained {'together' if self.together else 'one by one'}"


MODES = [Mode(processes, together) for together in (False, True) for processes in (1, 2)]


class Work(NamedTuple):
    """What a process does."""

    phase: str
    cell: str
    saved: float  # time of the last state that was saved


class Disturber:
    """Runs the study of a mode in a folder, and kills it.

    Args:
        folder: of this script.
        mode: of the study.
        root: the study's folder.
    """

    def __init__(self, folder: Path, mode: Mode, root: Path):
        self.root, self.log = root, folder / f"{root.name}.log"
        self.whole = whole_folder(folder, mode)
        self.plan: StudyPlan | None = None
        study = folder / f"study-{'together' if mode.together else 'alone'}.yaml"
        study.write_text(STUDY % str(mode.together).lower())
        self.words = ["study", "run", str(study), "--output_dir", str(root), "--threads", "1"]
        self.words += ["--processes", str(mode.processes)]
        self.mode = mode

    def run_to_the_end(self) -> float:
        """Run the study to its end. Returns its seconds after the imports."""
        process = start(self.words, self.log)
        wait_for_imports(process, self.log)
        begin = time.time()
        if process.wait(timeout=3 * 3600):
            raise SystemExit(f"{self.words}: the study failed\n{self.log.read_text(errors='replace')[-3000:]}")
        return time.time() - begin

    def kill_once(self, dice: random.Random, seconds: float) -> list[dict[str, Any]] | None:
        """Start the study and kill it once, or a worker of it and then all. Returns None if it ended before.

        Args:
            dice: decides when, how and whom.
            seconds: mean time until a kill at a random moment.
        """
        how = dice.choice(["writing", "moment", "aimed"])
        if how == "writing" and self.mode.processes == 1:
            process = start(self.words, self.log, write=dice.randrange(WRITES))
            wait_for_imports(process, self.log)
            begin = time.time()
            if process.wait(timeout=3 * 3600) != -signal.SIGKILL:
                return None
            return [self._describe({process.pid}, begin, how, "the process")]
        process = start(self.words, self.log)
        wait_for_imports(process, self.log)
        begin, kills, victims = time.time(), [], "all"
        if self.mode.processes > 1:
            victims = dice.choice(["all", "runner", "worker first"])
        if victims == "worker first":
            self._wait(process, how, dice, seconds)
            workers = psutil.Process(process.pid).children() if process.poll() is None else []
            if workers:
                victim = dice.choice(workers)
                victim.kill()
                psutil.wait_procs([victim], timeout=0.1)  # a zombie at the latest
                kills.append(self._describe({victim.pid}, begin, how, "a worker"))
                begin = time.time()
        self._wait(process, how, dice, seconds)
        if process.poll() is not None:
            return kills or None
        if victims == "runner":
            process.kill()
            process.wait()
            return [*kills, self._describe({process.pid}, time.time(), how, "the runner, its workers finish")]
        family = self._family(process)
        kill_tree(process)
        return [*kills, self._describe(family, begin, how, "all" if len(family) > 1 else "the process")]

    def _wait(self, process: Popen, how: str, dice: random.Random, seconds: float):
        """Wait for a random time, or into a random phase; both begin with a claim, since workers import for long."""
        phase, share = dice.choice(self._phases_left() or [""]) if how == "aimed" else "", dice.random()
        if how != "aimed" and dice.random() < 0.15:  # also while workers import and load
            time.sleep(10 * share)
            return
        while process.poll() is None:
            work = [found for pid in self._family(process) for found in self._find_work(pid)]
            chosen = [found for found in work if found.phase.startswith(phase)]
            if chosen:
                time.sleep(share * (self._duration(chosen[0]) if phase else 2 * seconds))
                return
            time.sleep(0.01)

    def _phases_left(self) -> list[str]:
        """Phases that are yet to come, the trainings several times."""
        found: set[str] = set() if list(self.root.glob("extractors/*/config.json")) else {"extractor"}
        plan = self._plan()
        for one in plan.runnable() if plan else []:
            record = Cell(self.root / "cells" / one.id)
            left = {step for step, wanted in one.steps.items() if not record.is_finished(step, wanted)}
            if "train" in left:
                found |= {"together"} if one.group else {*TRAINING}
            found |= left - {"train"}
        trainings = sorted(found & {"together", *TRAINING})
        return [*sorted(found), *trainings, *trainings]

    def _duration(self, work: Work) -> float:
        """Seconds of a step, or of the time until the first checkpoint, in the undisturbed run."""
        record = self.whole / "cells" / work.cell / "cell.json"
        steps = json.loads(record.read_text())["steps"] if record.is_file() else {}
        return steps[work.phase]["seconds"] if work.phase in steps else 0.5

    def _family(self, process: Popen) -> set[int]:
        """Ids of the runner and its workers."""
        try:
            return {process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))}
        except psutil.NoSuchProcess:
            return {process.pid}

    def _describe(self, victims: set[int], begin: float, how: str, who: str) -> dict[str, Any]:
        """Record of a kill that has just happened: what the victims were doing, and how much work is lost."""
        moment = time.time()
        doing = [found for pid in sorted(victims) for found in self._find_work(pid)]
        idle = "looking for a cell" if self._plan() else "loading data, planning"
        if who.startswith("the runner"):
            idle = "watching the workers"
        lost = sum(moment - max(begin, work.saved) for work in doing) if doing else moment - begin
        return {
            "how": how,
            "who": who,
            "phase": " + ".join(sorted({work.phase for work in doing})) or idle,
            "cells": [work.cell for work in doing],
            "lost": round(lost, 1),
        }

    def _plan(self) -> StudyPlan | None:
        if self.plan is None:
            try:
                self.plan = StudyFolder(self.root, NAME).read_plan()
            except ValueError:
                return None
        return self.plan

    def _find_work(self, pid: int) -> list[Work]:
        """What a process does, or did when it was killed, according to its claims."""
        plan = self._plan()
        cells = {cell.id: cell for cell in plan.runnable()} if plan else {}
        locks = sorted((self.root / "claims").glob("*.lock"))
        claimed = [lock.name.removesuffix(".lock") for lock in locks if _process_of(lock) == pid]
        for name in claimed:
            if name.startswith("extractor-"):
                return [Work("extractor", name, 0.0)]
        groups = [name.removeprefix("group-") for name in claimed if name.startswith("group-")]
        for group in groups:
            members = [name for name in claimed if name in cells and cells[name].group == group]
            states = list((self.root / "stacks" / group).glob("stack.safetensors"))
            if len(members) > 1:
                saved = max(map(_modified, states), default=0.0)
                done = sum("train" in Cell(self.root / "cells" / member).steps for member in members)
                phase = (
                    "saving the models"
                    if done
                    else f"training, {'between checkpoints' if states else 'no checkpoint'}"
                )
                return [Work(f"together: {phase}", f"{members[0]} and {len(members) - 1} more", saved)]
        return [self._find_phase(cells[name]) for name in claimed if name in cells]

    def _find_phase(self, plan: CellPlan) -> Work:
        folder = self.root / "cells" / plan.id
        cell = Cell(folder)
        waiting = [step for step, digest in plan.steps.items() if not cell.is_finished(step, digest)]
        saved = _modified(folder / "cell.json")
        if not waiting:
            return Work("releasing the cell", plan.id, saved)
        if waiting[0] != "train":
            return Work(waiting[0], plan.id, saved)
        states = list(folder.glob("checkpoint-*/trainer_state.json"))
        saved = max(map(_modified, states), default=0.0)
        if (folder / "preprocessor_config.json").is_file():
            return Work("saving the model", plan.id, saved)
        return Work(f"training, {'between checkpoints' if states else 'no checkpoint'}", plan.id, saved)


def _modified(path: Path) -> float:
    """When a file was written; 0 without one."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _process_of(lock: Path) -> int | None:
    try:
        return json.loads(lock.read_text()).get("process")
    except (OSError, ValueError):
        return None


def wait_for_orphans(root: Path):
    """Wait for workers whose runner was killed: they end after their cell."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "gae_hub.study.worker" in words and str(root) in words:
            psutil.wait_procs([process])


def whole_folder(folder: Path, mode: Mode) -> Path:
    """The folder of the undisturbed run."""
    return folder / f"whole-{'together' if mode.together else 'alone'}"


class Record:
    """All kills and rounds so far, in kills.json, and for people in kills.md."""

    def __init__(self, folder: Path):
        self.folder, self.path = folder, folder / "kills.json"
        self.rounds: list[dict[str, Any]] = json.loads(self.path.read_text()) if self.path.is_file() else []

    @property
    def num_kills(self) -> int:
        return sum(len(one["kills"]) for one in self.rounds)

    def write(self):
        self.path.write_text(json.dumps(self.rounds, indent=1))
        phases: Counter[str] = Counter()
        rows = [
            "| kill | round | mode | killed | how | phase | cell | lost (s) |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for number, one in enumerate(self.rounds, 1):
            for kill in one["kills"]:
                phases[kill["phase"]] += 1
                cells = ", ".join(kill["cells"])
                row = len(rows) - 1, number, one["mode"], kill["who"], kill["how"], kill["phase"], cells, kill["lost"]
                rows.append(f"| {' | '.join(map(str, row))} |")
        ended = [one for one in self.rounds if "different" in one]
        same = [one for one in ended if is_same(one)]
        lines = [
            f"{self.num_kills} kills in {len(self.rounds)} rounds; {len(ended)} rounds have ended, and "
            f"{len(same)} of them equal the undisturbed run to the byte.",
            "",
            *("| phase | kills |", "|---|---|"),
            *(f"| {phase} | {number} |" for phase, number in sorted(phases.items())),
            "",
            *rows,
        ]
        (self.folder / "kills.md").write_text("\n".join(lines) + "\n")


def is_same(one: dict[str, Any]) -> bool:
    """Whether the results of a round that has ended equal those of the undisturbed run, with no file left over."""
    return not (one["different"] or one["missing"] or one["unfinished"])


def run_round(folder: Path, one: dict[str, Any], number: int, mode: Mode, seed: int, record: Record):
    """Run a study with its kills, and compare it with the undisturbed one."""
    whole = whole_folder(folder, mode)
    seconds = whole.with_suffix(".seconds")
    if not seconds.is_file():
        shutil.rmtree(whole, ignore_errors=True)
        seconds.write_text(str(Disturber(folder, Mode(1, mode.together), whole).run_to_the_end()))
    cut = folder / f"round-{number}"
    disturber = Disturber(folder, mode, cut)
    while len(one["kills"]) < KILLS_OF_A_ROUND:
        dice = random.Random(f"{seed} {number} {len(one['kills'])}")
        kills = disturber.kill_once(dice, 2 * float(seconds.read_text()) / KILLS_OF_A_ROUND / mode.processes)
        if kills is None:  # the study has ended
            break
        one["kills"] += kills
        record.write()
    disturber.run_to_the_end()
    wait_for_orphans(cut)
    one |= compare_runs(whole, cut)
    record.write()
    if is_same(one):
        shutil.rmtree(cut)
    print(number, mode.name, len(one["kills"]), "kills:", "same" if is_same(one) else one, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=100, help="start no further round after so many kills")
    parser.add_argument("--alone", action="store_true", help="train one by one only")
    args = parser.parse_args()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    record, modes = Record(folder), [mode for mode in MODES if not (args.alone and mode.together)]
    by_name = {mode.name: mode for mode in MODES}
    while record.num_kills < args.kills or any("different" not in one for one in record.rounds):
        if all("different" in one for one in record.rounds):
            record.rounds.append({"mode": modes[len(record.rounds) % len(modes)].name, "kills": []})
        number = next(index for index, one in enumerate(record.rounds) if "different" not in one)
        one = record.rounds[number]
        run_round(folder, one, number, by_name[one["mode"]], args.seed, record)
    record.write()
    bad = [number for number, one in enumerate(record.rounds) if not is_same(one)]
    print(f"{record.num_kills} kills in {len(record.rounds)} rounds; rounds that differ: {bad or 'none'}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
