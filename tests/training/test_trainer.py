"""Training: what is logged, what is kept, what is never lost."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from copy import deepcopy

import numpy as np
import pytest
import torch
from cases import MODELS, VAE, images
from torch import nn

from gae_hub import AutoGAE, BetaVAEConfig, BetaVAEModel, GAETrainer, GAETrainingArguments, VAEModel
from gae_hub.training.checkpointing import is_whole, last_checkpoint, load_tree, rng_state, save_tree, set_rng_state
from gae_hub.training.trainer import _Sums


def arguments(folder, **changes):
    fields = {"per_device_train_batch_size": 8, "num_train_epochs": 2, "disable_tqdm": True, "save_total_limit": None}
    return GAETrainingArguments(str(folder), **{**fields, **changes})


def trainer(folder, model=None, data=None, eval_data=None, **changes):
    data = images(24) if data is None else data
    return GAETrainer(model or VAE.build(), arguments(folder, **changes), train_dataset=data, eval_dataset=eval_data)


def same(one, other):
    return all(torch.equal(p, q) for p, q in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_default_arguments():
    args = GAETrainingArguments("x")
    assert (args.learning_rate, args.weight_decay, args.max_grad_norm) == (1e-3, 0.0, 0.0)
    assert (args.optim, args.lr_scheduler_type) == ("adamw_torch_fused", "constant")
    assert args.per_device_train_batch_size == 100 and args.save_strategy == args.eval_strategy == "epoch"
    assert GAETrainingArguments("x", eval_strategy="steps", eval_steps=7).save_steps == 7
    assert GAETrainingArguments("x", group_learning_rates='{"encoder": 1e-4}').group_learning_rates == {
        "encoder": 1e-4
    }


def test_the_log_holds_the_exact_means_of_every_term(tmp_path):
    """Sample-weighted over unequal batches, in training and in evaluation."""
    data = images(20)
    run = trainer(tmp_path, data=data, eval_data=images(11, seed=1), learning_rate=0.0, per_device_eval_batch_size=4)
    run.train()
    entry = next(entry for entry in run.state.log_history if "loss" in entry)
    assert entry["step"] == 3 and {"loss", "reconstruction", "kl", "epoch", "learning_rate"} <= entry.keys()
    model = run.model.eval()
    assert entry["kl"] == pytest.approx(model.encode(data).kl().mean().item(), rel=1e-5)
    evaluation = run.evaluate()
    assert evaluation["eval_kl"] == pytest.approx(model.encode(images(11, seed=1)).kl().mean().item(), rel=1e-5)
    assert evaluation["eval_loss"] == pytest.approx(
        evaluation["eval_kl"] + evaluation["eval_reconstruction"], rel=1e-5
    )


def test_the_best_model_is_the_one_that_is_kept(tmp_path):
    class Worsening(VAEModel):
        """Good after its first epoch, then ever worse on validation."""

        def forward(self, pixel_values, return_loss=True, generator=None):
            out = super().forward(pixel_values, return_loss, generator)
            out.loss = out.loss if self.training else out.loss + 1e3 * self.steps.square()
            self.steps += self.training
            return out

        def setup(self, config):
            super().setup(config)
            self.register_buffer("steps", torch.zeros(()))

    torch.manual_seed(0)
    run = trainer(tmp_path, Worsening(VAE.build().config), eval_data=images(8, seed=1), num_train_epochs=3)
    run.train()
    assert run.state.best_global_step == 3 and run.model.steps == 3


def test_without_an_eval_dataset_the_last_model_is_kept(tmp_path):
    run = trainer(tmp_path)
    run.train()
    assert run.state.best_model_checkpoint is None
    assert same(AutoGAE.from_pretrained(tmp_path / "checkpoint-6"), run.model)


def test_evaluation_draws_the_same_noise_and_leaves_the_training_noise_alone(tmp_path):
    run = trainer(tmp_path, eval_data=images(8, seed=1))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second = run.evaluate(), run.evaluate()
    assert first["eval_loss"] == second["eval_loss"] and torch.equal(before, torch.get_rng_state())


def test_progress_runs_from_zero_to_one_in_training_and_is_one_in_evaluation(tmp_path):
    seen = {True: [], False: []}

    class Watching(VAEModel):
        def forward(self, pixel_values, return_loss=True, generator=None):
            seen[self.training].append(self.progress.item())
            return super().forward(pixel_values, return_loss, generator)

    run = trainer(tmp_path, Watching(VAE.build().config), eval_data=images(8, seed=1))
    run.train()
    assert seen[True] == pytest.approx([step / 6 for step in range(6)]) and set(seen[False]) == {1.0}
    assert run.model.progress == 1


def test_accumulation_of_gradients_is_a_larger_batch(tmp_path):
    """2 x 4 equals 1 x 8 for a deterministic loss."""
    from cases import AE

    models = [AE.build(), AE.build()]
    for folder, model, size in (("one", models[0], 8), ("two", models[1], 4)):
        trainer(
            tmp_path / folder, model, per_device_train_batch_size=size, gradient_accumulation_steps=8 // size,
            optim="sgd", learning_rate=1e-3, max_steps=6,
        ).train()  # fmt: skip
    for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


def test_parameter_groups_have_their_own_rates(tmp_path):
    class TwoGroups(VAEModel):
        def parameter_groups(self):
            encoder = [*self.encoder.parameters(), *self.head.parameters()]
            return {"encoder": encoder, "decoder": list(self.decoder.parameters())}

    model = TwoGroups(VAE.build().config)
    start = deepcopy(model)
    trainer(tmp_path, model, group_learning_rates={"encoder": 0.0}).train()
    assert same(model.encoder, start.encoder) and not same(model.decoder, start.decoder)
    with pytest.raises(ValueError, match="no parameter group 'critic'; this model has encoder, decoder"):
        trainer(tmp_path / "other", model, group_learning_rates={"critic": 0.0}).train()


def test_data_of_every_kind_and_of_the_wrong_shape(tmp_path):
    for index, data in enumerate([images(8), images(8).numpy(), [{"pixel_values": x, "label": 1} for x in images(8)]]):
        trainer(tmp_path / str(index), data=data, max_steps=1).train()
    with pytest.raises(ValueError, match=r"data has input_shape \(3, 8, 8\), but the model was built for \(1, 8, 8\)"):
        trainer(tmp_path, data=torch.rand(8, 3, 8, 8))
    with pytest.raises(ValueError, match="the data set is empty"):
        trainer(tmp_path, data=[])
    with pytest.raises(ValueError, match="nan or infinite"):
        trainer(tmp_path, data=torch.full((8, 1, 8, 8), torch.nan))


def test_the_layout_of_convolutions_changes_nothing_afterwards(tmp_path):
    model = VAE.build(encoder_config="conv", decoder_config="conv")
    seen = []
    model.register_forward_pre_hook(lambda *_: seen.append(model.encoder.net[3].weight.is_contiguous()))
    run = trainer(tmp_path, model, eval_data=images(8, seed=1), max_steps=2)
    run.train()
    assert seen and not any(seen) and model.encoder.net[3].weight.is_contiguous()
    x = images(8)
    last = AutoGAE.from_pretrained(run.state.best_model_checkpoint)
    assert torch.equal(last.reconstruct(x), model.reconstruct(x))


# Checkpoints


@pytest.mark.parametrize("networks", ["conv", "resnet"])
def test_convolutions_resume_to_the_bit(tmp_path, networks):
    """In channels-last memory a fused optimizer's state must have the layout of its parameter."""
    start = VAE.build(encoder_config=networks, decoder_config=networks)
    whole, resumed = deepcopy(start), deepcopy(start)
    trainer(tmp_path, whole, save_strategy="epoch").train()
    trainer(tmp_path, resumed).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert same(whole, resumed)


