"""A run that was interrupted, killed or moved ends as if it had not been: weights, log, patience and settings."""

import json
import os
import shutil
import socket
import time

import pytest
from cases import images
from trainers import make_trainer, same_state
from transformers import EarlyStoppingCallback, TrainerCallback

from gae_hub.training.run_lock import LOCK_FILE, RunLock

DATA, VALIDATION = images(50), images(10, seed=1)


class InterruptAt(TrainerCallback):
    """Presses Ctrl-C in a step."""

    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step + 1 == self.step:
            os.kill(os.getpid(), 2)


def trainer_with(folder, callbacks=(), **changes):
    """50 images in batches of 10: five steps an epoch."""
    fields = {"per_device_train_batch_size": 10, "eval_strategy": "steps", "eval_steps": 2, "logging_steps": 3}
    return make_trainer(folder, data=DATA, eval_data=VALIDATION, callbacks=callbacks, **{**fields, **changes})


def logged(trainer):
    """The log without times and gradient norms."""
    other = ("runtime", "per_second", "grad_norm")  # the norm of the last gradient is not in a checkpoint
    return [
        {name: value for name, value in entry.items() if not name.endswith(other)}
        for entry in trainer.state.log_history
    ]


LENGTHS = pytest.mark.parametrize(
    ("length", "last_step"),
    [({"max_steps": 8}, 8), ({"num_train_epochs": 1.6}, 8), ({"num_train_epochs": 2}, 10), ({"max_steps": 7}, 7)],
    ids=["max_steps", "part of an epoch", "whole epochs", "between checkpoints"],
)


@LENGTHS
@pytest.mark.parametrize("strategy", ["steps", "epoch"])
def test_resuming_a_finished_run_changes_nothing(tmp_path, length, last_step, strategy):
    first = trainer_with(tmp_path, eval_strategy=strategy, **length)
    first.train()
    second = trainer_with(tmp_path, eval_strategy=strategy, **length)
    second.train(resume_from_checkpoint=True)
    last_saved = last_step if strategy == "epoch" else last_step - last_step % 2
    assert first.state.global_step == second.state.global_step == last_step >= last_saved
    assert same_state(first.model, second.model)
    final = [run.state.log_history[-1]["train_loss"] for run in (first, second)]
    assert final[1] == pytest.approx(final[0], rel=1e-6)


@pytest.mark.parametrize(
    ("length", "last_step", "interrupted_at"),
    [
        ({"max_steps": 8}, 8, 1),
        ({"max_steps": 8}, 8, 8),
        ({"num_train_epochs": 1.6}, 8, 4),
        ({"num_train_epochs": 2}, 10, 10),
        ({"max_steps": 7}, 7, 7),
    ],
)
def test_an_interrupted_run_has_the_weights_and_the_log_of_a_whole_one(tmp_path, length, last_step, interrupted_at):
    whole = trainer_with(tmp_path / "whole", **length)
    whole.train()
    with pytest.raises(KeyboardInterrupt):
        trainer_with(tmp_path / "cut", [InterruptAt(interrupted_at)], **length).train()
    resumed = trainer_with(tmp_path / "cut", **length)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == last_step and same_state(resumed.model, whole.model)
    first, second = logged(whole), logged(resumed)
    assert [entry["step"] for entry in first] == [entry["step"] for entry in second]
    for one, other in zip(first, second, strict=True):
        assert other == pytest.approx(one, rel=1e-6)


def test_a_longer_run_continues_a_finished_one(tmp_path):
    trainer_with(tmp_path, max_steps=8).train()
    longer = trainer_with(tmp_path, max_steps=12)
    longer.train(resume_from_checkpoint=True)
    assert longer.state.global_step == 12


# Callbacks


class NeverBetter(TrainerCallback):
    """Makes each evaluation worse than the last, so that early stopping counts them."""

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        metrics["eval_loss"] = 1000.0 + state.global_step


def test_early_stopping_keeps_its_patience(tmp_path):
    def make(*more):
        return trainer_with(tmp_path, [NeverBetter(), EarlyStoppingCallback(3), *more], max_steps=30)

    with pytest.raises(KeyboardInterrupt):
        make(InterruptAt(5)).train()
    resumed = make()
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 8  # evaluations at 2 (the best), 4, 6 and 8
    again = make()
    again.train(resume_from_checkpoint=True)
    assert again.state.global_step == 8


