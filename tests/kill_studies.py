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
from typing import Any

import psutil
from kill_commands import kill_tree, start, wait_for_imports

KILLS_OF_A_ROUND = 12
WRITES = 120  # a kill while writing hits one of so many writes of a process, if it comes so far
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


class Disturber:
    """Runs the study of a mode in a folder, and kills it.

    Args:
        folder: of this script.
        mode: of the study.
        root: the study's folder.
    """

    def __init__(self, folder: Path, mode: Mode, root: Path):
        self.root, self.log = root, folder / f"{root.name}.log"
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
        """Start the study and kill it once, or a worker of it and then all. Returns None if it ended before."""
        if self.mode.processes == 1 and dice.random() < 0.5:
            process = start(self.words, self.log, write=dice.randrange(WRITES))
            wait_for_imports(process, self.log)
            begin = time.time()
            if process.wait(timeout=3 * 3600) != -signal.SIGKILL:
                return None
            return [self._describe({process.pid}, begin, "writing", "the process")]
        process = start(self.words, self.log)
        wait_for_imports(process, self.log)
        begin, kills = time.time(), []
        if self.mode.processes > 1 and dice.random() < 0.5:
            time.sleep(dice.uniform(0, seconds))
            workers = psutil.Process(process.pid).children() if process.poll() is None else []
            if workers:
                victim = dice.choice(workers)
                victim.kill()
                kills.append(self._describe({victim.pid}, begin, "moment", "a worker"))
        time.sleep(dice.uniform(0, seconds))
        if process.poll() is not None:
            return kills or None
        if self.mode.processes > 1 and dice.random() < 0.5:
            process.kill()
            process.wait()
            return [*kills, {**self._describe({process.pid}, begin, "moment", "the runner"), "lost": 0.0}]
        family = {process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))}
        kill_tree(process)
        return [*kills, self._describe(family, begin, "moment", "all" if len(family) > 1 else "the process")]

    def _describe(self, victims: set[int], begin: float, how: str, who: str) -> dict[str, Any]:
        """Record of a kill that has just happened: what the victims were doing, and how much work is lost."""
        moment = time.time()
        doing = [found for pid in sorted(victims) for found in self._find_work(pid)]
        phases = [phase for phase, _, _ in doing] or ["no cell claimed" if self._plan() else "loading data, planning"]
        lost = sum(moment - max(begin, saved) for _, _, saved in doing) if doing else moment - begin
        return {
            "how": how,
            "who": who,
            "phase": phases[0] if len(set(phases)) == 1 else " + ".join(sorted(set(phases))),
            "cells": [cell for _, cell, _ in doing],
            "lost": round(lost, 1),
        }

    def _plan(self) -> Any:
        from gae_hub.study.folder import StudyFolder

        try:
            return StudyFolder(self.root, NAME).read_plan()
        except ValueError:
            return None

    def _find_work(self, pid: int) -> list[tuple[str, str, float]]:
        """Phase, cell, and time of the last state that was saved, of each claim of a dead process."""
        plan, found = self._plan(), []
        cells = {cell.id: cell for cell in plan.runnable()} if plan else {}
        locks = sorted((self.root / "claims").glob("*.lock"))
        claimed = [lock.name.removesuffix(".lock") for lock in locks if _process_of(lock) == pid]
        for name in claimed:
            if name not in cells:
                return [("extractor", name, 0.0)]
            found.append(self._find_phase(cells[name]))
        return found

    def _find_phase(self, plan: Any) -> tuple[str, str, float]:
        from gae_hub.study.store import Cell

        folder = self.root / "cells" / plan.id
        cell = Cell(folder)
        waiting = [step for step, digest in plan.steps.items() if not cell.is_finished(step, digest)]
        saved = max([path.stat().st_mtime for path in (folder / "cell.json",) if path.is_file()], default=0.0)
        if not waiting:
            return "releasing the cell", plan.id, saved
        if waiting[0] != "train":
            return waiting[0], plan.id, saved
        states = list(folder.glob("checkpoint-*/trainer_state.json"))
        saved = max((path.stat().st_mtime for path in states), default=0.0)
        if (folder / "config.json").is_file():
            return "saving the model", plan.id, saved
        return ("training, between checkpoints" if states else "training, no checkpoint"), plan.id, saved


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
    from study_outcomes import compare_runs

    whole = folder / f"whole-{'together' if mode.together else 'alone'}"
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
