"""Resuming from a checkpoint that does not fit the run: an error that names the file and the value."""

import json
import math
import shutil

import pytest
import torch
from cases import VAE, images
from fuzzing import broken_texts, check_reading, json_variants, safetensors_variants, sample
from safetensors.torch import load_file, save_file
from trainers import make_trainer, same_state
from transformers import EarlyStoppingCallback

from gae_hub.training.averaging import TRAINING_WEIGHTS
from gae_hub.training.checkpointing import load_tree, save_tree

OPTIMIZER, SCHEDULER = "optimizer.safetensors", "scheduler.safetensors"
PROCESS, COST = "rng_state_0.safetensors", "run_cost.safetensors"
FIRST = "encoder.net.0.weight"  # the first parameter of the model, (16, 64)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The last checkpoint of a run with a weight average, which nobody changes for good."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run")
    make_trainer(folder, ema_decay=0.5, eval_data=images(4), callbacks=[EarlyStoppingCallback(5)]).train()
    return folder / "checkpoint-6"


def resume(checkpoint, model=None, **changes):
    """Load everything that a resumed run loads, without its steps."""
    callbacks = [EarlyStoppingCallback(5)]
    fields = {"ema_decay": 0.5, "eval_data": images(4), "callbacks": callbacks, **changes}
    trainer = make_trainer(checkpoint.parent, model, **fields)
    trainer._load_from_checkpoint(str(checkpoint))
    trainer.create_optimizer_and_scheduler(num_training_steps=9)
    trainer._load_optimizer_and_scheduler(str(checkpoint))
    trainer._load_scaler(str(checkpoint))
    trainer._load_rng_state(str(checkpoint))
    return trainer


class Changed:
    """A file of a checkpoint with other content inside the context."""

    def __init__(self, file, change):
        self.file, self.change = file, change

    def __enter__(self):
        self.before = self.file.read_bytes()
        self.change(self.file)

    def __exit__(self, *error):
        self.file.write_bytes(self.before)


def in_tree(change):
    """Change the tree of a file."""

    def apply(file):
        tree = load_tree(file)
        save_tree(change(tree) or tree, file)

    return apply


def moment(name, value):
    return in_tree(lambda tree: tree["state"][0].__setitem__(name, value))


def group(name, value):
    return in_tree(lambda tree: tree["param_groups"][0].__setitem__(name, value))


def entry(key, value):
    return in_tree(lambda tree: tree.__setitem__(key, value))


