"""`gae-hub train`: flags, YAML files, the record of a run, and launchers."""

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
import yaml
from cases import images
from shell import run

from gae_hub import AutoGAE, GAETrainingArguments
from gae_hub.cli.main import make_parser
from gae_hub.cli.run_record import RUN_FILE
from gae_hub.core.yaml_files import load_yaml

SCRIPT = Path(__file__).parents[2] / "scripts" / "train.py"
QUICK = ["--num_train_epochs", "1", "--disable_tqdm", "true", "--latent_dim", "3"]


def record(folder):
    return load_yaml((folder / RUN_FILE).read_text())


def test_train_writes_a_complete_folder(trained):
    names = {str(path.relative_to(trained)) for path in trained.rglob("*") if path.is_file()}
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "README.md", "training.json", RUN_FILE,
            "assets/loss.png", "assets/reconstructions.png", "assets/interpolations.png", "assets/samples.png",
            "sampler/config.json", "sampler/model.safetensors"} <= names  # fmt: skip
    model = AutoGAE.from_pretrained(trained)
    assert (model.config.beta, model.config.latent_dim) == (0.1, 4)
    assert yaml.safe_load((trained / RUN_FILE).read_text())["beta"] == 0.1


def test_the_command_line_takes_precedence_over_the_yaml_file(tmp_path):
    """Numbers may have any notation, and settings may be nested."""
    (tmp_path / "run.yaml").write_text(
        "model: beta_vae\nbeta: 4\nlatent_dim: 5\nlearning_rate: 1e-3\nnum_train_epochs: 1\ndisable_tqdm: true\n"
        "encoder: {model_type: mlp, hidden_sizes: [7]}\n"
    )
    assert run("train", "--config", tmp_path / "run.yaml", "--beta=1e-1", "--output_dir", tmp_path / "out") == 0
    config = AutoGAE.from_pretrained(tmp_path / "out").config
    assert (config.beta, config.latent_dim, config.encoder_config.hidden_sizes) == (0.1, 5, [7])
    assert run("train", "--config", tmp_path / "out" / RUN_FILE, "--output_dir", tmp_path / "again") == 0
    assert AutoGAE.from_pretrained(tmp_path / "again").config.beta == 0.1
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (
        tmp_path / "again" / "model.safetensors"
    ).read_bytes()


def test_a_compiled_run_has_the_same_weights(tmp_path):
    """The last batch is smaller than the others: digits have 1,397 training images."""
    flags = ["--model", "vae", "--max_steps", "8", "--per_device_train_batch_size", "400", *QUICK]
    for folder, batch in (("plain", []), ("compiled", ["--torch_compile", "--torch_compile_backend", "eager"])):
        assert run("train", *flags, *batch, "--output_dir", tmp_path / folder) == 0
    plain, compiled = (AutoGAE.from_pretrained(tmp_path / name).state_dict() for name in ("plain", "compiled"))
    assert plain.keys() == compiled.keys()
    for name, weight in plain.items():
        torch.testing.assert_close(compiled[name], weight)


def test_the_record_of_a_run_holds_typed_values(tmp_path):
    (tmp_path / "run.yaml").write_text("eval_strategy: no\nadam_epsilon: 1e-7\nlogging_steps: 5\n")
    flags = ["--run_name", "1", "--project", "true", "--max_steps", "2", "--hub_model_id", "1e-3"]
    nested = ["--group_learning_rates", '{"autoencoder": 1e-5}']
    out = tmp_path / "out"
    assert run("train", "--config", tmp_path / "run.yaml", *flags, *nested, "--output_dir", out, *QUICK) == 0
    assert record(out) == {
        **{"model": "beta_vae", "dataset": "digits", "seed": 0, "output_dir": str(out), "latent_dim": 3},
        **{"eval_strategy": "no", "adam_epsilon": 1e-7, "logging_steps": 5.0, "run_name": "1", "project": "true"},
        **{"max_steps": 2, "hub_model_id": "1e-3", "group_learning_rates": {"autoencoder": 1e-5}},
        **{"num_train_epochs": 1.0, "disable_tqdm": True},
    }


