"""Checkpoints with tampered or damaged files: each is loaded, or is an error of one sentence."""

import json
import math

import pytest
import torch
from cases import SAMPLERS, VAE
from fuzzing import broken_texts, check_reading, json_variants, safetensors_variants, sample
from safetensors.torch import load_file, save_file

from gae_hub import AutoGAE, AutoSampler, GaussianMixtureSampler, VAEModel

NUM_SAMPLED = 300  # variants of each file


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    VAE.build(encoder_config="conv").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def sampler_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sampler")
    GaussianMixtureSampler(num_components=2).fit(torch.randn(20, 3)).save_pretrained(folder)
    return folder


def check_json(file, read):
    """Fuzz a JSON file. Returns how many variants there were."""
    variants = [*sample(json_variants(json.loads(file.read_text())), NUM_SAMPLED), *broken_texts(file.read_text())]
    outcomes = check_reading(file, variants, read)
    assert sum(outcomes.values()) == len(variants) and outcomes["rejected"] > 0.3 * len(variants)


@pytest.mark.parametrize("load", [AutoGAE.from_pretrained, VAEModel.from_pretrained], ids=["auto", "class"])
def test_fuzzed_config(model_folder, load):
    check_json(model_folder / "config.json", lambda: load(model_folder))


def test_fuzzed_config_of_a_sampler(sampler_folder):
    check_json(sampler_folder / "config.json", lambda: AutoSampler.from_pretrained(sampler_folder))


@pytest.mark.parametrize("place", ["root", "encoder_config"])
def test_fuzzed_auto_map(model_folder, place):
    """With consent to run code, of which there is none in the folder."""
    file = model_folder / "config.json"
    config = json.loads(file.read_text())
    auto_map = {"AutoModel": "missing.Model", "AutoConfig": "missing.Config"}
    variants = []
    for name, text in json_variants(auto_map):
        changed = (
            {**config, "auto_map": "@"} if place == "root" else config | {place: {**config[place], "auto_map": "@"}}
        )
        variants.append((name, json.dumps(changed).replace('"@"', text)))
    check_reading(file, variants, lambda: AutoGAE.from_pretrained(model_folder))
    check_reading(file, variants, lambda: AutoGAE.from_pretrained(model_folder, trust_remote_code=True))


def test_fuzzed_index(tmp_path):
    VAE.build().save_pretrained(tmp_path, max_shard_size="5KB")
    check_json(tmp_path / "model.safetensors.index.json", lambda: AutoGAE.from_pretrained(tmp_path))


def test_fuzzed_weights(model_folder):
    file = model_folder / "model.safetensors"
    variants = sample(safetensors_variants(file.read_bytes()), NUM_SAMPLED)
    outcomes = check_reading(file, variants, lambda: AutoGAE.from_pretrained(model_folder))
    assert sum(outcomes.values()) == len(variants) and outcomes["rejected"] > 0.5 * len(variants)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite(model_folder, sampler_folder, value):
    """Loading names them, and what to do."""
    for folder, load in ((model_folder, AutoGAE.from_pretrained), (sampler_folder, AutoSampler.from_pretrained)):
        file = folder / "model.safetensors"
        before, weights = file.read_bytes(), load_file(file)
        name = next(key for key, tensor in weights.items() if tensor.is_floating_point())
        weights[name].view(-1)[-1] = value
        save_file(weights, file, metadata={"format": "pt"})
        with pytest.raises(ValueError, match=f"weights of '.*' are nan or infinite in {name}; .*load an earlier"):
            load(folder)
        file.write_bytes(before)
        load(folder)


@pytest.mark.parametrize("case", SAMPLERS, ids=lambda case: case.id)
def test_fitted_samplers_are_finite(case, tmp_path):
    """No sampler keeps an infinite value in its state, which loading would reject."""
    sampler, _ = case.fit_to_source(**case.brief())
    sampler.save_pretrained(tmp_path)
    AutoSampler.from_pretrained(tmp_path)
