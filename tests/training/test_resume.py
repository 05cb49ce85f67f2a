"""A run that was interrupted, killed or moved ends as if it had not been: weights, log, patience and settings."""

import json
import os
import shutil
import socket
import time
from pathlib import Path

import psutil
import pytest
import torch
from cases import MODELS, ROWS, VAE, images
from trainers import make_arguments, make_trainer, same_state
from transformers import EarlyStoppingCallback, TrainerCallback

from gae_hub import GAETrainer, load_images
from gae_hub.data import split_reading
from gae_hub.data.datasets import OnDemandDataset
from gae_hub.training.checkpointing import is_complete, load_tree, save_tree
from gae_hub.training.output_folder import delete_old_checkpoints
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
    """The log without times."""
    other = ("runtime", "per_second")
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


def test_a_resumed_run_sees_the_same_binary_pixels(tmp_path, monkeypatch):
    """They are drawn whenever a batch is read, and equal in each epoch."""
    monkeypatch.setattr(split_reading, "MEMORY_SHARE", 0)

    def trainer(name, *callbacks):
        data = load_images(DATA, binarize="stochastic")
        assert isinstance(data, OnDemandDataset)
        return make_trainer(tmp_path / name, data=data, callbacks=callbacks)

    whole = trainer("whole")
    whole.train()
    with pytest.raises(KeyboardInterrupt):
        trainer("cut", InterruptAt(9)).train()
    resumed = trainer("cut")
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 14 and same_state(resumed.model, whole.model)


def test_the_duration_and_rates_of_a_resumed_run_cover_all_its_sessions(tmp_path):
    trainer_with(tmp_path, max_steps=4).train()
    file = tmp_path / "checkpoint-4" / "run_cost.safetensors"
    save_tree({**load_tree(file), "seconds": 1000.0}, file)
    resumed = trainer_with(tmp_path, max_steps=8)
    metrics = resumed.train(resume_from_checkpoint=True).metrics
    assert resumed.state.log_history[-1].items() >= metrics.items()
    assert 1000 < metrics["train_runtime"] < 1100
    assert metrics["train_steps_per_second"] == pytest.approx(8 / metrics["train_runtime"], abs=1e-3)
    assert metrics["train_samples_per_second"] == pytest.approx(80 / metrics["train_runtime"], abs=1e-3)


def test_a_longer_run_continues_a_finished_one(tmp_path):
    trainer_with(tmp_path, max_steps=8).train()
    longer = trainer_with(tmp_path, max_steps=12)
    longer.train(resume_from_checkpoint=True)
    assert longer.state.global_step == 12


class Stop(TrainerCallback):
    """Ends the process, as a kill would, after the last step of an epoch, before its evaluation."""

    def on_epoch_end(self, args, state, control, **kwargs):
        raise InterruptedError


@pytest.mark.parametrize("num_epochs", [1, 4])
def test_an_epoch_whose_evaluation_was_killed_is_evaluated_on_resume(tmp_path, num_epochs):
    """The schedule halves the learning rate after each evaluation, so a missing one changes the weights."""
    fields = {
        "eval_strategy": "epoch",
        "save_strategy": "steps",
        "save_steps": 5,
        "num_train_epochs": num_epochs,
        "lr_scheduler_type": "reduce_lr_on_plateau",
        "lr_scheduler_kwargs": {"factor": 0.5, "patience": 0},
    }
    whole = trainer_with(tmp_path / "whole", [NeverBetter()], **fields)
    whole.train()
    with pytest.raises(InterruptedError):
        trainer_with(tmp_path / "cut", [NeverBetter(), Stop()], **fields).train()
    resumed = trainer_with(tmp_path / "cut", [NeverBetter()], **fields)
    resumed.train(resume_from_checkpoint=True)
    assert same_state(whole.model, resumed.model)
    steps = [[e["step"] for e in run.state.log_history if "eval_loss" in e] for run in (whole, resumed)]
    assert steps[0] == steps[1] == [5, 10, 15, 20][:num_epochs]


def test_the_log_of_an_epoch_that_is_ended_on_resume(tmp_path):
    """Its gradient norm and learning rate are those of the last step, which a checkpoint holds."""
    fields = {"eval_strategy": "epoch", "save_strategy": "steps", "save_steps": 5, "num_train_epochs": 2}
    fields |= {"logging_strategy": "epoch", "lr_scheduler_type": "linear"}
    whole = trainer_with(tmp_path / "whole", **fields)
    whole.train()
    with pytest.raises(InterruptedError):
        trainer_with(tmp_path / "cut", [Stop()], **fields).train()
    resumed = trainer_with(tmp_path / "cut", **fields)
    resumed.train(resume_from_checkpoint=True)
    first, second = logged(whole), logged(resumed)
    assert len(first) == len(second) and first[0]["step"] == 5 and {"grad_norm", "learning_rate"} <= first[0].keys()
    for one, other in zip(first, second, strict=True):
        assert other == pytest.approx(one, rel=1e-6)


