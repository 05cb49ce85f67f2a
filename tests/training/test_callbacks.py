"""Schedules, the progress bar, Ctrl-C, and the weak reference to the trainer."""

import gc
import os
import re
import signal
import weakref
from copy import deepcopy

import pytest
from cases import VAE, images
from trainers import make_trainer

from gae_hub import VAEModel
from gae_hub.training.callbacks import TrainerAwareCallback

EVAL = images(8, seed=1)


def test_progress_rises_in_training_and_is_1_in_evaluation(tmp_path):
    seen = {True: [], False: []}

    class Recording(VAEModel):
        def forward(self, pixel_values, return_loss=True, generator=None):
            seen[self.training].append(self.progress.item())
            return super().forward(pixel_values, return_loss, generator)

    trainer = make_trainer(tmp_path, Recording(VAE.build().config), eval_data=EVAL)
    trainer.train()
    assert seen[True] == pytest.approx([step / 6 for step in range(6)]) and set(seen[False]) == {1.0}
    assert trainer.model.progress == 1


def test_the_bar_shows_terms_and_evaluations(tmp_path, capsys):
    make_trainer(tmp_path, eval_data=EVAL, disable_tqdm=False).train()
    captured = capsys.readouterr()
    assert re.search(
        r"epoch 1  train: loss [\d.]+  reconstruction [\d.]+  kl [\d.]+  active_units [\d.]+  "
        r"latent_rms [\d.]+  \|  validation: loss",
        captured.out,
    )
    assert "6/6" in captured.err and "Writing model shards" not in captured.err


def test_the_second_ctrl_c_raises_and_the_handler_is_restored(tmp_path):
    previous = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), make_trainer(tmp_path).interrupt.handle_sigint():
        os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is not previous
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is previous


def test_a_deleted_trainer_is_freed_without_the_garbage_collector(tmp_path):
    trainer = make_trainer(tmp_path, eval_data=EVAL, max_steps=2, image_interval=1)
    trainer.train()
    reference = weakref.ref(trainer)
    callback = next(c for c in trainer.callback_handler.callbacks if isinstance(c, TrainerAwareCallback))
    gc.disable()
    try:
        del trainer
        assert reference() is None
    finally:
        gc.enable()
    with pytest.raises(ReferenceError, match=r"the trainer of this \w+ no longer exists"):
        _ = callback.trainer


def test_callbacks_of_a_copied_trainer_refer_to_the_copy(tmp_path):
    """Searches over hyperparameters copy trainers to other processes."""
    trainer = make_trainer(tmp_path, eval_data=EVAL, max_steps=2, image_interval=1)
    copy = deepcopy(trainer)
    callbacks = [c for c in copy.callback_handler.callbacks if isinstance(c, TrainerAwareCallback)]
    assert len(callbacks) == 2 and all(callback.trainer is copy for callback in callbacks)
    copy.train()
    assert copy.state.global_step == 2 and trainer.state.global_step == 0