@pytest.mark.parametrize("name", ["piwae", "aae", "factor_vae"])
def test_the_best_model_is_chosen_by_what_can_be_compared(tmp_path, name):
    """Where the loss adds up what several players want, another term chooses; a person's own choice stays."""
    case = next(case for case in MODELS if case.id == name)
    run = trainer(tmp_path / "a", case.build(), eval_data=images(8, seed=1))
    assert run.args.metric_for_best_model == case.model_class.metric_for_best_model != "loss"
    run.train()
    values = [e[f"eval_{case.model_class.metric_for_best_model}"] for e in run.state.log_history if "eval_loss" in e]
    assert run.state.best_metric == min(values)
    own = trainer(tmp_path / "b", case.build(), eval_data=images(8, seed=1), metric_for_best_model="eval_loss")
    assert own.args.metric_for_best_model == "eval_loss"


def test_a_last_batch_that_is_too_small_is_named_before_training(tmp_path):
    model = next(case for case in MODELS if case.id == "beta_tc_vae").build
    with pytest.raises(ValueError, match="train_dataset has 17 images, so that with per_device_train_batch_size=8"):
        trainer(tmp_path, model(), data=images(17))
    with pytest.raises(ValueError, match="eval_dataset has 1 images.* the loss of BetaTCVAEModel needs 2"):
        trainer(tmp_path, model(), eval_data=images(1))
    trainer(tmp_path, model(), data=images(17), dataloader_drop_last=True, num_train_epochs=1).train()
    trainer(tmp_path, VAE.build(), data=images(17), overwrite_output_dir=True, num_train_epochs=1).train()


