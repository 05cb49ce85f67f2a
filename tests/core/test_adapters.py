"""Adapters of peft: saved, loaded anew, trained and resumed, beside a model that stays as it is."""

import json
import subprocess
import sys

import pytest
import torch
from cases import MODELS, VAE, ModelCase, images
from child_processes import child_environment
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from trainers import make_trainer
from transformers import AutoModel

from gae_hub import AutoGAE, RHVAEModel, VAEIAFModel, VAEModel, VQVAEModel
from gae_hub.core.hub_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from gae_hub.hub.cards.render import render_card

CONV = {
    "encoder_config": {"model_type": "conv", "channels": [4, 8]},
    "decoder_config": {"model_type": "conv", "channels": [4, 8]},
}
CONV_LAYERS = ["encoder.net.0", "encoder.net.3", "head", "linear"]
STATEFUL = [
    ModelCase(VAEModel, {**CONV, "observation_std": "optimal"}),
    ModelCase(VQVAEModel, {**CONV, "num_embeddings": 8}),
    ModelCase(RHVAEModel, {"num_centroids": 20, "metric_hidden_sizes": [8]}),
]


def lora(target_modules="all-linear", **settings):
    return LoraConfig(r=2, target_modules=target_modules, **settings)


def save_base(folder, case=VAE, **fields):
    """A saved model, loaded anew, so that its adapters name the folder."""
    case.build(**fields).save_pretrained(folder)
    return AutoGAE.from_pretrained(folder)


def base_state(model):
    """Weights and buffers without those of adapters, by their names in the model without adapters."""
    return {
        key.replace(".base_layer", ""): value.clone() for key, value in model.state_dict().items() if "lora" not in key
    }


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.fixture
def adapter(tmp_path):
    """A folder with an adapter whose output differs from that of its model, in the folder base beside it."""
    model = save_base(tmp_path / "base")
    model.add_adapter(lora(init_lora_weights=False))
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_a_trained_adapter_equals_itself_in_another_process(tmp_path):
    """After one step, the adapter alone is saved, and a new process that loads it computes the same bits."""
    for name, fields, layers in (("mlp", {}, "all-linear"), ("conv", CONV, CONV_LAYERS)):
        model = save_base(tmp_path / name / "base", **fields)
        before = base_state(model)
        model.add_adapter(lora(layers))
        make_trainer(tmp_path / name / "run", model, max_steps=1, learning_rate=0.1).train()
        assert same(base_state(model), before)
        model.save_pretrained(tmp_path / name / "adapter")
        saved = load_file(tmp_path / name / "adapter" / ADAPTER_WEIGHTS)
        assert all("lora" in key for key in saved) and any(v.any() for k, v in saved.items() if "lora_B" in k)
        assert not (tmp_path / name / "adapter" / "model.safetensors").exists()
        reconstruction, base = model.reconstruct(images(4)), AutoGAE.from_pretrained(tmp_path / name / "base")
        assert not torch.equal(reconstruction, base.reconstruct(images(4)))
        save_file({"x": images(4), "reconstruction": reconstruction}, tmp_path / name / "expected.safetensors")
    script = """
import sys
from pathlib import Path
import torch
from safetensors.torch import load_file
from transformers import AutoModel
from gae_hub import AutoGAE
for name in ("mlp", "conv"):
    folder = Path(sys.argv[1]) / name
    expected = load_file(folder / "expected.safetensors")
    for auto in (AutoGAE, AutoModel):
        model = auto.from_pretrained(folder / "adapter")
        # a copy is aligned in memory, on which the last bits of a matrix product depend
        print(torch.equal(model.reconstruct(expected["x"].clone()), expected["reconstruction"]), end=" ")
"""
    process = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], env=child_environment(), capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert process.stdout.split() == ["True"] * 4, process.stderr[-3000:]


def test_loading_by_every_class(adapter):
    expected = load_file(adapter / ADAPTER_WEIGHTS)
    for load in (AutoGAE.from_pretrained, VAEModel.from_pretrained, AutoModel.from_pretrained):
        model = load(adapter)
        found = model.get_adapter_state_dict()
        assert same({f"base_model.model.{key}": value for key, value in found.items()}, expected)
        assert not model.training and not any(p.requires_grad for n, p in model.named_parameters() if "lora" in n)
    base = AutoGAE.from_pretrained(adapter.parent / "base")
    base.load_adapter(str(adapter), is_trainable=True)
    assert torch.equal(base.reconstruct(images(2)), model.reconstruct(images(2)))
    assert {"lora" in name for name, p in base.named_parameters() if p.requires_grad} == {True}