def test_the_record_of_a_run_holds_no_secret_and_nothing_that_deletes(tmp_path):
    flags = ["--hub_token", "hf_secret", "--overwrite_output_dir", "true", "--output_dir", tmp_path / "out", *QUICK]
    assert run("train", *flags) == 0
    files = [path for path in (tmp_path / "out").rglob("*") if path.suffix in {".json", ".yaml", ".md"}]
    assert files and all("hf_secret" not in path.read_text() for path in files)
    assert not {"hub_token", "overwrite_output_dir"} & record(tmp_path / "out").keys()


def test_the_recipe_gives_defaults(tmp_path):
    flags = ["--recipe", "paper", "--max_steps", "1", "--learning_rate", "0.5", "--output_dir", tmp_path / "out"]
    assert run("train", *flags, *QUICK) == 0
    found = record(tmp_path / "out")
    assert found["per_device_train_batch_size"] == 100 and found["lr_scheduler_kwargs"]["factor"] == 0.5
    assert found["learning_rate"] == 0.5


@pytest.mark.parametrize("name", AutoGAE.names())
def test_no_field_of_a_method_hides_a_training_argument(name):
    arguments = {field.name for field in fields(GAETrainingArguments)}
    assert not arguments & set(AutoGAE.config_class(name).own_fields())


def test_folders_and_resuming(tmp_path):
    from builders import hub_folder

    (tmp_path / "data").mkdir()
    folder, _ = hub_folder(tmp_path / "data")
    train = ["train", "--dataset", folder, "--output_dir", tmp_path / "out", *QUICK, "--encoder", "conv"]
    assert run(*train) == 0 and AutoGAE.from_pretrained(tmp_path / "out").config.input_shape == (1, 6, 5)
    assert run(*train) == 2
    assert run(*train[:-6], "--num_train_epochs", 2, *QUICK[2:], "--encoder", "conv", "--resume") == 0
    assert run(*train[:-6], "--num_train_epochs", 2, *QUICK[2:], "--encoder", "conv", "--resume", "auto") == 0
    assert {path.name for path in (tmp_path / "out").glob("checkpoint-*")} == {"checkpoint-1", "checkpoint-2"}
    assert run(*train, "--overwrite_output_dir", "true", "--validation_size", "5", "--image_size", "4") == 0
    assert AutoGAE.from_pretrained(tmp_path / "out").config.input_shape == (1, 4, 4)