def test_vectors_are_in_the_evaluation_and_not_in_the_log(tmp_path):
    run = trainer(tmp_path, eval_data=images(11, seed=1), per_device_eval_batch_size=4)
    found = run.evaluate()
    exact = run.model.eval().encode(images(11, seed=1)).kl_per_dimension().mean(0)
    assert found["eval_kl_per_dimension"] == pytest.approx(exact.tolist(), rel=1e-4)
    assert sum(found["eval_kl_per_dimension"]) == pytest.approx(found["eval_kl"], rel=1e-4)
    assert not any("per_dimension" in name for entry in run.state.log_history for name in entry)


def test_a_checkpoint_holds_no_pickle(tmp_path):
    trainer(tmp_path).train()
    names = {path.name for path in (tmp_path / "checkpoint-6").iterdir()}
    assert {"model.safetensors", "optimizer.safetensors", "rng_state_0.safetensors", "training_args.json"} <= names
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".safetensors", ".json", ".md"}


def test_a_tree_comes_back_as_it_was(tmp_path):
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


def test_random_states_come_back(tmp_path):
    import random

    save_tree(rng_state(), tmp_path / "rng")
    first = torch.rand(3), np.random.rand(), random.random(), np.random.randn()
    set_rng_state(load_tree(tmp_path / "rng"))
    second = torch.rand(3), np.random.rand(), random.random(), np.random.randn()
    assert torch.equal(first[0], second[0]) and first[1:] == second[1:]


def test_half_written_checkpoints_are_passed_over(tmp_path):
    run = trainer(tmp_path)
    run.train()
    assert last_checkpoint(tmp_path).name == "checkpoint-6"
    state = tmp_path / "checkpoint-6" / "trainer_state.json"
    state.write_text(state.read_text()[:50])
    assert not is_whole(state.parent) and last_checkpoint(tmp_path).name == "checkpoint-3"
    resumed = trainer(tmp_path, VAE.build())
    resumed.train(resume_from_checkpoint=True)
    assert same(resumed.model, run.model)
    state.unlink()
    with pytest.raises(ValueError, match="no whole checkpoint to resume from in '.*checkpoint-6'"):
        trainer(tmp_path).train(resume_from_checkpoint=str(state.parent))
    with pytest.raises(ValueError, match="no whole checkpoint to resume from in '.*nothing'"):
        trainer(tmp_path / "nothing").train(resume_from_checkpoint=True)
    assert last_checkpoint(tmp_path / "nowhere") is None


def test_a_second_run_of_one_trainer_leaves_its_own_checkpoints(tmp_path):
    """Of higher numbers, those of the first would be taken for newer ones, by resuming and by save_total_limit."""
    run = trainer(tmp_path, num_train_epochs=3, save_total_limit=2)
    run.train()
    first = run.state.global_step
    run.args.num_train_epochs = 1
    run.train()
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == [f"checkpoint-{first // 3}"]
    assert last_checkpoint(tmp_path).name == f"checkpoint-{first // 3}"