def test_an_adapter_beside_its_model(adapter):
    """An adapter saved into its model's folder leaves the model there, and a model saved later replaces both."""
    model, base = AutoGAE.from_pretrained(adapter), adapter.parent / "base"
    weights = (base / "model.safetensors").read_bytes()
    model.save_pretrained(base)
    assert (base / "model.safetensors").read_bytes() == weights
    assert torch.equal(AutoGAE.from_pretrained(base).reconstruct(images(2)), model.reconstruct(images(2)))
    plain = VAE.build()
    plain.save_pretrained(base)
    assert torch.equal(AutoGAE.from_pretrained(base).reconstruct(images(2)), plain.eval().reconstruct(images(2)))


# Broken adapters


def change_config(folder, **fields):
    content = json.loads((folder / ADAPTER_CONFIG).read_text())
    (folder / ADAPTER_CONFIG).write_text(json.dumps({**content, **fields}))


def change_weights(folder, change):
    weights = load_file(folder / ADAPTER_WEIGHTS)
    change(weights)
    save_file(weights, folder / ADAPTER_WEIGHTS)


def remove_weights(folder):
    (folder / ADAPTER_WEIGHTS).unlink()


def pickle_weights(folder):
    torch.save(load_file(folder / ADAPTER_WEIGHTS), folder / "adapter_model.bin")
    remove_weights(folder)


def truncate(folder):
    (folder / ADAPTER_WEIGHTS).write_bytes((folder / ADAPTER_WEIGHTS).read_bytes()[:-8])


