"""Checkpoints with tampered or damaged files: each is loaded, or is an error of one sentence."""

import json
import math

import pytest
import torch
from cases import VAE
from fuzzing import broken_texts, check_reading, json_variants, safetensors_variants, sample
from safetensors.torch import load_file, save_file

from gae_hub import AutoGAE, AutoSampler, GaussianMixtureSampler, VAEModel

NUM_SAMPLED = 60  # variants of each file


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


def test_keys_of_transformers(model_folder):
    """Keys that our configs do not have, but transformers acts on."""
    file = model_folder / "config.json"
    config, variants = json.loads(file.read_text()), []
    for key in (
        "_attn_implementation",
        "attn_implementation",
        "custom_pipelines",
        "experts_implementation",
        "num_labels",
        "quantization_config",
        "tie_word_embeddings",
        "torch_dtype",
        "base_model_tp_plan",
    ):
        variants += [(f"{key}, {name}", text) for name, text in json_variants({**config, key: 0}) if key in name]
    outcomes = check_reading(file, variants, lambda: AutoGAE.from_pretrained(model_folder))
    assert sum(outcomes.values()) == len(variants) == 99


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dtype": "text"}, "dtype must be a dtype of PyTorch, such as 'float32', got 'text'"),
        ({"latent_dim": "text"}, "invalid VAEConfig: Validation error for field 'latent_dim'"),
        ({"input_shape": None}, "invalid VAEConfig: .*NoneType"),
        ({"latent_dim": -1}, "config.json of '.*' has latent_dim = -1, but it must be 0 or more"),
        ({"auto_map": None}, "auto_map in config.json of '.*' must be an object such as .*, got None"),
        ({"encoder_config": {"auto_map": []}}, "auto_map in config.json of '.*' must be an object"),
        ({"beta": math.nan}, "config.json of '.*' is not valid JSON: NaN is not a number in JSON"),
        ({"id2label": {"0": [[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]}}, "nested deeper than 20 levels"),
    ],
)
def test_values_of_another_type(model_folder, fields, message):
    file = model_folder / "config.json"
    text = json.dumps({**json.loads(file.read_text()), **fields})
    before = file.read_text()
    file.write_text(text)
    try:
        with pytest.raises(ValueError, match=message):
            AutoGAE.from_pretrained(model_folder)
    finally:
        file.write_text(before)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([], "index.json of '.*' must hold a JSON object, got a list"),
        ({"metadata": {}}, "must have the objects weight_map, which names files, and metadata"),
        ({"metadata": {}, "weight_map": {"a": None}}, "names None, which is not a safetensors file in its folder"),
    ],
)
def test_invalid_indices(tmp_path, index, message):
    VAE.build().save_pretrained(tmp_path, max_shard_size="5KB")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=message):
        AutoGAE.from_pretrained(tmp_path)


def test_a_missing_shard(tmp_path):
    VAE.build().save_pretrained(tmp_path, max_shard_size="5KB")
    first = sorted(tmp_path.glob("model-*.safetensors"))[0]
    first.unlink()
    with pytest.raises(OSError, match=f"has no file {first.name}, which its model.safetensors.index.json names"):
        AutoGAE.from_pretrained(tmp_path)


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