def test_a_checkpoint_without_its_state_is_no_start(tmp_path):
    trainer(tmp_path, save_only_model=True).train()
    with pytest.raises(ValueError, match="holds no optimizer state"):
        trainer(tmp_path).train(resume_from_checkpoint=True)
    trainer(tmp_path / "two").train()
    (tmp_path / "two" / "checkpoint-3" / "rng_state_0.safetensors").unlink()
    with pytest.raises(ValueError, match="no random state for process 0"):
        trainer(tmp_path / "two").train(resume_from_checkpoint=str(tmp_path / "two" / "checkpoint-3"))


def test_another_run_is_not_overwritten(tmp_path):
    run = trainer(tmp_path)
    run.train()
    (tmp_path / "sampler").mkdir()
    (tmp_path / "sampler" / "config.json").touch()
    (tmp_path / "package.json").touch()  # somebody else's
    with pytest.raises(ValueError, match=r"already holds a run \(checkpoint-3, checkpoint-6\): resume it"):
        trainer(tmp_path).train()
    trainer(tmp_path, overwrite_output_dir=True, num_train_epochs=1).train()
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-3", "package.json"}


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
def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path, name, checkpoint):
    """Ctrl-C ends the step and saves; a kill leaves the checkpoint before it; both resume to the bit."""
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "cut"), name]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert process.returncode != 0
    assert last_checkpoint(tmp_path / "cut").name == f"checkpoint-{checkpoint}"
    if name == "SIGINT":
        assert "training was stopped at step 5" in process.stderr and "resume_from_checkpoint=True" in process.stderr

    def run(folder, **resume):
        torch.manual_seed(0)
        x = torch.rand(24, 1, 8, 8)
        model = BetaVAEModel(BetaVAEConfig(input_shape=(1, 8, 8), latent_dim=3))
        trainer = GAETrainer(
            model, arguments(tmp_path / folder, num_train_epochs=4), train_dataset=x, eval_dataset=x[:6]
        )
        trainer.train(**resume)
        return model, [
            (entry["step"], entry["eval_loss"]) for entry in trainer.state.log_history if "eval_loss" in entry
        ]

    (resumed, resumed_evaluations), (whole, evaluations) = run("cut", resume_from_checkpoint=True), run("whole")
    assert same(resumed, whole) and resumed_evaluations == evaluations  # the pause is no evaluation of its own


def test_the_second_ctrl_c_stops_at_once_and_the_handler_goes_with_the_training(tmp_path):
    previous = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), trainer(tmp_path).interrupt.listening():
        os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is not previous
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is previous