HEAD = "base_model.model.head.lora_A.weight"
BROKEN = {
    "no weights": (remove_weights, OSError, "is read from adapter_model.safetensors, but '.*' does not have it"),
    "pickle": (pickle_weights, OSError, "has only adapter_model.bin, which is pickled"),
    "truncated": (truncate, OSError, "truncated or corrupt"),
    "missing tensor": (
        lambda folder: change_weights(folder, lambda w: w.pop(HEAD)),
        ValueError,
        "head.lora_A.weight is missing",
    ),
    "other tensor": (
        lambda folder: change_weights(folder, lambda w: w.update(other=torch.ones(2))),
        ValueError,
        "the adapter '.*' does not fit this VAEModel: other is not expected",
    ),
    "other shape": (
        lambda folder: change_weights(folder, lambda w: w.update({HEAD: torch.ones(3, 16)})),
        ValueError,
        r"head.lora_A.weight has shape \(3, 16\) instead of \(2, 16\)",
    ),
    "nan": (
        lambda folder: change_weights(folder, lambda w: w[HEAD].fill_(float("nan"))),
        ValueError,
        "are nan or infinite",
    ),
    "huge rank": (lambda folder: change_config(folder, r=10**9), ValueError, r"instead of \(1000000000, 16\)"),
    "other layers": (lambda folder: change_config(folder, target_modules=["conv9"]), ValueError, "conv9"),
    "unknown kind": (lambda folder: change_config(folder, peft_type="NONE"), ValueError, "must have a peft_type"),
    "bad value": (lambda folder: change_config(folder, lora_dropout="x"), ValueError, "invalid adapter_config.json"),
    "not JSON": (lambda folder: (folder / ADAPTER_CONFIG).write_text("{"), ValueError, "not valid JSON"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_adapters_are_refused_and_change_nothing(fault, adapter):
    break_folder, error, message = BROKEN[fault]
    break_folder(adapter)
    with pytest.raises(error, match=message):
        AutoGAE.from_pretrained(adapter)
    model = AutoGAE.from_pretrained(adapter.parent / "base")
    before = model.state_dict()
    with pytest.raises(error, match=message):
        model.load_adapter(str(adapter))
    assert same(model.state_dict(), before)


def test_adapters_without_their_model(adapter, tmp_path, monkeypatch):
    for base in (None, str(tmp_path / "gone"), str(adapter), ["a"]):
        change_config(adapter, base_model_name_or_path=base)
        with pytest.raises((ValueError, OSError), match=r"load the model, and then the adapter|gone"):
            VAEModel.from_pretrained(adapter)
    with pytest.raises(OSError, match="no adapter_config.json"):
        VAE.build().load_adapter(str(tmp_path / "base"))
    monkeypatch.setattr("gae_hub.core.argument_checks.find_spec", lambda name: None)
    for load in (VAEModel.from_pretrained, AutoGAE.from_pretrained, VAE.build().load_adapter):
        with pytest.raises(ImportError, match=r"needs peft: pip install 'gae_hub\[peft\]'"):
            load(str(adapter))


def test_masked_layers_cannot_have_adapters():
    """A low-rank update would connect outputs of an autoregressive network with inputs after them."""
    model = ModelCase(VAEIAFModel, {"hidden_size": 8, "context_size": 4}).build()
    before = model.state_dict()
    with pytest.raises(ValueError, match=r"'.*first' cannot have an adapter: .*; leave it out of target_modules"):
        model.add_adapter(lora())
    assert same(model.state_dict(), before)
    model.add_adapter(lora(["head"]))


# Training


@pytest.mark.parametrize("case", MODELS, ids=lambda case: case.id)
def test_parameter_groups_partition_what_is_trained(case):
    model = case.build()
    model.add_adapter(lora(["head"] if hasattr(model, "head") else ["decoder.net.0"]))
    trained = [id(p) for p in model.parameters() if p.requires_grad]
    grouped = [id(p) for parameters in model.parameter_groups().values() for p in parameters]
    assert len(trained) == 2 and sorted(grouped) == sorted(trained)


@pytest.mark.parametrize("case", STATEFUL, ids=lambda case: case.id)
def test_training_changes_only_the_adapter(case, tmp_path):
    """Running statistics, codes, centroids and the optimal variance are the model's, and are not in an adapter."""
    model = save_base(tmp_path / "base", case)
    before = base_state(model)
    model.add_adapter(lora(["head"]))
    trainer = make_trainer(tmp_path / "run", model, num_train_epochs=1)
    trainer.train()
    assert same(base_state(model), before) and model.get_adapter_state_dict()["head.lora_B.weight"].any()
    loaded = AutoGAE.from_pretrained(tmp_path / "run" / "checkpoint-3")
    assert torch.equal(loaded.reconstruct(images(4)), model.reconstruct(images(4)))


def test_resumed_training_is_exact(tmp_path):
    def start(steps):
        model = AutoGAE.from_pretrained(tmp_path / "base")
        torch.manual_seed(0)
        model.add_adapter(lora(lora_alpha=16))
        settings = {"save_strategy": "steps", "save_steps": 2, "ema_decay": 0.5}
        return make_trainer(tmp_path / "run", model, max_steps=steps, lr_scheduler_type="constant", **settings)

    save_base(tmp_path / "base")
    whole = start(6)
    whole.train()
    resumed = start(6)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    assert same(whole.model.state_dict(), resumed.model.state_dict())
    other = start(6)
    other.model.peft_config["default"].lora_alpha = 8
    with pytest.raises(ValueError, match="lora_alpha of the adapter was 16 and is 8"):
        other.train(resume_from_checkpoint=True)


def test_the_best_adapter_is_kept(tmp_path):
    """A learning rate that ruins the adapter leaves the first step's, which is the best."""
    model = save_base(tmp_path / "base")
    model.add_adapter(lora())
    every_step = {"save_strategy": "steps", "save_steps": 1, "eval_strategy": "steps", "eval_steps": 1}
    trainer = make_trainer(
        tmp_path / "run", model, eval_data=images(8), max_steps=3, learning_rate=1.0, load_best_model_at_end=True,
        lr_scheduler_type="constant", divergence_threshold=0, **every_step,
    )  # fmt: skip
    trainer.train()
    best = load_file(tmp_path / "run" / f"checkpoint-{trainer.state.best_global_step}" / ADAPTER_WEIGHTS)
    assert trainer.state.best_global_step < 3
    assert same({f"base_model.model.{k}": v for k, v in model.get_adapter_state_dict().items()}, best)


def test_the_card_of_an_adapter(adapter):
    model = AutoGAE.from_pretrained(adapter)
    model.source = ("user/vae", {})
    card = render_card(model, {}, adapter, "adapter")
    assert "\nbase_model: user/vae\n" in card and "After `pip install 'gae_hub[peft]'`:" in card
