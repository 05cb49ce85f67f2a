"""Snippets, errors, tables, commands and links of README and docs are correct."""

import inspect
import re
import runpy
import shutil
from pathlib import Path

import pytest
import torch
from builders import mnist_stand_in
from cases import images
from localhub import LocalHub, point_clients_at
from PIL import Image

import gae_hub
from gae_hub.cli.main import main
from gae_hub.data.options import DataOptions

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DATA = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
PICTURES = (ROOT / "docs" / "pictures.md").read_text(encoding="utf-8")
SCIKIT_LEARN = (ROOT / "docs" / "scikit_learn.md").read_text(encoding="utf-8")
TRANSFORMERS = (ROOT / "docs" / "transformers.md").read_text(encoding="utf-8")
PIPELINES = (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")
TRAINING = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
X = images(8, (1, 28, 28))


def snippets(language="", page=README):
    """The fenced code blocks of a language on a page."""
    return [body for name, body in re.findall(r"^```(\w*)\n(.*?)^```$", page, re.S | re.M) if name == language]


def test_output_of_the_first_snippet(tmp_path, monkeypatch, capsys):
    """It runs offline, with fewer epochs."""
    monkeypatch.chdir(tmp_path)
    first, output = snippets("python")[0], snippets()[1]
    assert first.count("num_train_epochs=40, ") == 1
    exec(first.replace("num_train_epochs=40, ", "num_train_epochs=1, disable_tqdm=True, "), {})
    assert capsys.readouterr().out.endswith(output)
    assert (tmp_path / "betavae-digits" / "assets" / "samples.png").is_file()


@pytest.mark.slow
def test_snippets_of_the_readme_run(tmp_path, monkeypatch):
    """Train, fit and publish, then use and measure the model with an empty cache; without tracker, in four steps."""
    _, use, train, own, measure = snippets("python")
    monkeypatch.chdir(tmp_path)
    with LocalHub(users={"user": "hf_user", "ylecun": "hf_ylecun"}) as hub:
        (tmp_path / "data").mkdir()
        mnist_stand_in(hub, tmp_path / "data")
        with point_clients_at(hub, tmp_path / "home", token="hf_user"):
            scope = {}
            exec(train.replace('report_to="trackio"', 'report_to="none", disable_tqdm=True, max_steps=4'), scope)
            exec(own, scope)
            assert scope["model"](X).loss.isfinite()
        with point_clients_at(hub, tmp_path / "stranger", token=False):
            scope = {"images": X}
            exec(use, scope)
            extractor = "train-extractor --dataset ylecun/mnist --num_train_epochs 1 --output_dir mnist-extractor"
            assert main(extractor.split()) == 0
            exec(measure, scope)
            scope["fid"].add_batch(references=scope["images"], predictions=scope["fresh"])
            assert {"fid", "passport"} == set(scope["fid"].compute())
    assert scope["latents"].shape == (8, 16) and scope["path"].shape == (4, 10, 1, 28, 28)
    assert scope["nats"].shape == (8,) and scope["fresh"].shape == scope["better"].shape == (16, 1, 28, 28)


def test_training_page(tmp_path, monkeypatch, capsys):
    """The first snippet runs unchanged, that of adapters for one step with its model. The search needs Ray, so it is
    only compiled. All flags exist."""
    monkeypatch.chdir(tmp_path)
    first, search, adapter = snippets("python", TRAINING)
    scope = {}
    exec(first, scope)
    assert len(list((tmp_path / "betavae-digits" / "assets" / "progress").glob("*.png"))) == 4
    scope["trainer"].save_model()
    adapted = {}
    exec(adapter.replace("num_train_epochs=1", "max_steps=1, disable_tqdm=True"), adapted)
    assert adapted["model"].get_adapter_state_dict()["head.lora_B.weight"].any()
    assert compile(search, "training.md", "exec") and hasattr(scope["trainer"], "hyperparameter_search")
    flags = set(re.findall(r"--(\w+)", " ".join(re.findall(r"`(?:gae-hub train )?--[^`]*`", TRAINING))))
    known = {*vars(scope["args"]), "recipe", "resume"}
    assert flags and flags <= known


def test_data_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (first,) = snippets("python", DATA)
    scope = {}
    exec(first, scope)
    assert scope["people"].shape == (5, 2) and (scope["people"].mean(0) > 40).all()  # cm and kg
    assert re.findall(r"^\| `(\w+)` \| ", DATA, re.M) == list(DataOptions.names())


def test_transformers_page(tmp_path, monkeypatch):
    """The snippets run; the table has the tests that do not hold."""
    monkeypatch.chdir(tmp_path)
    Image.new("L", (28, 28)).save("digit.png")
    scope = {}
    for snippet in snippets("python", TRANSFORMERS):
        exec(snippet, scope)
    assert len(scope["extract"]("digit.png")[0]) == 16
    assert scope["embedding"].shape == (7, 16) and scope["reconstruction"].shape == (7, 1, 28, 28)
    suite = (ROOT / "tests" / "peers" / "test_transformers_suite.py").read_text(encoding="utf-8")
    absent = set(re.findall(r'"(test_\w+)": "', suite))
    assert absent and absent == set(re.findall(r"`(test_\w+)`", TRANSFORMERS))


def test_pipelines_page(trained, digits, tmp_path, monkeypatch):
    """The snippets run in order; the table has every task, its class and its call."""
    from gae_hub.pipelines import TASKS

    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "betavae-digits")
    image = gae_hub.GAEImageProcessor((1, 8, 8)).postprocess(digits[1][0]["pixel_values"][None])[0]
    image.save("digit.png")
    scope = {}
    for snippet in snippets("python", PIPELINES):
        exec(snippet, scope)
    assert len(scope["images"]) == len(scope["better"]) == 16 and len(scope["path"]) == 10
    assert len(scope["strips"]) == 2 and len(scope["embedding"]) == 4 and scope["image"].size == (8, 8)
    assert type(scope["generate"].sampler).__name__ == "GaussianMixtureSampler"
    rows = dict(re.findall(r"^\| `([\w-]+)` \| `(\w+)` \|", PIPELINES, re.M))
    assert rows == {task: path.split(".")[1] for task, path in TASKS.items()}