def test_a_checkpoint_is_not_whole_while_it_is_rewritten(tmp_path, monkeypatch):
    run = trainer(tmp_path)
    run.train()
    assert is_whole(tmp_path / "checkpoint-6")

    def cut(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_save", cut)
    with pytest.raises(KeyboardInterrupt):
        run._save_checkpoint(run.model, None)
    assert not is_whole(tmp_path / "checkpoint-6") and last_checkpoint(tmp_path).name == "checkpoint-3"


def test_a_persons_optimizer_and_arguments_are_respected(tmp_path):
    args = arguments(tmp_path, save_steps=200, eval_strategy="steps", eval_steps=100)
    assert args.save_steps == 200
    sgd = (torch.optim.SGD, {"lr": 0.5})
    run = GAETrainer(VAE.build(), args, train_dataset=images(24), optimizer_cls_and_kwargs=sgd)
    assert isinstance(run.create_optimizer(), torch.optim.SGD)
    assert args.eval_strategy == "steps" and run.args.eval_strategy == "no"
    with pytest.raises(ValueError, match="hub_strategy 'checkpoint' pushes optimizer states"):
        GAETrainingArguments(str(tmp_path), hub_strategy="checkpoint")


# What people see


def test_the_bar_shows_terms_and_evaluations(tmp_path, capsys):
    trainer(tmp_path, eval_data=images(8, seed=1), disable_tqdm=False).train()
    captured = capsys.readouterr()
    assert re.search(
        r"epoch 1  train: loss [\d.]+  reconstruction [\d.]+  kl [\d.]+  active_units [\d.]+  "
        r"latent_rms [\d.]+  \|  validation: loss",
        captured.out,
    )
    assert "6/6" in captured.err and "Writing model shards" not in captured.err


def test_facts_for_the_card(tmp_path):
    run = trainer(tmp_path, learning_rate=0.01)
    run.train()
    facts = run.model.facts
    assert facts["num_train_images"] == 24 and facts["steps"] == 6 and facts["dataset"] == "array"
    settings = {"num_train_epochs": 2, "per_device_train_batch_size": 8, "save_total_limit": None}
    assert facts["arguments"] == {"learning_rate": 0.01, **settings}
    json.dumps(facts)


def test_sums_are_means():
    sums = _Sums()
    sums.add({"a": torch.tensor(1.0)}, 3)
    sums.add({"a": torch.tensor(5.0)}, 1)
    assert sums.pop() == {"a": 2.0} and sums.pop() == {}


# Many processes

DISTRIBUTED = """
import json, os, sys, torch, torch.distributed as dist
from gae_hub import GAETrainer, GAETrainingArguments, BetaVAEConfig, BetaVAEModel

class Breaking(BetaVAEModel):
    # one process, once, has an infinite loss
    calls = 0
    def forward(self, pixel_values, **kwargs):
        out = super().forward(pixel_values, **kwargs)
        self.calls += self.training
        if self.training and self.calls == 5 and dist.get_rank() == 0:
            out.loss = out.loss * float("inf")
        return out

torch.manual_seed(0)
x = torch.rand(23, 1, 8, 8)
model = Breaking(BetaVAEConfig(input_shape=(1, 8, 8), latent_dim=3, observation_std="optimal"))
sizes = dict(per_device_train_batch_size=4, num_train_epochs=2, per_device_eval_batch_size=2)
args = GAETrainingArguments(sys.argv[1], **sizes, disable_tqdm=True, use_cpu=True)
trainer = GAETrainer(model, args, train_dataset=x, eval_dataset=x[:9])
assert args.world_size == dist.get_world_size() == 2
trainer.train()
flat = torch.cat([p.detach().flatten() for p in model.parameters()] + [model.likelihood.variance.view(1)])
both = [torch.empty_like(flat) for _ in range(2)]
dist.all_gather(both, flat)
assert torch.equal(*both), "the processes hold different models"
assert flat.isfinite().all()
assert trainer.guard.events == [{"step": 5, "term": "loss", "restored_step": 3}], trainer.guard.events
noise = [torch.empty(3) for _ in range(2)]
dist.all_gather(noise, torch.rand(3))
assert not torch.equal(*noise), "the processes draw the same noise"
found = [trainer.evaluate(x[:n]) for n in (9, 8, 1)]  # one process fills up its last batch, none, has no batch
values = torch.tensor([[f["eval_loss"], f["eval_reconstruction"], f["eval_kl"]] for f in found], dtype=torch.float64)
both = [torch.empty_like(values) for _ in range(2)]
dist.all_gather(both, values)
assert torch.equal(*both)
seen = []
class Order(torch.utils.data.Dataset):
    def __len__(self):
        return 16
    def __getitem__(self, i):
        seen.append(i)
        return {"pixel_values": x[i]}
sizes_of_one = dict(sizes, num_train_epochs=1, overwrite_output_dir=True)
args = GAETrainingArguments(sys.argv[1] + "/again", **sizes_of_one, disable_tqdm=True, use_cpu=True)
again = GAETrainer(BetaVAEModel(model.config), args, train_dataset=Order())
for _ in range(2):  # in the second run too, the processes share out one order
    seen.clear()
    again.train()
    both = [torch.empty(8, dtype=torch.long) for _ in range(2)]
    dist.all_gather(both, torch.tensor(seen[:8]))
    assert torch.cat(both).unique().numel() == 16, both
resumed = Breaking(model.config)
resumed.calls = 3
args = GAETrainingArguments(sys.argv[1], **sizes, disable_tqdm=True, use_cpu=True)
GAETrainer(resumed, args, train_dataset=x, eval_dataset=x[:9]).train(
    resume_from_checkpoint=sys.argv[1] + "/checkpoint-3"
)
assert all(torch.equal(p, q) for p, q in zip(resumed.state_dict().values(), model.state_dict().values()))
if trainer.is_world_process_zero():
    model.save_pretrained(sys.argv[1] + "/trained")
    print(json.dumps({"world": dist.get_world_size(), "steps": trainer.state.global_step, "found": values.tolist()}))
dist.barrier()
sys.stdout.flush()
os._exit(0)  # gloo's threads now and then abort a process that ends in the usual way
"""


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path):
    script = tmp_path / "distributed.py"
    script.write_text(textwrap.dedent(DISTRIBUTED))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        [*launcher, script, tmp_path / "out"], capture_output=True, text=True, env=env, timeout=120
    )
    assert process.returncode == 0, process.stderr[-3000:]
    report = json.loads(process.stdout.strip().splitlines()[-1])
    assert report["world"] == 2 and report["steps"] == 6
    model = AutoGAE.from_pretrained(tmp_path / "out" / "trained")
    torch.manual_seed(0)
    x = torch.rand(23, 1, 8, 8)
    alone = trainer(tmp_path / "alone", model, per_device_eval_batch_size=2)
    for n, values in zip((9, 8, 1), report["found"], strict=True):
        one = alone.evaluate(x[:n])  # the same noise, whoever takes a batch
        assert values == pytest.approx([one["eval_loss"], one["eval_reconstruction"], one["eval_kl"]], rel=1e-6)
        assert one["eval_kl"] == pytest.approx(model.eval().encode(x[:n]).kl().mean().item(), rel=1e-5)
    names = {path.name for path in (tmp_path / "out" / "checkpoint-6").iterdir()}
    assert {"rng_state_0.safetensors", "rng_state_1.safetensors"} <= names


