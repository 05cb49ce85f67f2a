"""Running a study: several runners and processes, budgets, and folders that cannot be used."""

import os
import signal
import subprocess
import sys
import time

import pytest
from child_processes import child_environment
from tiny_study import quick, read_cells, read_states, run, write_study

from gae_hub import GAETrainingArguments
from gae_hub.study import runner
from gae_hub.study.execution import CellRunner
from gae_hub.study.folder import StudyFolder
from gae_hub.study.runner import _Workers, prepare_study, run_study
from gae_hub.study.status import describe_status
from gae_hub.study.worker import StudyStoppedError

# A study file, a folder, and a method that writes its process into "log" when it trains, and then may be slow or die
RUNNER = """
import os, signal, sys, time
from pathlib import Path
from gae_hub.study.execution import CellRunner
from gae_hub.study.runner import run_study
from gae_hub.study.worker import main

log = Path(os.environ["STUDY_LOG"])
save_trained = CellRunner.save_trained

def save(self, plan, cell, model):
    with log.open("a") as file:
        file.write(f"{plan.method} {plan.configuration}\\n")
    save_trained(self, plan, cell, model)

CellRunner.save_trained = save
print(run_study(sys.argv[1], sys.argv[2], progress=False), flush=True)
"""


def start(code, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**child_environment(), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_two_runners(tmp_path):
    """Two runners of one study, started together, train each cell once, and both end when all is done."""
    settings = quick(train_together=False)
    settings["methods"]["VAE"]["grid"] += [{"beta": beta} for beta in (2, 3, 4, 5)]
    path = write_study(tmp_path, settings)
    log = tmp_path / "log"
    processes = [start(RUNNER, path, tmp_path / "out", STUDY_LOG=str(log)) for _ in range(2)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0 and "{'done': 8}" in out, err[-2000:]
    trained = log.read_text().split("\n")[:-1]
    assert sorted(trained) == ["AE 1", *(f"VAE {number}" for number in range(1, 7)), "VQVAE 1"]
    assert list((tmp_path / "out" / "claims").iterdir()) == []


@pytest.mark.slow
def test_processes(tmp_path):
    """Worker processes do the same as one process, in folders with spaces, quotes and letters of other scripts."""
    settings, root = quick(train_together=False), tmp_path / "a b" / "Übung 'x' 日本" / "out"
    assert run(settings, tmp_path / "one") == {"done": 4}
    assert run(settings, root, processes=2) == {"done": 4}
    assert StudyFolder.find(root).name == "tiny"
    one, two = read_cells(tmp_path / "one"), read_cells(root)
    for name, cell in one.items():
        assert cell.folder.name == two[name].folder.name
        numbers = two[name].steps["clustering"].numbers
        assert cell.steps["clustering"].numbers == pytest.approx(numbers, abs=0.1)


# Workers that die

DYING = """
import os, sys
from pathlib import Path
from gae_hub.study.execution import CellRunner
from gae_hub.study.worker import main

train = CellRunner.train
once = Path(os.environ["STUDY_LOG"])

def die(self, plan, cell):
    with once.open("a") as file:
        file.write(f"{plan.method} ")
    if plan.method == "VAE":
        os.kill(os.getpid(), 9)
    train(self, plan, cell)

CellRunner.train = die
main()
"""


@pytest.fixture
def dying(tmp_path, monkeypatch):
    """Workers of `_Workers` that kill themselves in the cell of "VAE"."""
    monkeypatch.setenv("STUDY_LOG", str(tmp_path / "deaths"))
    popen = subprocess.Popen

    def start_worker(command, env, **options):
        assert command[1:3] == ["-m", "gae_hub.study.worker"]
        env = {**env, **{name: value for name, value in child_environment().items() if name == "PYTHONPATH"}}
        return popen([command[0], "-c", DYING, *command[3:]], env=env, **options)

    monkeypatch.setattr(runner.subprocess, "Popen", start_worker)


@pytest.mark.slow
def test_killed_workers(tmp_path, dying):
    """A killed worker is replaced. A cell in which two died counts as failed; the other cells are done."""
    methods = {"VAE": {"model": "vae"}, "AE": {"model": "ae"}}
    path = write_study(tmp_path, quick(methods=methods, train_together=False))
    folder, _, plan, _ = prepare_study(path, tmp_path / "out")
    _Workers(folder, plan, 1, 1, float("inf")).run(progress=False)
    assert read_states(tmp_path / "out") == {"VAE 1": "failed", "AE 1": "done"}
    assert (tmp_path / "deaths").read_text().split() == ["VAE", "VAE", "AE"]
    error = read_cells(tmp_path / "out")["VAE 1"].error
    assert error is not None and error["step"] == "train"
    assert "its worker was killed 2 times, by signal 9; is there enough memory?" in error["message"]


def test_all_workers_killed_at_once(tmp_path, monkeypatch):
    """They are replaced, although none is left that runs."""
    path = write_study(tmp_path, quick(methods={"AE": {"model": "ae"}}))
    folder, _, plan, _ = prepare_study(path, tmp_path / "out")
    began = []
    popen = subprocess.Popen

    def start_worker(command, **options):
        began.append(command)
        code = "import os; os.kill(os.getpid(), 9)" if len(began) <= 2 else "pass"
        return popen([sys.executable, "-c", code])

    monkeypatch.setattr(runner.subprocess, "Popen", start_worker)
    monkeypatch.setattr(runner, "POLL", 0.2)
    _Workers(folder, plan, 2, 1, float("inf")).run(progress=False)
    assert len(began) == 4


def test_workers_that_cannot_start(tmp_path, monkeypatch):
    """The study stops if its workers die before they start a cell, or end with an error."""
    path = write_study(tmp_path, quick(methods={"AE": {"model": "ae"}}))
    folder, _, plan, _ = prepare_study(path, tmp_path / "out")
    popen = subprocess.Popen
    monkeypatch.setattr(runner, "POLL", 0.05)
    for code, pattern in (
        ("import os; os.kill(os.getpid(), 11)", "were killed 4 times before they started a cell, by signal 11"),
        ("raise SystemExit(3)", "see the message above"),
    ):
        monkeypatch.setattr(
            runner.subprocess, "Popen", lambda command, code=code, **options: popen([sys.executable, "-c", code])
        )
        with pytest.raises(StudyStoppedError, match=pattern):
            _Workers(folder, plan, 2, 1, float("inf")).run(progress=False)


# Ctrl-C


SLEEPING = """
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # as workers do
try:
    print("ready", flush=True)
    time.sleep(100)
except KeyboardInterrupt:
    raise SystemExit(130)
"""


def test_interrupted_processes(tmp_path, monkeypatch):
    """Ctrl-C reaches each worker once, in its own session, and the runner waits until all have ended."""
    path = write_study(tmp_path, quick(methods={"AE": {"model": "ae"}}))
    folder, _, plan, _ = prepare_study(path, tmp_path / "out")
    popen, options = subprocess.Popen, []

    def start_worker(command, **given):
        options.append(given)
        process = popen([sys.executable, "-c", SLEEPING], stdout=subprocess.PIPE)
        process.stdout.readline()
        return process

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner.subprocess, "Popen", start_worker)
    monkeypatch.setattr(runner.time, "sleep", interrupt)
    workers = _Workers(folder, plan, 2, 1, float("inf"))
    with pytest.raises(KeyboardInterrupt):
        workers.run(progress=False)
    assert [process.returncode for process in workers.processes] == [130, 130]
    assert all(given["start_new_session"] for given in options)
    for process in workers.processes:
        process.stdout.close()


def test_a_worker_stops_without_its_runner(tmp_path):
    """Also where Ctrl-C is ignored, as it is for processes that scripts start in the background."""
    path = write_study(tmp_path, quick(methods={"AE": {"model": "ae"}}))
    folder, *_ = prepare_study(path, tmp_path / "out")
    other = os.getppid()  # not the process that starts the worker
    command = [sys.executable, "-m", "gae_hub.study.worker", str(folder.root), folder.name, str(other), "inf"]
    command = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *command, str(tmp_path / "cell")]
    assert subprocess.run(command, timeout=120).returncode == 130