NAN = torch.full((16, 64), math.nan)
CASES = [
    (OPTIMIZER, moment("exp_avg", torch.zeros(3)), rf"exp_avg of {FIRST} has shape \(3,\) instead of \(16, 64\)"),
    (OPTIMIZER, moment("exp_avg", torch.zeros(16, 64).long()), rf"exp_avg of {FIRST} has dtype torch.int64"),
    (OPTIMIZER, moment("exp_avg", NAN), rf"exp_avg of {FIRST} has values that are nan or infinite"),
    (OPTIMIZER, moment("exp_avg", 1.0), rf"exp_avg of {FIRST} must be a tensor, got 1.0"),
    (OPTIMIZER, moment("exp_avg_sq", -torch.ones(16, 64)), rf"exp_avg_sq of {FIRST} must be 0 or more, got -1"),
    (OPTIMIZER, moment("step", torch.tensor(-2.0)), rf"step of {FIRST} must be 0 or more, got -2"),
    (OPTIMIZER, moment("step", torch.ones(2)), rf"step of {FIRST} must be one number"),
    (OPTIMIZER, moment("step", torch.tensor(math.inf)), rf"step of {FIRST} has values that are nan or infinite"),
    (OPTIMIZER, moment("momentum_buffer", torch.ones(16, 64)), rf"the state of {FIRST} holds .* as if from another"),
    (OPTIMIZER, in_tree(lambda tree: tree["state"].update({0: {"step": torch.ones(())}})), f"state of {FIRST} holds"),
    (OPTIMIZER, in_tree(lambda tree: tree["state"].__setitem__(99, {})), "a state for parameter 99"),
    (OPTIMIZER, in_tree(lambda tree: tree["param_groups"].append({})), "has 2 parameter groups, but the model has 1"),
    (OPTIMIZER, group("params", [0, 1]), "group 'autoencoder' has 2 parameters that do not match the model's"),
    (OPTIMIZER, group("lr", "text"), "lr of parameter group 'autoencoder' must be a number, got \"text\""),
    (OPTIMIZER, group("lr", math.nan), "lr of parameter group 'autoencoder' must be finite"),
    (OPTIMIZER, group("betas", (0.9, 2.0)), "the settings of parameter group 'autoencoder' are invalid .*beta"),
    (SCHEDULER, entry("base_lrs", [1e-3, 1e-3]), "scheduler.base_lrs has 2 entries instead of 1"),
    (SCHEDULER, entry("last_epoch", None), "scheduler.last_epoch must be a number, got null"),
    (SCHEDULER, entry("step", 5), "scheduler.step is not expected"),  # would replace the method
    (COST, entry("seconds", "long"), 'run_cost.seconds must be a number, got "long"'),
    (PROCESS, in_tree(lambda tree: tree["guard"].update(running=[1.0])), "running mean has 1 entries instead of 2"),
    (PROCESS, in_tree(lambda tree: tree["guard"].update(num_losses=-1)), "num_losses must be 0 or more, got -1"),
    (PROCESS, in_tree(lambda tree: tree["guard"].update(events=[{"step": 1}])), "an event of the guard"),
    (PROCESS, in_tree(lambda tree: tree["random"].update(cpu=torch.zeros(3))), "random number generators is invalid"),
    (TRAINING_WEIGHTS, in_tree(lambda tree: tree[:-1]), "training weights have 7 tensors, but the model has 8"),
    (TRAINING_WEIGHTS, in_tree(lambda tree: [NAN, *tree[1:]]), rf"the training weights of {FIRST} has values that"),
]


@pytest.mark.parametrize(("name", "change", "message"), CASES)
def test_state_that_does_not_fit(run, name, change, message):
    with (
        Changed(run / name, change),
        pytest.raises(ValueError, match=f"{name}' does not fit this run: .*{message}"),
    ):
        resume(run)


@pytest.mark.parametrize("shape", [(3,), (16, 65), (64, 16)])
def test_moments_of_another_shape_do_not_reach_fused_adam(tmp_path, shape):
    """Which reads and writes outside of their memory."""
    make_trainer(tmp_path).train()
    file = tmp_path / "checkpoint-3" / OPTIMIZER
    moment("exp_avg", torch.zeros(shape))(file)
    with pytest.raises(ValueError, match=f"exp_avg of {FIRST} has shape .* instead of .16, 64."):
        make_trainer(tmp_path).train(resume_from_checkpoint=str(file.parent))


def test_unchanged_state_fits(run):
    trainer = resume(run)
    state = load_tree(run / OPTIMIZER)["state"]
    loaded = trainer.optimizer.state_dict()["state"]
    assert state.keys() == loaded.keys() == set(range(8))
    assert all(torch.equal(state[index]["exp_avg"], loaded[index]["exp_avg"]) for index in state)


@pytest.mark.parametrize("optimizer", ["adamw_torch", "adamw_torch_fused", "sgd", "rmsprop", "adagrad", "adafactor"])
def test_every_optimizer_resumes(tmp_path, optimizer):
    fields = {"optim": optimizer, "num_train_epochs": 2}
    whole, resumed = VAE.build(), VAE.build()
    make_trainer(tmp_path, whole, **fields).train()
    make_trainer(tmp_path, resumed, **fields).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert same_state(whole, resumed)


