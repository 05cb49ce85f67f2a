"""Files of a checkpoint, complete and incomplete checkpoints, and exact resuming."""

import random
import shutil
import signal
import subprocess
import sys
from copy import deepcopy

import numpy as np
import pytest
import torch
from cases import MODELS, VAE, images
from child_processes import child_environment
from trainers import make_trainer, same_state

from gae_hub import BetaVAEConfig, BetaVAEModel
from gae_hub.training.checkpointing import (
    get_rng_state,
    is_complete,
    last_checkpoint,
    load_tree,
    save_tree,
    set_rng_state,
)

# Files


def test_a_tree_is_read_as_it_was_written(tmp_path):
    tree = {
        "state": {0: {"step": torch.tensor(3.0), "avg": torch.randn(2, 3).bfloat16()}, 1: {}},
        "groups": [{"lr": 0.1, "betas": (0.9, 0.999), "name": None, "fused": True}],
        "array": np.arange(5, dtype=np.uint32),
    }
    save_tree(tree, tmp_path / "tree")
    back = load_tree(tmp_path / "tree")
    assert back["groups"] == tree["groups"] and back["state"][1] == {}
    assert torch.equal(back["state"][0]["avg"], tree["state"][0]["avg"]) and back["state"][0]["step"] == 3
    assert (back["array"] == tree["array"]).all() and back["array"].dtype == np.uint32
    (tmp_path / "tree").write_bytes((tmp_path / "tree").read_bytes()[:-4])
    with pytest.raises(OSError, match="truncated or corrupt .*resume from an earlier checkpoint"):
        load_tree(tmp_path / "tree")


def test_random_states_are_restored(tmp_path):
    save_tree(get_rng_state(), tmp_path / "rng")
    first = torch.rand(3), np.random.rand(), random.random(), np.random.randn()
    set_rng_state(load_tree(tmp_path / "rng"))
    second = torch.rand(3), np.random.rand(), random.random(), np.random.randn()
    assert torch.equal(first[0], second[0]) and first[1:] == second[1:]


def test_a_checkpoint_has_no_pickle(tmp_path):
    make_trainer(tmp_path).train()
    names = {path.name for path in (tmp_path / "checkpoint-6").iterdir()}
    assert {"model.safetensors", "optimizer.safetensors", "rng_state_0.safetensors", "training_args.json"} <= names
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".safetensors", ".json", ".md"}


# Complete and incomplete checkpoints


def test_incomplete_checkpoints_are_skipped(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.train()
    assert last_checkpoint(tmp_path).name == "checkpoint-6"
    state = tmp_path / "checkpoint-6" / "trainer_state.json"
    state.write_text(state.read_text()[:50])
    assert not is_complete(state.parent) and last_checkpoint(tmp_path).name == "checkpoint-3"
    resumed = make_trainer(tmp_path, VAE.build())
    resumed.train(resume_from_checkpoint=True)
    assert same_state(resumed.model, trainer.model)
    state.unlink()
    with pytest.raises(ValueError, match="no complete checkpoint to resume from in '.*checkpoint-6'"):
        make_trainer(tmp_path).train(resume_from_checkpoint=str(state.parent))
    with pytest.raises(ValueError, match="no complete checkpoint to resume from in '.*nothing'"):
        make_trainer(tmp_path / "nothing").train(resume_from_checkpoint=True)
    assert last_checkpoint(tmp_path / "nowhere") is None


def test_resuming_if_there_is_a_checkpoint(tmp_path):
    """With "auto", one call starts a run, goes on with it, and starts again after a kill in the first checkpoint."""
    whole = make_trainer(tmp_path / "whole", VAE.build())
    whole.train()
    folder = tmp_path / "parts"
    make_trainer(folder, VAE.build()).train(resume_from_checkpoint="auto")
    shutil.rmtree(folder / "checkpoint-6")
    resumed = make_trainer(folder, VAE.build())
    resumed.train(resume_from_checkpoint="auto")
    assert resumed._checkpoint == str(folder / "checkpoint-3") and same_state(resumed.model, whole.model)
    for step in (3, 6):
        (folder / f"checkpoint-{step}" / "trainer_state.json").unlink()
    started = make_trainer(folder, VAE.build())
    started.train(resume_from_checkpoint="auto")
    assert not started._checkpoint and same_state(started.model, whole.model)


def test_a_checkpoint_is_incomplete_while_it_is_rewritten(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path)
    trainer.train()
    assert is_complete(tmp_path / "checkpoint-6")

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "_save", stop)
    with pytest.raises(KeyboardInterrupt):
        trainer._save_checkpoint(trainer.model, None)
    assert not is_complete(tmp_path / "checkpoint-6") and last_checkpoint(tmp_path).name == "checkpoint-3"


def test_resuming_needs_the_training_state(tmp_path):
    make_trainer(tmp_path, save_only_model=True).train()
    with pytest.raises(ValueError, match="has no optimizer state"):
        make_trainer(tmp_path).train(resume_from_checkpoint=True)
    make_trainer(tmp_path / "two").train()
    (tmp_path / "two" / "checkpoint-3" / "rng_state_0.safetensors").unlink()
    with pytest.raises(ValueError, match="no random state for process 0"):
        make_trainer(tmp_path / "two").train(resume_from_checkpoint=str(tmp_path / "two" / "checkpoint-3"))