def test_pictures_page(tmp_path, monkeypatch, trained, model, digits):
    """The snippets run, the table lists all functions, and the pictures exist."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "betavae-digits").symlink_to(trained)
    scope = {"model": model, "validation": digits[1]}
    for snippet in snippets("python", PICTURES):
        exec(snippet, scope)
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("samples.png", "traversals.pdf", "embeddings.pdf"))
    assert len(scope["figure"].axes[0].images) == 64
    assert sorted(re.findall(r"^\| `(\w+)` \| ", PICTURES, re.M)) == gae_hub.plot.__all__
    assert all((ROOT / "docs" / path).is_file() for path in re.findall(r"\]\((images/[^)]+)\)", PICTURES))


def test_scikit_learn_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (snippet,) = snippets("python", SCIKIT_LEARN)
    assert snippet.count("num_train_epochs=5, ") == 1
    scope = {}
    exec(snippet.replace("num_train_epochs=5, ", "num_train_epochs=1, num_likelihood_samples=2, "), scope)
    assert scope["latents"].shape == (1797, 8) and scope["restored"].shape == (1797, 64)
    assert scope["nats"].shape == (100,) and scope["fresh"].shape == (16, 64)
    assert set(scope["search"].best_params_) == {"latent_dim", "config__beta"} and list(tmp_path.iterdir()) == []
    parameters = re.findall(r"^\| `(\w+)` \| ", SCIKIT_LEARN, re.M)
    assert parameters == list(inspect.signature(gae_hub.GAETransformer).parameters)


def test_errors_in_the_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bert-base-uncased").mkdir()
    (tmp_path / "bert-base-uncased" / "config.json").write_text('{"model_type": "bert"}')
    (session,) = [snippet for snippet in snippets() if snippet.startswith(">>>")]
    model = gae_hub.BetaVAEModel(gae_hub.BetaVAEConfig(latent_dim=2))
    scope = {"BetaVAEConfig": gae_hub.BetaVAEConfig, "model": model, "torch": torch, "AutoGAE": gae_hub.AutoGAE}
    pairs = re.findall(r">>> (.*)\nValueError: (.*)", session)
    assert len(pairs) == 3
    for call, message in pairs:
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            eval(call, scope)


def test_readme_tables_are_current():
    update = runpy.run_path(str(ROOT / "scripts" / "update_readme.py"))
    assert update["update_readme"](README) == README, "run python scripts/update_readme.py"


def test_counts_and_the_page_of_samplers_are_current():
    methods, samplers = gae_hub.AutoGAE.names(), gae_hub.AutoSampler.names()
    assert f"{len(methods)} methods, " in README and f"and {len(samplers)} samplers " in README, "see README, line 3"
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "samplers.md").read_text(encoding="utf-8"), re.M)
    assert sorted(rows) == sorted(samplers), "docs/samplers.md has one row for each sampler"


def test_commands_and_links_of_the_readme_exist():
    from gae_hub.cli.main import COMMANDS

    commands = re.findall(r"^gae-hub ((?:study )?[\w-]+)", "\n".join(snippets()), re.M)
    assert commands and set(commands) <= set(COMMANDS)
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"\n{target}:" in makefile for target in re.findall(r"^make (\w+)", README, re.M))
    assert all((ROOT / path).is_file() for path in re.findall(r"scripts/\w+\.py", README))
    assert all((ROOT / path).is_file() for path in re.findall(r"\]\((?!http)([^)]+)\)", README))


def test_versions_agree():
    from importlib.metadata import version

    assert gae_hub.__version__ == version("gae_hub")
    assert f"version: {gae_hub.__version__}" in (ROOT / "CITATION.cff").read_text()