def test_what_cannot_be_sharded_says_so(tmp_path):
    cases = {case.id: case for case in MODELS}
    for name in ("piwae", "vae_gan", "hvae", "rhvae", "rae_l2", "rae_gp"):
        run = trainer(tmp_path, cases[name].build())
        run.is_fsdp_enabled = True  # it needs a GPU to be on
        with pytest.raises(ValueError, match="which FSDP splits: train it with DistributedDataParallel"):
            run.configure_model(run.model)


def test_custom_modules_train(tmp_path):
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU())
    model = BetaVAEModel(BetaVAEConfig(input_shape=(1, 8, 8), latent_dim=2), encoder=trunk)
    trainer(tmp_path, model, max_steps=2).train()
    assert (tmp_path / "checkpoint-2" / "model.safetensors").is_file()


# Recipes, seeds, and batches in parts


def test_the_papers_recipe(tmp_path):
    args = GAETrainingArguments.recipe("paper", str(tmp_path), num_train_epochs=3)
    assert (args.learning_rate, args.per_device_train_batch_size, args.weight_decay) == (1e-4, 100, 0.0)
    assert args.num_train_epochs == 3 and GAETrainingArguments.recipe("paper", str(tmp_path)).num_train_epochs == 100
    run = GAETrainer(VAE.build(), args, train_dataset=images(24), eval_dataset=images(8, seed=1))
    run.train()
    scheduler = run.lr_scheduler
    assert isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
    assert (scheduler.factor, scheduler.patience, scheduler.mode) == (0.5, 10, "min")
    assert scheduler.best == min(entry["eval_loss"] for entry in run.state.log_history if "eval_loss" in entry)
    with pytest.raises(ValueError, match="no recipe is called 'rush'; known are paper"):
        GAETrainingArguments.recipe("rush")