# Several runs in one folder


def test_a_second_run_replaces_the_checkpoints_of_the_first(tmp_path):
    """Checkpoints of the first run have higher numbers: resuming and save_total_limit would take them for newer."""
    trainer = make_trainer(tmp_path, num_train_epochs=3, save_total_limit=2)
    trainer.train()
    first = trainer.state.global_step
    trainer.args.num_train_epochs = 1
    trainer.train()
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == [f"checkpoint-{first // 3}"]
    assert last_checkpoint(tmp_path).name == f"checkpoint-{first // 3}"


def test_another_run_is_overwritten_only_if_asked(tmp_path):
    make_trainer(tmp_path).train()
    (tmp_path / "sampler").mkdir()
    (tmp_path / "sampler" / "config.json").touch()
    (tmp_path / "package.json").touch()  # not a file of a run
    with pytest.raises(ValueError, match=r"already contains a run \(checkpoint-3, checkpoint-6\): resume it"):
        make_trainer(tmp_path).train()
    make_trainer(tmp_path, overwrite_output_dir=True, num_train_epochs=1).train()
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-3", "package.json"}


# Resuming


@pytest.mark.parametrize("networks", ["conv", "resnet"])
def test_convolutions_resume_to_the_bit(tmp_path, networks):
    """In channels-last memory, a fused optimizer's state must have the layout of its parameter."""
    start = VAE.build(encoder_config=networks, decoder_config=networks)
    whole, resumed = deepcopy(start), deepcopy(start)
    make_trainer(tmp_path, whole, save_strategy="epoch").train()
    make_trainer(tmp_path, resumed).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert same_state(whole, resumed)


def test_the_plateau_schedule_resumes_and_follows_the_selection_metric(tmp_path):
    """At a learning rate of zero the loss is constant, so the rate is halved after every third evaluation."""
    fields = {
        "lr_scheduler_type": "reduce_lr_on_plateau",
        "lr_scheduler_kwargs": {"factor": 0.5, "patience": 1},
        "num_train_epochs": 6,
        "group_learning_rates": {"autoencoder": 0.0, "discriminator": 0.1},
    }
    case = next(case for case in MODELS if case.id == "factor_vae")
    trainer = make_trainer(tmp_path, case.build(), eval_data=images(8, seed=1), **fields)
    trainer.train()
    assert trainer.args.metric_for_best_model == "negative_elbo"
    rates = [group["lr"] for group in trainer.optimizer.param_groups]
    assert rates[0] == 0 and rates[1] == pytest.approx(0.1 / 4)
    resumed = make_trainer(tmp_path, case.build(), eval_data=images(8, seed=1), **fields)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-9"))
    assert resumed.lr_scheduler.state_dict() == trainer.lr_scheduler.state_dict()


SCRIPT = """
import os, signal, sys, torch
from transformers import TrainerCallback
from gae_hub import BetaVAEConfig, BetaVAEModel, GAETrainer, GAETrainingArguments

class Signal(TrainerCallback):
    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 4:
            os.kill(os.getpid(), getattr(signal, sys.argv[2]))

torch.manual_seed(0)
x = torch.rand(24, 1, 8, 8)
model = BetaVAEModel(BetaVAEConfig(input_shape=(1, 8, 8), latent_dim=3))
args = GAETrainingArguments(sys.argv[1], per_device_train_batch_size=8, num_train_epochs=4, disable_tqdm=True)
GAETrainer(model, args, train_dataset=x, eval_dataset=x[:6], callbacks=[Signal()]).train()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "checkpoint"), [("SIGINT", 5), ("SIGKILL", 3)])
def test_an_interrupted_run_resumes_to_the_bit(tmp_path, name, checkpoint):
    """Ctrl-C ends the step and saves a checkpoint; after a kill, the newest checkpoint is the one before."""
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "cut"), name]
    process = subprocess.run(command, capture_output=True, text=True, env=child_environment(), timeout=120)
    assert process.returncode == (-signal.SIGKILL if name == "SIGKILL" else -signal.SIGINT)
    assert last_checkpoint(tmp_path / "cut").name == f"checkpoint-{checkpoint}"
    if name == "SIGINT":
        assert "training was stopped at step 5" in process.stderr and "resume_from_checkpoint=True" in process.stderr

    def run(folder, **resume):
        torch.manual_seed(0)
        x = torch.rand(24, 1, 8, 8)
        model = BetaVAEModel(BetaVAEConfig(input_shape=(1, 8, 8), latent_dim=3))
        trainer = make_trainer(tmp_path / folder, model, x, eval_data=x[:6], num_train_epochs=4)
        trainer.train(**resume)
        log = trainer.state.log_history
        return model, [(entry["step"], entry["eval_loss"]) for entry in log if "eval_loss" in entry]

    (resumed, resumed_evaluations), (whole, evaluations) = run("cut", resume_from_checkpoint=True), run("whole")
    assert same_state(resumed, whole) and resumed_evaluations == evaluations  # no evaluation at the interruption