def test_later_commands_read_the_data_of_the_run_and_a_stale_sampler_is_removed(tmp_path, capsys):
    from builders import hub_folder

    (tmp_path / "data").mkdir()
    folder, _ = hub_folder(tmp_path / "data")
    out = tmp_path / "out"
    train = ["train", "--dataset", folder, "--output_dir", out, *QUICK, "--image_size", 4, "--validation_size", 10]
    assert run(*train) == 0
    assert run("fit-sampler", out, "--num_components", 2) == 0
    assert "fitted to 20 latents" in capsys.readouterr().out
    assert run("evaluate", out, "--split", "validation", "--metrics", "mse") == 0
    assert json.loads((out / "results.json").read_text())["split"] == "validation"
    assert run(*train, "--num_train_epochs", 2, "--resume") == 0
    assert not (out / "sampler").exists()
    assert "gaussian mixture" not in (out / "README.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "betavae"], "no autoencoder is called 'betavae'; did you mean 'beta_vae'?"),
        (["--model", "vae", "--beta", "2"], "unknown flag --beta; `gae-hub train --model vae --help` shows all flags"),
        (["--learnin_rate", "2"], "unknown flag --learnin_rate; did you mean --learning_rate?"),
        (["--learning-rate", "2"], "unknown flag --learning-rate; did you mean --learning_rate?"),
        (["--beta", "four"], "--beta: expected a number, got 'four'"),
        (["--num_train_epochs", "ten"], "--num_train_epochs: expected a number, got 'ten'"),
        (["--log_level", "loud"], "--log_level: expected one of detail, debug, info"),
        (["--recipe", "papr"], "--recipe: expected one of paper, got 'papr'"),
        (["beta"], "unexpected argument 'beta'; flags start with --"),
        (["--model"], "--model: expected one argument"),
        (["--config", "no-such.yaml"], "there is no file 'no-such.yaml'"),
    ],
)
def test_usage_errors(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("train", *words) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"gae-hub train: {message}") and err.count("\n") == 1 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "run.yaml: expected one flag per line, such as 'learning_rate: 0.001'"),
        ("learnin_rate: 1\n", "run.yaml: unknown flag learnin_rate; did you mean learning_rate?"),
        ("latent_dim: ten\n", "run.yaml: latent_dim: expected an integer, got 'ten'"),
        ("latent_dim: 2.5\n", "run.yaml: latent_dim: expected an integer, got 2.5"),
        ("run_name: 1\n", "run.yaml: run_name: expected a string, got 1; write '1' in quotes"),
        ("model: betavae\n", "no autoencoder is called 'betavae'; did you mean 'beta_vae'?"),
        ("beta: [1\n", "run.yaml: not valid YAML"),
    ],
)
def test_errors_in_a_yaml_file(text, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(text)
    assert run("train", "--config", "run.yaml") == 2
    err = capsys.readouterr().err
    assert err.startswith(f"gae-hub train: {message}") and err.count("\n") == 1


def test_help_groups_the_flags_of_the_method(capsys, tmp_path):
    assert run("train", "--help") == 0
    groups = {text.partition(":\n")[0]: text for text in capsys.readouterr().out.split("\n\n")}
    chosen = ("model", "dataset", "encoder", "seed", "output_dir", "resume")
    assert all(f"--{name} " in groups["run"] for name in chosen)
    method = groups["fields of BetaVAEConfig"]
    assert "--beta " in method and "Weight of the KL" in method and "--input_shape" not in method
    assert "--learning_rate " in groups["training arguments"]
    assert "--weight_decay " in groups["other training arguments, of transformers.TrainingArguments"]

    assert run("train", "--model", "factor_vae", "--help") == 0
    assert "--discriminator_hidden_sizes " in capsys.readouterr().out
    (tmp_path / "run.yaml").write_text("model: vq_vae\n")
    assert run("train", "--config", tmp_path / "run.yaml", "--help") == 0
    assert "--num_embeddings " in capsys.readouterr().out


@pytest.mark.parametrize("model", AutoGAE.names())
def test_every_field_of_every_method_is_a_flag_with_help_and_a_readable_type(model):
    parser = make_parser("train")
    parser.extend(parser, ["--model", model])
    own = set(AutoGAE.config_class(model).own_fields()) - {"input_shape", "encoder_config", "decoder_config"}
    assert own <= parser.flags.keys()
    assert [name for name, flag in parser.flags.items() if not flag.help or not flag.metavar] == []


def launch(*command):
    env = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    process = subprocess.run(
        [sys.executable, "-m", *map(str, command)], capture_output=True, text=True, env=env, timeout=140
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return process.stdout


@pytest.mark.slow
def test_the_script_in_two_processes(tmp_path):
    out = tmp_path / "out"
    stdout = launch(
        "torch.distributed.run", "--standalone", "--nproc_per_node", 2, SCRIPT, "--output_dir", out, *QUICK
    )
    assert stdout.count("BetaVAEModel with") == 1  # only the first process prints
    facts = json.loads((out / "training.json").read_text())
    assert facts["num_processes"] == 2 and facts["steps"] == 7  # 1,397 images in batches of 2 x 100
    assert AutoGAE.from_pretrained(out).reconstruct(images(2)).shape == (2, 1, 8, 8)


@pytest.mark.slow
def test_the_script_with_accelerate(tmp_path):
    out = tmp_path / "out"
    launch("accelerate.commands.launch", "--cpu", "--num_processes", 1, SCRIPT, "--output_dir", out, *QUICK)
    assert AutoGAE.from_pretrained(out).config.latent_dim == 3
