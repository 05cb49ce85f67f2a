"""Checkpoints that were made to run code or to exhaust memory: loading raises before either happens."""

import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from cases import VAE

from gae_hub import (
    AutoGAE,
    AutoSampler,
    EmpiricalSampler,
    GenerationPipeline,
    MAFSampler,
    PixelCNNSampler,
    TwoStageVAESampler,
    VAEModel,
)


@pytest.fixture
def checkpoint(tmp_path):
    VAE.build().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def edit(path: Path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


# Code


class Bomb:
    """Creates a file when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("exploded"),)


def test_pickled_files_are_not_loaded(checkpoint, monkeypatch):
    monkeypatch.chdir(checkpoint)
    (checkpoint / "model.safetensors").unlink()
    for name in ("pytorch_model.bin", "training_args.bin", "model.pt", "encoder.pkl"):
        torch.save(Bomb(), checkpoint / name)
    for load in (AutoGAE.from_pretrained, VAEModel.from_pretrained, GenerationPipeline.from_pretrained):
        with pytest.raises(OSError, match="model.safetensors"):
            load(checkpoint)
    assert not (checkpoint / "exploded").exists()


def test_code_does_not_run_without_consent(checkpoint, monkeypatch):
    """Without `trust_remote_code`, the library's own class loads the checkpoint."""
    monkeypatch.chdir(checkpoint)
    (checkpoint / "evil.py").write_text("from pathlib import Path\nPath('exploded').touch()\n")
    edit(
        checkpoint / "config.json",
        lambda c: c.update(auto_map={"AutoModel": "evil.Model", "AutoConfig": "evil.Config"}),
    )
    assert type(AutoGAE.from_pretrained(checkpoint)) is VAEModel
    assert type(VAEModel.from_pretrained(checkpoint)) is VAEModel
    assert type(GenerationPipeline.from_pretrained(checkpoint).model) is VAEModel
    assert not (checkpoint / "exploded").exists()


# Memory

LOAD_WITH_LIMITED_MEMORY = """
import resource, sys
from pathlib import Path
from gae_hub import AutoGAE, AutoSampler
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (2 << 30),) * 2)
for folder in map(Path, sys.argv[1:]):
    kind = AutoSampler if "_sampler" in (folder / "config.json").read_text() else AutoGAE
    try:
        kind.from_pretrained(folder)
    except (OSError, ValueError) as error:
        print(type(error).__name__, str(error).replace(chr(10), " "))
"""


def load_with_limited_memory(*folders: Path) -> list[str]:
    """The errors of loading these checkpoints in a process that may allocate 2 GB."""
    process = subprocess.run(
        [sys.executable, "-c", LOAD_WITH_LIMITED_MEMORY, *folders], capture_output=True, text=True, timeout=100
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()


def unfitted(cls, **fields):
    """A sampler with its initial state."""
    return cls(**{"latent_dim": 3, "latent_shape": [3], **fields})


CODES = {"latent_dim": 12, "latent_shape": [3, 2, 2], "num_embeddings": 5, "code_shape": [2, 2], "hidden_size": 4}
FLOW = partial(unfitted, MAFSampler, hidden_size=4)
HUGE = [  # field, checkpoint, edit of its config
    ("latent_dim", VAE.build, lambda c: c.update(latent_dim=10**12)),
    ("input_shape", VAE.build, lambda c: c.update(input_shape=[1, 10**9, 10**9])),
    ("hidden_sizes", VAE.build, lambda c: c["encoder_config"].update(hidden_sizes=[10**12])),
    ("latent_dim", VAE.build, lambda c: c.update(latent_dim=10**6)),
    ("hidden_sizes", VAE.build, lambda c: c["decoder_config"].update(hidden_sizes=[10**6] * 2)),
    ("hidden_sizes", VAE.build, lambda c: c["decoder_config"].update(hidden_sizes=[1] * 10_000)),
    ("channels", VAE.build, lambda c: c.update(encoder_config={"model_type": "conv", "channels": [1] * 10_000})),
    (
        "num_residual_blocks",
        VAE.build,
        lambda c: c.update(encoder_config={"model_type": "resnet", "num_residual_blocks": 10**6}),
    ),
    ("num_flows", FLOW, lambda c: c.update(num_flows=10**6)),
    ("num_hidden_layers", FLOW, lambda c: c.update(num_hidden_layers=10**6)),
    ("hidden_size", FLOW, lambda c: c.update(hidden_size=10**6)),
    ("num_hidden_layers", partial(unfitted, PixelCNNSampler, **CODES), lambda c: c.update(num_hidden_layers=10**6)),
    ("hidden_sizes", partial(unfitted, TwoStageVAESampler), lambda c: c.update(hidden_sizes=[1] * 10_000)),
    ("num_latents", partial(unfitted, EmpiricalSampler, num_latents=2), lambda c: c.update(num_latents=10**12)),
]


def test_huge_sizes_in_a_config(tmp_path):
    folders = [tmp_path / str(number) for number in range(len(HUGE))]
    for folder, (_, build, change) in zip(folders, HUGE, strict=True):
        build().save_pretrained(folder)
        edit(folder / "config.json", change)
    errors = load_with_limited_memory(*folders)
    for (field, _, _), error in zip(HUGE, errors, strict=True):
        assert error.startswith("ValueError")
        assert f"config.json has {field} " in error or re.search("do not fit the .* in its config.json", error)


def test_layers_are_counted(checkpoint):
    edit(checkpoint / "config.json", lambda c: c["decoder_config"].update(hidden_sizes=[1] * 10_000))
    with pytest.raises(ValueError, match="has hidden_sizes with 10,000 layers, but the weights are 8 tensors"):
        AutoGAE.from_pretrained(checkpoint)


def weights_with_header(entry: dict, length: int | None = None) -> bytes:
    """A safetensors file of 24 bytes of data whose header has one entry and may declare another length."""
    header = json.dumps({"head.bias": entry}).encode()
    return (length or len(header)).to_bytes(8, "little") + header + b"\0" * 24


def test_headers_that_do_not_match_the_weights(tmp_path):
    headers = [
        {"entry": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}},
        {"entry": {"dtype": "F32", "shape": [6], "data_offsets": [0, 4 * 10**12]}},
        {"entry": {"dtype": "F32", "shape": [6], "data_offsets": [-24, 24]}},
        {"entry": {"dtype": "F99", "shape": [6], "data_offsets": [0, 24]}},
        {"entry": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}, "length": 2**63 - 1},
        {"entry": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}, "length": 10**9},
    ]
    folders = [tmp_path / str(number) for number in range(len(headers))]
    for folder, header in zip(folders, headers, strict=True):
        VAE.build().save_pretrained(folder)
        (folder / "model.safetensors").write_bytes(weights_with_header(**header))
    errors = load_with_limited_memory(*folders)
    for header, error in zip(headers, errors, strict=True):
        assert error.startswith("OSError") and "are truncated or corrupt" in error, header


# Files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda text: text + " " * (1 << 21), r"has 2,09\d,\d+ bytes, but a config has at most 1,048,576"),
        (lambda text: "[" * 100_000, "is not valid JSON"),
        (lambda text: "{" + text, "is not valid JSON"),
        (lambda text: "[]", "must hold a JSON object, got a list"),
    ],
    ids=["long", "deep", "broken", "list"],
)
def test_invalid_configs(checkpoint, content, message):
    path = checkpoint / "config.json"
    path.write_text(content(path.read_text()))
    for load in (AutoGAE.from_pretrained, AutoSampler.from_pretrained, VAEModel.from_pretrained):
        with pytest.raises(ValueError, match=message):
            load(checkpoint)


def test_an_index_with_files_outside_the_folder(checkpoint, tmp_path):
    (checkpoint / "model.safetensors").replace(tmp_path / "secret.safetensors")
    for place in (
        "../secret.safetensors",
        str(tmp_path / "secret.safetensors"),
        "..\\secret.safetensors",
        ".safetensors",
    ):
        index = {"metadata": {}, "weight_map": {"head.bias": place}}
        (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises(ValueError, match="which is not a safetensors file in its folder"):
            AutoGAE.from_pretrained(checkpoint)
