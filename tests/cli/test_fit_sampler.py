"""`gae-hub fit-sampler`: flags of samplers, and where the sampler is saved."""

import re

import pytest
from shell import run

from gae_hub import AutoSampler
from gae_hub.cli.dataclass_flags import _documented_fields
from gae_hub.samplers.base import SAMPLERS


def test_fields_of_the_sampler_are_flags(trained):
    assert AutoSampler.from_pretrained(trained, subfolder="sampler").config.num_components == 3
    flags = ["--sampler_name", "diagonal", "--covariance_type", "diag", "--num_components", "[1, 2]"]
    assert run("fit-sampler", trained, *flags) == 0
    config = AutoSampler.from_pretrained(trained, subfolder="diagonal").config
    assert config.covariance_type == "diag" and config.num_components in (1, 2)


def test_help_shows_the_fields_and_training_arguments_of_the_sampler(capsys):
    assert run("fit-sampler", "--sampler", "maf", "--help") == 0
    out = capsys.readouterr().out
    assert "fields of MAFSamplerConfig:" in out and "--num_flows " in out and "(default: cosine)" in out
    assert "--latent_dim " not in out and "--output_dir " not in out
    assert run("fit-sampler", "--help") == 0
    out = capsys.readouterr().out
    assert "--num_components " in out and "--num_train_epochs" not in out


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_fields_that_fit_sets_are_no_flags(name, capsys):
    """They are those whose text says so."""
    config_class = SAMPLERS[name].config_class
    found = _documented_fields(config_class)
    said = {field for field, text in found.items() if re.search("`fit(_to)?` sets", " ".join(text.split()))}
    assert {"latent_dim", "constants"} <= said <= set(config_class.set_by_fit) <= set(config_class.own_fields())
    assert run("fit-sampler", "--sampler", name, "--help") == 0
    flags = set(re.findall(r"^  --(\w+)", capsys.readouterr().out, re.MULTILINE))
    assert flags.isdisjoint(config_class.set_by_fit)
    assert set(config_class.own_fields()) <= flags | set(config_class.set_by_fit)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--sampler mfa", "no sampler is called 'mfa'; did you mean 'maf'?"),
        ("--num_component 3", "unknown flag --num_component; did you mean --num_components?"),
        ("--sampler maf --num_train_epoch 3", "unknown flag --num_train_epoch; did you mean --num_train_epochs?"),
        (
            "--num_train_epochs 3",
            "unknown flag --num_train_epochs; did you mean --num_iterations?",
        ),
        ("--xyz 3", "unknown flag --xyz; `gae-hub fit-sampler --sampler gaussian_mixture --help` shows all flags"),
        ("--num_components x", "--num_components: expected an integer or a list of integers, got 'x'"),
        ("--sampler_name prior", "--sampler_name: 'prior' stands for the model's own prior; choose another name"),
    ],
)
def test_usage_errors(words, message, trained, capsys):
    assert run("fit-sampler", trained, *words.split()) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"gae-hub fit-sampler: {message}") and err.count("\n") == 1


def test_the_model_must_be_a_folder(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("fit-sampler", "user/model") == 2
    assert "model: expected a folder, to save the sampler in, got 'user/model'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