def test_a_checkpoint_of_another_optimizer(run):
    with pytest.raises(ValueError, match=r"optimizer.safetensors' does not fit this run: .* is missing"):
        resume(run, optim="sgd")


def test_a_checkpoint_of_another_schedule(run):
    with pytest.raises(ValueError, match=r"scheduler.safetensors' does not fit this run: scheduler\.\w+ is missing"):
        resume(run, lr_scheduler_type="reduce_lr_on_plateau")


def test_a_checkpoint_of_another_size(run):
    message = r"model.safetensors' does not fit this run: its weights are not those of this VAEModel: .*latent|head"
    with pytest.raises(ValueError, match=message) as error:
        resume(run, VAE.build(latent_dim=5))
    assert "\n" not in str(error.value) and "instead of (10, 16)" in str(error.value)


def test_a_run_with_other_frozen_parameters(run):
    model = VAE.build()
    model.encoder.requires_grad_(False)
    with pytest.raises(ValueError, match="group 'autoencoder' has 8 parameters that do not match the model's 6"):
        resume(run, model)


def test_bad_weights_are_not_resumed(run):
    def spoil(file):
        weights = load_file(file)
        weights[FIRST][0, 0] = math.inf
        save_file(weights, file, metadata={"format": "pt"})

    with (
        Changed(run / "model.safetensors", spoil),
        pytest.raises(ValueError, match=f"nan or infinite in {FIRST};"),
    ):
        resume(run)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"global_step": 10**9}, "global_step must be 6, as in the folder's name, got 1000000000"),
        ({"global_step": None}, "global_step must be an integer, got null"),
        ({"global_step": -1}, "global_step must be 0 or more and finite, got -1"),
        ({"global_step": "6"}, 'global_step must be an integer, got "6"'),
        ({"best_metric": []}, "best_metric must be a number or null, got a list"),
        ({"epoch": math.nan}, "epoch must be 0 or more and finite, got NaN"),
        ({"log_history": [3]}, "an entry of log_history must be an object, got 3"),
        ({"stateful_callbacks": {"TrainerControl": 3}}, "the state of TrainerControl must be an object, got 3"),
        ({"unknown": 1}, "unknown is not expected"),
    ],
)
def test_trainer_states(run, values, message):
    def change(file):
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    with Changed(run / "trainer_state.json", change), pytest.raises(ValueError, match=f"fit this run: {message}"):
        resume(run)


def test_a_renamed_checkpoint(run, tmp_path):
    """The folder's name no longer says the step."""
    best = tmp_path / "best"
    shutil.copytree(run, best)
    assert resume(best).optimizer.state_dict()["state"][0]["step"] == 6
    state = json.loads((best / "trainer_state.json").read_text())
    (best / "trainer_state.json").write_text(json.dumps({**state, "global_step": 10**9}))
    with pytest.raises(ValueError, match=r"global_step must lie in \[0, max_steps = 6\], got 1000000000"):
        resume(best)


# Fuzzing

NUM_SAMPLED = 50  # variants of each file


@pytest.mark.parametrize("name", [OPTIMIZER, SCHEDULER, COST, PROCESS, TRAINING_WEIGHTS, "model.safetensors"])
def test_fuzzed_tensors(run, name):
    variants = sample(safetensors_variants((run / name).read_bytes()), NUM_SAMPLED)
    outcomes = check_reading(run / name, variants, lambda: resume(run))
    assert sum(outcomes.values()) == len(variants) and outcomes["rejected"] > 0.7 * len(variants)


@pytest.mark.parametrize("name", ["trainer_state.json", "config.json"])
def test_fuzzed_json(run, name):
    file = run / name
    variants = sample(json_variants(json.loads(file.read_text())), NUM_SAMPLED)
    outcomes = check_reading(file, [*variants, *broken_texts(file.read_text())], lambda: resume(run))
    assert sum(outcomes.values()) == len(variants) + 6 and outcomes["rejected"] >= 10  # most of a config is not read