INTERRUPTED = """
import sys, os, time
from pathlib import Path
import gae_hub.study.worker
from gae_hub.training.trainer import GAETrainer
from gae_hub.cli.main import main

step = GAETrainer.training_step
seen = Path(os.environ["STUDY_LOG"])

def slow(self, *args, **kwargs):
    if self.state.global_step == 6:
        seen.touch()
        time.sleep(1.0 if os.environ["STUDY_SLOW"] == "1" else 0)
    return step(self, *args, **kwargs)

GAETrainer.training_step = slow
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_interrupted(tmp_path):
    """Ctrl-C in a training ends `gae-hub study run` with a checkpoint and status 130; the same line resumes it."""
    settings = quick(methods={"AE": {"model": "ae"}}, training={"num_train_epochs": 30})
    path, seen, out = write_study(tmp_path, settings), tmp_path / "seen", tmp_path / "out"
    line = ("study", "run", path, "--output_dir", out)
    process = start(INTERRUPTED, *line, STUDY_LOG=str(seen), STUDY_SLOW="1")
    while not seen.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopped; the same line goes on" in err and "Traceback" not in err
    (cell,) = (out / "cells").iterdir()
    assert (cell / "checkpoint-7").is_dir() and list((out / "claims").iterdir()) == []
    assert read_states(out) == {"AE 1": "waiting"}

    process = start(INTERRUPTED, *line, STUDY_LOG=str(seen), STUDY_SLOW="0")
    printed, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "1 done" in printed, err
    assert not list(cell.glob("checkpoint-*"))

    # the same weights as without the interruption
    assert run(settings, tmp_path / "whole") == {"done": 1}
    whole = read_cells(tmp_path / "whole")["AE 1"].folder
    assert (whole / "model.safetensors").read_bytes() == (cell / "model.safetensors").read_bytes()


# Budgets and status


def test_budget(tmp_path, monkeypatch):
    """When the hours are over, no further cell is started, and the same line goes on later."""
    clock = [1000.0]
    monkeypatch.setattr(runner.time, "time", lambda: clock[0])
    save_trained = CellRunner.save_trained

    def save(self, plan, *args):
        clock[0] += 1800
        save_trained(self, plan, *args)

    monkeypatch.setattr(CellRunner, "save_trained", save)
    settings = quick(train_together=False, budget={"hours": 0.75})
    assert run(settings, tmp_path / "out") == {"done": 2, "waiting": 2}
    assert run(settings, tmp_path / "out") == {"done": 4}


def test_status_while_running(tmp_path, monkeypatch):
    """It names the worker, what it runs, and how long the rest will take, and writes nothing."""
    seen = []
    measure = CellRunner._measure

    def look(self, cell, step, *args):
        seen.append(describe_status(StudyFolder(self.folder, "tiny")))
        return measure(self, cell, step, *args)

    monkeypatch.setattr(CellRunner, "_measure", look)
    assert run(quick(train_together=False), tmp_path / "out") == {"done": 4}
    assert "4 cells, 1 running, 3 waiting" in seen[0]
    assert "4 cells, 2 done, 1 running, 1 waiting" in seen[2]
    assert f"process {os.getpid()} on " in seen[2] and "left with 1 process(es)" in seen[2]
    assert "4 cells, 4 done" in describe_status(StudyFolder(tmp_path / "out", "tiny"))


STATUS = """
import sys
from gae_hub.study.folder import StudyFolder
from gae_hub.study.status import describe_status
print(describe_status(StudyFolder.find(sys.argv[1])))
assert "torch" not in sys.modules and "transformers" not in sys.modules
"""


def test_status_without_torch(tmp_path):
    """It is fast: it imports neither torch nor transformers."""
    prepare_study(write_study(tmp_path, quick()), tmp_path / "out")
    process = start(STATUS, tmp_path / "out")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "4 cells, 4 waiting" in out, err


# Folders


def test_output_dir_is_a_file(tmp_path):
    path = write_study(tmp_path, quick())
    for place in (path, path / "below"):
        with pytest.raises(OSError, match="study.yaml"):
            run_study(path, place, progress=False)


def test_folder_without_a_study(tmp_path):
    """An empty folder, one that does not exist, and another study's name."""
    for place in (tmp_path, tmp_path / "none"):
        with pytest.raises(ValueError, match="holds no study; start one with gae-hub study run"):
            StudyFolder.find(place)
    prepare_study(write_study(tmp_path, quick()), tmp_path / "out")
    with pytest.raises(ValueError, match="holds no study 'other'; it holds tiny"):
        StudyFolder.find(tmp_path / "out", "other")