def test_a_last_step_of_other_types_raises(tmp_path):
    trainer_with(tmp_path, max_steps=4).train()
    file = tmp_path / "checkpoint-4" / "rng_state_0.safetensors"
    save_tree({**load_tree(file), "last_step": {"grad_norm": "text"}}, file)
    with pytest.raises(ValueError, match="does not fit this run: last_step must be numbers, got"):
        trainer_with(tmp_path, max_steps=8).train(resume_from_checkpoint=True)


def test_a_checkpoint_beyond_the_end_raises(tmp_path):
    trainer_with(tmp_path, max_steps=8).train()
    with pytest.raises(ValueError, match="saved at step 8, and max_steps or num_train_epochs end the run at step 4"):
        trainer_with(tmp_path, max_steps=4).train(resume_from_checkpoint=True)


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
    patient = trainer_with(tmp_path, [NeverBetter(), EarlyStoppingCallback(5)], max_steps=30)
    patient.train(resume_from_checkpoint=True)
    assert patient.state.global_step == 12


def test_a_run_that_a_callback_stopped_can_be_resumed(tmp_path):
    """For example a limit of time."""

    class Limit(TrainerCallback):
        def __init__(self, step):
            self.step = step

        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = control.should_save = state.global_step >= self.step

    trainer_with(tmp_path, [Limit(4)], max_steps=10).train()
    resumed = trainer_with(tmp_path, [Limit(9)], max_steps=10)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 9


def test_early_stopping_needs_evaluations(tmp_path):
    with pytest.raises(ValueError, match="EarlyStoppingCallback follows the validation loss: pass an eval_dataset"):
        make_trainer(tmp_path, callbacks=[EarlyStoppingCallback(1)]).train()
    callbacks = [NeverBetter(), EarlyStoppingCallback(1)]
    trainer = trainer_with(tmp_path, callbacks, max_steps=8, save_strategy="no")  # no best model
    trainer.train()
    assert trainer.state.global_step == 4 and trainer.args.greater_is_better is False


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


def test_a_run_of_another_method_is_not_continued(tmp_path):
    """Its weights have the same names and shapes."""
    trainer_with(tmp_path, max_steps=4).train()
    other = trainer_with(tmp_path, model=ROWS["beta_vae"].build(beta=1.0), max_steps=8)
    with pytest.raises(ValueError, match="other settings: model_type was 'gae_vae' and is 'gae_beta_vae'"):
        other.train(resume_from_checkpoint="auto")


def test_intervals_may_change_on_resume(tmp_path, caplog):
    trainer_with(tmp_path, max_steps=4).train()
    resumed = trainer_with(tmp_path, max_steps=12, eval_steps=4, logging_steps=4)
    resumed.train(resume_from_checkpoint=True)
    log = resumed.state.log_history
    assert [entry["step"] for entry in log if "eval_loss" in entry] == [2, 4, 8, 12]
    assert [entry["step"] for entry in log if "loss" in entry] == [3, 5, 8, 10, 12]  # and the ends of epochs
    assert "do not match" not in caplog.text


def test_settings_that_change_the_result_are_reported(tmp_path, caplog):
    trainer_with(tmp_path, max_steps=4).train()
    trainer_with(tmp_path, max_steps=6, max_grad_norm=1.0).train(resume_from_checkpoint=True)
    assert "max_grad_norm was 0.0 and is 1.0 after step 4, where the run is resumed" in caplog.text
    resumed = trainer_with(tmp_path, max_steps=6, max_grad_norm=1.0)
    resumed.train(resume_from_checkpoint=True)
    reported = resumed.model.facts["warnings"]["changed settings"]
    assert reported == "max_steps was 4 and is 6 after step 4; max_grad_norm was 0.0 and is 1.0 after step 4"
    trainer_with(tmp_path, max_steps=6, overwrite_output_dir=True).train()
    assert resumed.collect_facts()["warnings"].keys() >= {"changed settings"}


def test_the_config_must_be_equal(tmp_path):
    case = next(case for case in MODELS if case.id == "beta_vae")
    make_trainer(tmp_path, case.build(beta=1.0), max_steps=2).train()
    with pytest.raises(ValueError, match=r"other settings: beta was 1\.0 and is 4\.0\. Resume with the settings"):
        make_trainer(tmp_path, case.build(beta=4.0), max_steps=4).train(resume_from_checkpoint=True)
    wide = case.build(beta=1.0, encoder_config={"hidden_sizes": [32]})
    with pytest.raises(ValueError, match=r"encoder_config\.hidden_sizes was \[16\] and is \[32\]"):
        make_trainer(tmp_path, wide, max_steps=4).train(resume_from_checkpoint=True)


