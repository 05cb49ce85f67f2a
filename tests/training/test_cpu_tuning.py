"""What training asks of its process: memory, the garbage collector, the import system."""

import gc
import os
import platform
import subprocess
import sys
import weakref
from copy import deepcopy
from importlib.util import find_spec

import pytest
from cases import VAE, images

from gae_hub import GAETrainer, GAETrainingArguments
from gae_hub.training.cpu_tuning import known_absent, only_new_garbage
from gae_hub.training.trainer import _TRAINED

CODE = """
import resource, sys, torch
from gae_hub.training.cpu_tuning import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for size in range(200_000, 4_000_000, 200_000):
        tensors = [torch.empty(size).fill_(1.0) for _ in range(8)]
        del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


def page_faults(how: str) -> int:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", CODE, how]
    return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def test_what_a_step_frees_is_not_faulted_in_again():
    """Eight tensors at a time, of many sizes: how much of them glibc itself keeps depends on what lies behind them."""
    kept, given_back = page_faults("keep"), page_faults("default")
    assert platform.libc_ver()[0] != "glibc" or kept < given_back / 4


def test_what_is_absent_is_not_searched_for():
    finders, searched = sys.meta_path[:], []

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            searched.append(name)

    sys.meta_path.insert(0, Finder)
    try:
        with known_absent("gae_hub_of_tomorrow"):
            del searched[:]
            with pytest.raises(ImportError):
                import gae_hub_of_tomorrow  # noqa: F401
            assert find_spec("gae_hub_of_tomorrow") is None and not searched
        assert find_spec("gae_hub_of_tomorrow") is None and searched  # afterwards it may be installed
        with known_absent("json"), known_absent("colorsys"):  # one that is imported, one that could be
            import colorsys
            import json

            assert json.loads("1") and colorsys.rgb_to_hsv(0, 0, 0)
    finally:
        sys.meta_path[:] = finders


class Loop:
    def __init__(self):
        self.own = self


def test_old_garbage_waits():
    """What was there before is passed over, and what is made within is collected as always."""
    old = weakref.ref(Loop())
    with only_new_garbage():
        gc.collect()
        assert old() is not None
        new = weakref.ref(Loop())
        gc.collect()
        assert new() is None
    gc.collect()
    assert old() is None and not gc.get_freeze_count()
    gc.freeze()
    try:
        count = gc.get_freeze_count()
        with only_new_garbage():  # somebody else's is left as it is
            pass
        assert gc.get_freeze_count() > 0.9 * count  # some may die meanwhile
    finally:
        gc.unfreeze()
    with only_new_garbage(False):
        assert gc.get_freeze_count() == 0


def test_a_trainer_is_freed_as_soon_as_nobody_holds_it(tmp_path, monkeypatch):
    """Without the garbage collector; while its model is there, the next one's collection looks at everything."""
    spared, collect = [], gc.collect

    def counted(*args):
        spared.append(gc.get_freeze_count() > 0)
        return collect(*args)

    def run(folder, model=None):
        args = GAETrainingArguments(
            str(tmp_path / folder),
            max_steps=2,
            image_interval=1,
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = GAETrainer(model or VAE.build(), args, train_dataset=images(8), eval_dataset=images(8))
        with monkeypatch.context() as patch:
            patch.setattr(gc, "collect", counted)
            trainer.train()
        return trainer

    for model in [*_TRAINED]:  # of other tests
        _TRAINED.discard(model)

    collect()
    gc.disable()
    try:
        first = run("first")
        seen, model = weakref.ref(first), first.model
        del first
        assert seen() is None
        run("again", model)
        run("other")
        del model
        run("last")
        assert spared == [True, True, False, True]
    finally:
        gc.enable()


def test_a_copy_of_a_trainer_has_callbacks_of_its_own(tmp_path):
    """Searches over settings copy trainers to other processes."""
    args = GAETrainingArguments(str(tmp_path), max_steps=2, image_interval=1, disable_tqdm=True, use_cpu=True)
    trainer = GAETrainer(VAE.build(), args, train_dataset=images(8), eval_dataset=images(8))
    copy = deepcopy(trainer)
    served = [c.trainer for c in copy.callback_handler.callbacks if hasattr(c, "served")]
    assert len(served) == 2 and all(other is copy for other in served)
    copy.train()
    assert copy.state.global_step == 2 and trainer.state.global_step == 0