def test_settings_that_cannot_be(tmp_path):
    args = GAETrainingArguments.recipe("paper", str(tmp_path))
    with pytest.raises(ValueError, match="'reduce_lr_on_plateau' follows the validation: give eval_dataset"):
        GAETrainer(VAE.build(), args, train_dataset=images(8))
    with pytest.raises(ValueError, match="eval_dataset must be one data set, got a dict of a, b"):
        trainer(tmp_path, eval_data={"a": images(8), "b": images(8)})
    args = GAETrainingArguments(str(tmp_path), eval_strategy="no")
    assert not args.load_best_model_at_end and args.save_strategy == "epoch"


def test_time_and_energy_are_those_of_all_sessions(tmp_path):
    run = trainer(tmp_path)
    run.train()
    file = tmp_path / "checkpoint-3" / "spent.safetensors"
    save_tree({**load_tree(file), "seconds": 1000.0}, file)
    resumed = trainer(tmp_path)
    resumed.train(resume_from_checkpoint=str(file.parent))
    assert 1000 < resumed.model.facts["seconds"] < 1100


def test_the_plateau_is_that_of_the_selection_metric_and_survives_a_pause(tmp_path):
    """A learning rate of zero gives one long plateau: the rate is halved after every third evaluation."""
    fields = {
        "lr_scheduler_type": "reduce_lr_on_plateau",
        "lr_scheduler_kwargs": {"factor": 0.5, "patience": 1},
        "num_train_epochs": 6,
        "group_learning_rates": {"autoencoder": 0.0, "discriminator": 0.1},
    }
    case = next(case for case in MODELS if case.id == "factor_vae")
    run = trainer(tmp_path, case.build(), eval_data=images(8, seed=1), **fields)
    run.train()
    assert run.args.metric_for_best_model == "negative_elbo"
    rates = [group["lr"] for group in run.optimizer.param_groups]
    assert rates[0] == 0 and rates[1] == pytest.approx(0.1 / 4)
    resumed = trainer(tmp_path, case.build(), eval_data=images(8, seed=1), **fields)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-9"))
    assert resumed.lr_scheduler.state_dict() == run.lr_scheduler.state_dict()


def test_the_same_seed_gives_the_same_bits(tmp_path):
    """Initial weights included, from a shell; another seed gives others."""
    from gae_hub.cli.main import main

    flags = "--dataset digits --latent_dim 3 --max_steps 3 --eval_strategy no --load_best_model_at_end false"
    found = []
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(len(found))
        command = f"train {flags} --disable_tqdm true --seed {seed} --output_dir {tmp_path / folder}"
        assert main(command.split()) == 0
        found.append(AutoGAE.from_pretrained(tmp_path / folder))
    assert same(found[0], found[1]) and not same(found[0], found[2])


COUPLED = {"beta_tc_vae", "info_vae", "wae_mmd", "factor_vae", "rhvae", "vq_vae", "hrq_vae"}


@pytest.mark.parametrize("case", [case for case in MODELS if case.id not in COUPLED], ids=lambda case: case.id)
def test_a_batch_in_parts_is_the_whole_batch(case, tmp_path, monkeypatch):
    """2 x 4 equals 1 x 8 for every per-example loss. All images have the same noise: its rows are equal."""
    real = {name: getattr(torch, name) for name in ("randn", "rand")}

    def rows_alike(name):
        def draw(shape, generator=None, **kwargs):
            row = real[name](shape[1:], generator=torch.Generator().manual_seed(len(shape)), **kwargs)
            return row.expand(shape).clone()

        return draw

    data = images(24)
    for name in real:
        monkeypatch.setattr(torch, name, rows_alike(name))
    models = [case.build(**({"margin": None} if case.id == "vae_gan" else {})) for _ in range(2)]
    for model, size in zip(models, (8, 4), strict=True):
        trainer(
            tmp_path / str(size), model, data, per_device_train_batch_size=size, gradient_accumulation_steps=8 // size,
            optim="sgd", learning_rate=1e-4, max_steps=3, save_strategy="no", load_best_model_at_end=False,
            divergence_restarts=0,
        ).train()  # fmt: skip
    start = case.build(**({"margin": None} if case.id == "vae_gan" else {}))
    moved = 0.0
    for p, q, s in zip(*(m.parameters() for m in (*models, start)), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)
        moved = max(moved, (p - s).abs().max().item())
    assert moved > 1e-5