def test_the_settings_of_a_given_optimizer_must_be_equal(tmp_path):
    def make(rate, momentum=0.0):
        model = VAE.build()
        optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum)
        args = make_arguments(tmp_path, max_steps=6)
        return GAETrainer(model, args, train_dataset=images(24), optimizers=(optimizer, None))

    make(1e-3).train()
    with pytest.raises(ValueError, match="the learning rate of parameter group '0' .* was 0.001 and is 1e-06"):
        make(1e-6).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    with pytest.raises(ValueError, match=r"momentum of parameter group '0' .* was 0\.0 and is 0\.9"):
        make(1e-3, 0.9).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    make(1e-3).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))


def test_the_data_must_have_the_same_size(tmp_path):
    make_trainer(tmp_path, data=images(24), max_steps=4).train()
    with pytest.raises(ValueError, match="train_dataset had 24 images and has 23"):
        make_trainer(tmp_path, data=images(23), max_steps=8).train(resume_from_checkpoint=True)


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


def test_checkpoints_after_the_resumed_one_are_deleted_first(tmp_path):
    """Otherwise each new checkpoint would be the oldest."""
    trainer_with(tmp_path, max_steps=10, load_best_model_at_end=False).train()
    saved = []

    class Record(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            saved.append(sorted(int(path.name.split("-")[1]) for path in tmp_path.glob("checkpoint-*")))

    fields = {"max_steps": 10, "save_total_limit": 2, "load_best_model_at_end": False}
    trainer_with(tmp_path, [Record()], **fields).train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert saved == [[2, 4], [4, 6], [6, 8], [8, 10]]


@pytest.mark.parametrize(
    ("limit", "step", "best", "kept"),
    [
        (None, 8, 2, [2, 4, 6, 8]),
        (1, 8, None, [8]),
        (1, 8, 2, [2, 8]),
        (3, 8, 2, [2, 6, 8]),
        (2, 4, 2, [2, 4]),
        (3, 4, None, [2, 4, 8]),
    ],
)
def test_which_checkpoints_are_kept(tmp_path, limit, step, best, kept):
    for number in (2, 4, 6, 8):
        (tmp_path / f"checkpoint-{number}").mkdir()
    delete_old_checkpoints(tmp_path, limit, step, best)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"checkpoint-{number}" for number in kept]


@pytest.mark.parametrize("limit", [1, 2])
def test_a_kill_while_a_checkpoint_is_deleted_leaves_an_incomplete_one(tmp_path, monkeypatch, limit):
    """With a limit of 1, transformers deletes the newest checkpoint at the end of a run."""
    left, rmtree = [], shutil.rmtree

    def cut(path, *args, **kwargs):
        if not Path(path).name.startswith("checkpoint-"):
            return rmtree(path, *args, **kwargs)
        left.append(Path(path))
        raise InterruptedError

    monkeypatch.setattr(shutil, "rmtree", cut)
    with pytest.raises(InterruptedError):
        trainer_with(tmp_path, [NeverBetter()], max_steps=4 if limit == 1 else 8, save_total_limit=limit).train()
    assert len(left) == 1 and left[0].is_dir() and not is_complete(left[0])


def test_a_run_is_not_mixed_with_the_run_in_another_folder(tmp_path):
    for name, last_step in (("a", 4), ("b", 8)):
        trainer_with(tmp_path / name, max_steps=last_step).train()
    checkpoint = str(tmp_path / "a" / "checkpoint-2")
    with pytest.raises(ValueError, match="already contains a run"):
        trainer_with(tmp_path / "b", max_steps=6).train(resume_from_checkpoint=checkpoint)
    trainer_with(tmp_path / "b", max_steps=6, overwrite_output_dir=True).train(resume_from_checkpoint=checkpoint)
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["checkpoint-4", "checkpoint-6"]


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


def test_a_change_of_the_clock_does_not_free_a_lock(tmp_path, monkeypatch):
    """Linux tells when a process started in ticks, and psutil adds the time of the start of the system."""
    with RunLock(tmp_path):
        real = psutil.Process.create_time
        monkeypatch.setattr(psutil.Process, "create_time", lambda self: real(self) - 1000)
        with pytest.raises(ValueError, match="is in use by process"), RunLock(tmp_path):
            pass


def test_the_lock_of_a_process_that_nobody_waited_for_is_taken_over(tmp_path):
    process = os.fork()
    if process == 0:
        RunLock(tmp_path).__enter__()
        os._exit(0)
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)  # it has ended, and stays in the table of processes
    try:
        with RunLock(tmp_path):
            pass
    finally:
        os.waitpid(process, 0)


@pytest.mark.parametrize("content", ["", "[]", '{"process": "x"}', "[" * 3000])
def test_a_lock_that_cannot_be_read_is_respected(tmp_path, content):
    (tmp_path / LOCK_FILE).write_text(content)
    with pytest.raises(ValueError, match="is in use by an unknown process"), RunLock(tmp_path):
        pass