@pytest.mark.parametrize("name", ["plan.json", "study.yaml"])
@pytest.mark.parametrize("content", ["", "{", '{"cells": []}', "\x00"])
def test_damaged_files_of_the_study(tmp_path, name, content):
    """A damaged plan or declaration is written anew by the next run."""
    settings = quick(methods={"AE": {"model": "ae"}})
    folder, _, plan, _ = prepare_study(write_study(tmp_path, settings), tmp_path / "out")
    whole = (folder.study / name).read_text()
    (folder.study / name).write_text(content)
    prepare_study(tmp_path / "study.yaml", tmp_path / "out")
    assert (folder.study / name).read_text() == whole and folder.read_plan().digest == plan.digest


def test_unreadable_files(tmp_path):
    """A folder where the record or the lock of a cell should be does not stop the other cells."""
    settings = quick(train_together=False)
    folder, _, plan, _ = prepare_study(write_study(tmp_path, settings), tmp_path / "out")
    (folder.cell(plan.cells[0]) / "cell.json").mkdir(parents=True)
    counts = run_study(tmp_path / "study.yaml", tmp_path / "out", progress=False)
    assert counts == {"done": 4}


def test_arguments():
    for name in ("processes", "threads"):
        with pytest.raises(ValueError, match=f"{name} must be 1 or more, got 0"):
            run_study("smoke", "unused", **{name: 0})


def test_default_number_of_epochs():
    """Reports read it without torch, from a copy."""
    from gae_hub.study.collect import DEFAULT_EPOCHS

    assert GAETrainingArguments("unused").num_train_epochs == DEFAULT_EPOCHS


def test_missing_extractor_raises_before_anything_trains(tmp_path):
    settings = quick(tasks={"reconstruction": {}}, extractor=str(tmp_path / "classifier"))
    with pytest.raises(OSError, match=r"there is no extractor '.*classifier'"):
        run_study(write_study(tmp_path, settings), tmp_path / "out", progress=False)
    assert not (tmp_path / "out" / "cells").exists()


def test_extractor_is_not_loaded_if_no_task_uses_it(tmp_path):
    settings = quick(tasks={"reconstruction": {"fid": False}}, extractor=str(tmp_path / "classifier"))
    assert run_study(write_study(tmp_path, settings), tmp_path / "out", progress=False)["done"] > 0
