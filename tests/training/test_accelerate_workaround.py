"""Optimizer steps do not search for lomo_optim, and are otherwise those of accelerate."""

import sys

import accelerate
import pytest
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from cases import VAE
from trainers import make_trainer, same_state

from gae_hub.training import accelerate_workaround
from gae_hub.training.accelerate_workaround import skip_package_search


@pytest.fixture
def searches(monkeypatch):
    """Names of the packages that Python searches for."""
    found = []

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            found.append(name)

    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    return found


def train(folder, searches, num_steps):
    """A trained model, and how often its training searched for lomo_optim."""
    trainer = make_trainer(folder, VAE.build(), max_steps=num_steps)
    searches.clear()
    trainer.train()
    return trainer.model, searches.count("lomo_optim")


def test_training_searches_once_for_all_steps(tmp_path, searches):
    searched = [train(tmp_path / str(steps), searches, steps)[1] for steps in (2, 6)]
    assert searched[0] == searched[1] and "lomo_optim" not in sys.modules


def test_accelerate_still_needs_the_workaround(tmp_path, searches, monkeypatch):
    """If this fails, delete accelerate_workaround.py. Without it, a step searches twice and gives the same weights."""
    plain, _ = train(tmp_path / "with", searches, 6)
    monkeypatch.setattr(accelerate_workaround, "FIRST_UNKNOWN", accelerate_workaround.FIRST_AFFECTED)
    model, searched = train(tmp_path / "without", searches, 6)
    assert searched >= 2 * 6 and same_state(model, plain)


def test_the_installed_version_is_known():
    """If this fails, compare `AcceleratedOptimizer.step` with `_step`, and raise FIRST_UNKNOWN."""
    version = accelerate_workaround.Version(accelerate.__version__)
    assert accelerate_workaround.FIRST_AFFECTED <= version < accelerate_workaround.FIRST_UNKNOWN


@pytest.mark.parametrize("case", ["scaler", "another version", "lomo_optim installed", "not prepared"])
def test_other_optimizers_stay_as_they_are(monkeypatch, case):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    if case != "not prepared":
        optimizer = Accelerator(cpu=True).prepare(optimizer)
    if case == "scaler":
        optimizer.scaler = torch.amp.GradScaler("cpu")
    elif case == "another version":
        monkeypatch.setattr(accelerate, "__version__", "1.16.0")
    elif case == "lomo_optim installed":
        monkeypatch.setattr(accelerate_workaround, "is_lomo_available", lambda: True)
    before = vars(optimizer).get("step")
    skip_package_search(optimizer)
    assert vars(optimizer).get("step") is before


def test_one_optimizer_is_changed_once():
    changed, other = (
        Accelerator(cpu=True).prepare(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)) for _ in range(2)
    )
    skip_package_search(changed)
    step = changed.step
    assert "step" in vars(changed) and "step" not in vars(other)
    assert AcceleratedOptimizer.step.__module__ == "accelerate.optimizer"
    skip_package_search(changed)
    assert changed.step is step


def test_a_step_waits_for_accumulated_gradients():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = Accelerator(cpu=True).prepare(torch.optim.SGD([parameter], lr=1.0))
    skip_package_search(optimizer)
    parameter.grad = torch.ones(1)
    optimizer.gradient_state._set_sync_gradients(False)
    try:
        optimizer.step()
        assert parameter.item() == 0
    finally:
        optimizer.gradient_state._set_sync_gradients(True)
    optimizer.step()
    assert parameter.item() == -1
