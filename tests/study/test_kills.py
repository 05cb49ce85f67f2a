"""A study that is killed in any phase goes on with the same line, and ends as an undisturbed one, to the byte."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from child_processes import TESTS, child_environment
from tiny_study import declare, quick, read_cells, run, write_study

from gae_hub.core.files import temporary_prefix
from gae_hub.study.claims import claim, clean_claims, holder
from gae_hub.study.collect import load_results
from gae_hub.study.execution import CellRunner
from gae_hub.study.folder import StudyFolder
from gae_hub.study.planning import MAX_STACK, make_plan
from gae_hub.study.runner import prepare_study
from gae_hub.study.stacked_trainer import StackedTrainer
from gae_hub.study.store import Cell, StepRecord
from gae_hub.study.worker import Worker, load_study_data
from gae_hub.training.checkpointing import last_checkpoint

BETAS = {"VAE": {"model": "beta_vae", "grid": [{"beta": 0.1}, {"beta": 1}, {"beta": 2}]}}


def run_driver(folder, processes):
    process = subprocess.run(
        [sys.executable, str(TESTS / "killed_study.py"), str(folder), processes],
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=140,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return json.loads(process.stdout.strip().splitlines()[-1])


def check_equal(found):
    """No number, picture or weight differs, and no file of a killed process is left."""
    assert {name: found[name] for name in ("different", "missing", "unfinished")} == {
        "different": [],
        "missing": [],
        "unfinished": [],
    }


@pytest.mark.slow
def test_a_study_survives_a_kill_in_each_phase(tmp_path):
    found = run_driver(tmp_path, "one")
    statuses = found["statuses"]
    assert statuses.pop("None") == 0
    assert {point for point, status in statuses.items() if status != -signal.SIGKILL} == set()
    assert found["repeated"] == []
    for point in ("checkpoint half written", "together, all trained"):  # after a kill in the second epoch
        assert found["first_steps"][point] == 4, point
    check_equal(found)


@pytest.mark.slow
def test_a_study_survives_kills_of_workers_and_of_the_runner(tmp_path):
    for name, found in run_driver(tmp_path, "two").items():
        expected = [-signal.SIGKILL, 0] if name == "the runner" else [0]
        assert found["statuses"] == expected, name
        check_equal(found)


@pytest.mark.slow
def test_workers_end_with_their_runner(tmp_path):
    """A runner that is killed cannot end them. They save a checkpoint in the middle of a training, and end."""
    settings = quick(methods={"VAE": {"model": "vae", "grid": [{"seed": 0}]}}, training={"num_train_epochs": 10**6})
    path, root = write_study(tmp_path, settings), tmp_path / "root"
    program = f"from gae_hub.study import run_study; run_study({str(path)!r}, {str(root)!r}, processes=2)"
    runner = subprocess.Popen([sys.executable, "-c", program], env=child_environment(), stderr=subprocess.DEVNULL)
    wait_until(lambda: list(root.glob("cells/*/checkpoint-*/trainer_state.json")))
    folder = StudyFolder(root, "tiny")
    (cell,) = folder.read_plan().runnable()
    workers = psutil.Process(runner.pid).children(recursive=True)  # the second one may take the cell over for a while
    assert holder(folder.lock(cell))["process"] in [worker.pid for worker in workers]
    runner.kill()
    runner.wait()
    wait_until(lambda: all(map(has_ended, workers)))
    assert holder(folder.lock(cell)) is None and last_checkpoint(folder.cell(cell)) is not None
    assert not Cell(folder.cell(cell)).steps


def has_ended(process):
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


# What killed workers leave


def kill_in_child(function):
    """Run a function in a child process that kills itself afterwards."""
    process = os.fork()
    if process == 0:
        try:
            function()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(process, 0)


def test_files_of_dead_workers_are_removed(tmp_path):
    def leave_files():
        claim(tmp_path / "dead.lock")
        (tmp_path / f"{temporary_prefix()}half").write_text("{")

    kill_in_child(leave_files)
    assert len(list(tmp_path.iterdir())) == 2
    with claim(tmp_path / "living.lock"):
        clean_claims(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["living.lock"]


def test_kill_during_a_second_fit_leaves_an_unchanged_cell(tmp_path):
    """A sampler that is fitted with other settings overwrites recorded files, which must not look like a forgery."""
    cell = Cell(tmp_path)
    for name in ("samplers/gmm/model.safetensors", "samplers/gmm-2/model.safetensors", "model.safetensors"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("first")
        cell.finish(name, StepRecord("digest"), [name])
    cell.forget_files("samplers/gmm")
    (tmp_path / "samplers/gmm/model.safetensors").write_text("second")
    assert Cell(tmp_path).find_changed_file(thorough=True) is None
    (tmp_path / "samplers/gmm-2/model.safetensors").write_text("second")
    assert Cell(tmp_path).find_changed_file(thorough=True) == "samplers/gmm-2/model.safetensors"


# Cells that train together


def plan_betas(num):
    """Groups of the cells of a study with so many values of beta."""
    study = declare(quick(methods={"VAE": {"model": "beta_vae", "grid": [{"beta": 1 + i} for i in range(num)]}}))
    return [cell.group for cell in make_plan(study, load_study_data(study)).cells]


def test_groups_have_fixed_cells():
    """Workers cannot choose how many models train together, on which their weights depend by rounding."""
    groups = plan_betas(MAX_STACK + 2)
    assert len(set(groups[:MAX_STACK])) == len(set(groups[MAX_STACK:])) == 1
    assert groups[0] != groups[-1] and None not in groups
    assert plan_betas(MAX_STACK + 1) == [*groups[:MAX_STACK], None]  # the last cell is alone
    assert plan_betas(2)[0] not in (None, *groups)


def test_killed_group_goes_on_with_its_cells_and_saves_what_is_left(tmp_path, monkeypatch):
    """After a kill between the savings of two models, all models are trained to the end, and one is saved."""
    settings, sizes, saved = quick(methods=BETAS), [], []
    train, save = StackedTrainer.train, CellRunner.save_trained

    def count(self, resume=False):
        sizes.append(len(self.trainers))
        return train(self, resume)

    def save_one(self, plan, cell, model):
        if len(saved) == 1:
            raise KeyboardInterrupt  # which no handler of errors catches, like a kill
        saved.append(plan.configuration)
        save(self, plan, cell, model)

    monkeypatch.setattr(StackedTrainer, "train", count)
    monkeypatch.setattr(CellRunner, "save_trained", save_one)
    with pytest.raises(KeyboardInterrupt):
        run(settings, tmp_path / "out")
    monkeypatch.setattr(CellRunner, "save_trained", save)
    assert run(settings, tmp_path / "out") == {"done": 3}
    assert sizes == [3, 3] and saved == [1]
    assert not list((tmp_path / "out" / "stacks").iterdir())


def test_error_of_a_model_that_trains_alone_belongs_to_its_cell(tmp_path, monkeypatch):
    train = StackedTrainer.train

    def diverge(self, resume=False):
        return [None, None, "diverged"] if train(self, resume) else []

    def fail(self, plan, cell):
        self.step = "train"
        raise FloatingPointError(f"configuration {plan.configuration} diverged")

    monkeypatch.setattr(StackedTrainer, "train", diverge)
    monkeypatch.setattr(CellRunner, "train", fail)
    assert run(quick(methods=BETAS), tmp_path / "out") == {"done": 2, "failed": 1}
    errors = {name: cell.error for name, cell in read_cells(tmp_path / "out").items()}
    assert [name for name, error in errors.items() if error] == ["VAE 3"]
    assert "configuration 3 diverged" in errors["VAE 3"]["message"]


def test_two_workers_do_not_divide_a_group(tmp_path):
    """Without the claim on the group, nobody trains one of its cells."""
    folder, study, plan, data = prepare_study(write_study(tmp_path, quick(methods=BETAS)), tmp_path / "out")
    group = plan.cells[0].group
    worker = Worker(folder, study, plan, data)
    with claim(folder.group_lock(group)):
        assert worker._claim_cell() is None
        assert len(worker._waiting) == 3
    assert not list((tmp_path / "out" / "claims").iterdir())
    worker.run()
    assert {cell.facts["trained_together"] for cell in load_results(folder).cells} == {3}