def test_a_callback_may_be_added_on_resume(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        trainer_with(tmp_path, [InterruptAt(3)], max_steps=8).train()
    resumed = trainer_with(tmp_path, [EarlyStoppingCallback(50)], max_steps=8)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 8


# Settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 1e-5}, "learning_rate was 0.001 and is 1e-05"),
        ({"weight_decay": 0.5}, "weight_decay was 0.0 and is 0.5"),
        ({"seed": 3}, "seed was 0 and is 3"),
        ({"per_device_train_batch_size": 5}, "per_device_train_batch_size was 10 and is 5"),
        ({"lr_scheduler_type": "cosine"}, "lr_scheduler_type was 'constant' and is 'cosine'"),
        ({"ema_decay": 0.9}, "ema_decay was 0.0 and is 0.9"),
        ({"group_learning_rates": {"decoder": 1e-4}}, "group_learning_rates was None and is"),
    ],
)
def test_settings_that_are_part_of_the_state_must_be_equal(tmp_path, changes, message):
    trainer_with(tmp_path, max_steps=4).train()
    with pytest.raises(ValueError, match=f"belongs to a run with other settings: .*{message}"):
        trainer_with(tmp_path, max_steps=8, **changes).train(resume_from_checkpoint=True)
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]


def test_the_best_model_is_loaded_only_where_evaluations_are_saved(tmp_path):
    assert trainer_with(tmp_path).args.load_best_model_at_end is True
    assert trainer_with(tmp_path, save_strategy="best").args.load_best_model_at_end is True
    for changes in ({"save_strategy": "no"}, {"save_strategy": "epoch"}, {"save_strategy": "steps", "save_steps": 3}):
        assert trainer_with(tmp_path, **changes).args.load_best_model_at_end is False
    trainer_with(tmp_path / "run", save_strategy="no", max_steps=3).train()


# Folders


def test_checkpoints_are_deleted_by_their_step(tmp_path):
    """The clock was set back: later checkpoints look older."""

    class SetClockBack(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            past = time.time() - 1000 * state.global_step
            os.utime(tmp_path / f"checkpoint-{state.global_step}", (past, past))

    trainer_with(tmp_path, [SetClockBack()], max_steps=10, save_total_limit=2, load_best_model_at_end=False).train()
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-10", "checkpoint-8"]


def test_a_run_that_was_moved_keeps_its_best_checkpoint(tmp_path, caplog):
    class BestFirst(TrainerCallback):
        def on_evaluate(self, args, state, control, metrics=None, **kwargs):
            metrics["eval_loss"] = float(state.global_step)

    first = trainer_with(tmp_path / "old", [BestFirst()], max_steps=6)
    first.train()
    shutil.move(tmp_path / "old", tmp_path / "new")
    resumed = trainer_with(tmp_path / "new", [BestFirst()], max_steps=8)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.best_model_checkpoint == str(tmp_path / "new" / "checkpoint-2")
    assert same_state(first.model, resumed.model) and "best checkpoint" not in caplog.text


def test_unfinished_files_are_deleted_on_resume(tmp_path):
    trainer_with(tmp_path, max_steps=4).train()
    for name in (".saving-x", "checkpoint-4/.saving-y", "checkpoint-6"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"half")
    trainer_with(tmp_path, max_steps=5).train(resume_from_checkpoint=True)
    assert not list(tmp_path.rglob(".saving-*")) and not (tmp_path / "checkpoint-6").exists()


# The lock


def test_two_trainings_cannot_share_a_folder(tmp_path):
    with RunLock(tmp_path):
        message = f"is in use by process {os.getpid()} on {socket.gethostname()}"
        with pytest.raises(ValueError, match=message):
            trainer_with(tmp_path, max_steps=2).train()
        assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]
    trainer_with(tmp_path, max_steps=2).train()
    assert not (tmp_path / LOCK_FILE).exists()


def test_the_lock_is_released_after_an_error(tmp_path):
    class Fail(TrainerCallback):
        def on_step_end(self, *args, **kwargs):
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        trainer_with(tmp_path, [Fail()]).train()
    assert not (tmp_path / LOCK_FILE).exists()


@pytest.mark.parametrize(
    ("changes", "is_stale"),
    [
        ({"process": 2**22 + 1}, True),
        ({"started": 1.0}, True),  # another process has the id now
        ({"host": "elsewhere", "process": 2**22 + 1}, False),
        ({}, False),
    ],
)
def test_a_stale_lock_is_taken_over(tmp_path, caplog, changes, is_stale):
    lock = RunLock(tmp_path)
    with lock:
        holder = json.loads(lock.path.read_text())
    lock.path.write_text(json.dumps(holder | changes))
    if is_stale:
        with RunLock(tmp_path):
            assert json.loads(lock.path.read_text()) == holder
        assert not list(tmp_path.iterdir())
    else:
        with pytest.raises(ValueError, match="is in use by process"), RunLock(tmp_path):
            pass
        assert lock.path.exists()


@pytest.mark.parametrize("content", ["", "[]", '{"process": "x"}', "[" * 3000])
def test_a_lock_that_cannot_be_read_is_respected(tmp_path, content):
    (tmp_path / LOCK_FILE).write_text(content)
    with pytest.raises(ValueError, match="is in use by an unknown process"), RunLock(tmp_path):
        pass
