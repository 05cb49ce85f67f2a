"""The shell: the commands of the first page, in one process and in two."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cases import images
from PIL import Image

from gae_hub import AutoGAE, AutoSampler
from gae_hub.cli.main import RUN_FILE, _value, main

SCRIPT = Path(__file__).parents[2] / "scripts" / "train.py"
QUICK = ["--num_train_epochs", "1", "--disable_tqdm", "true", "--latent_dim", "3"]


def run(*words):
    return main([str(word) for word in words])


def test_train_leaves_a_whole_folder(trained):
    names = {str(path.relative_to(trained)) for path in trained.rglob("*") if path.is_file()}
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "README.md", "training.json", RUN_FILE,
            "assets/loss.png", "assets/reconstructions.png", "assets/interpolations.png", "assets/samples.png",
            "sampler/config.json", "sampler/model.safetensors"} <= names  # fmt: skip
    model = AutoGAE.from_pretrained(trained)
    assert (model.config.beta, model.config.latent_dim) == (0.1, 4)
    assert yaml.safe_load((trained / RUN_FILE).read_text())["beta"] == 0.1


def test_fit_sampler_and_its_fields(trained):
    assert AutoSampler.from_pretrained(trained, subfolder="sampler").config.num_components == 3
    assert run("fit-sampler", trained, "--name", "diagonal", "--covariance_type", "diag", "--num_components", 2) == 0
    assert AutoSampler.from_pretrained(trained, subfolder="diagonal").config.covariance_type == "diag"


def test_generate(trained, tmp_path, capsys):
    for output in ("a.png", "b.png"):
        assert run("generate", trained, "--num_samples", 9, "--seed", 0, "--output", tmp_path / output) == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert "9 images by GaussianMixtureSampler" in capsys.readouterr().out
    assert run("generate", trained, "--num_samples", 3, "--output", tmp_path / "each", "--sampler", "prior") == 0
    with Image.open(tmp_path / "each" / "000002.png") as image:
        assert image.size == (8, 8) and len(list((tmp_path / "each").iterdir())) == 3
    assert "by the model's prior" in capsys.readouterr().out


def test_numbers_measured_one_after_the_other_stand_side_by_side(trained, tmp_path):
    """In results.json and the card, while data, seed, number of samples and sampler are the same."""
    shutil.copytree(trained, tmp_path / "m")

    def measured(metric, *flags):
        assert run("evaluate", tmp_path / "m", "--num_samples", 20, "--metrics", metric, *flags) == 0
        results = json.loads((tmp_path / "m" / "results.json").read_text())
        assert results["passports"].keys() == results["metrics"].keys()
        assert all(f"- type: {name}\n" in (tmp_path / "m" / "README.md").read_text() for name in results["metrics"])
        return results["metrics"].keys()

    energy = {"energy_distance", "energy_distance_of_data"}
    assert measured("energy") == energy
    assert measured("psnr") == energy | {"psnr"}
    assert run("fit-sampler", tmp_path / "m", "--num_components", 2) == 0
    assert measured("psnr") == {"psnr"}  # the energy was that of another sampler's images
    assert measured("ssim") == {"psnr", "ssim"}
    assert measured("mse", "--split", "validation") == {"mse", "mse_x1000"}
    assert measured("psnr", "--split", "validation", "--seed", 1) == {"psnr"}


def test_evaluate(trained, capsys):
    assert run("evaluate", trained, "--num_samples", 50) == 0
    out = capsys.readouterr().out
    results = json.loads((trained / "results.json").read_text())
    assert results["dataset"] == "digits" and results["split"] == "test" and 0 < results["metrics"]["mse"] < 0.2
    assert all(name in out for name in ("mse", "energy_distance", "clustering_accuracy", "digits, test"))
    card = (trained / "README.md").read_text()
    assert "model-index" in card and f"{results['metrics']['mse']:.6g}" in card and "1397 images, 28 steps" in card


def test_list(capsys):
    assert run("list") == 0
    out = capsys.readouterr().out
    for part in ("beta_vae", "arXiv:1312.6114", "gaussian_mixture", "arXiv:1903.12436", "paper_resnet", "clustering"):
        assert part in out


@pytest.mark.slow
def test_a_reader_that_leaves_is_no_error():
    process = subprocess.run(
        f"{sys.executable} -m gae_hub.cli list | head -n 1", shell=True, capture_output=True, text=True
    )
    assert process.stdout.startswith("method") and process.stderr == ""


def test_yaml_flags_and_their_order(tmp_path):
    """The command line wins over the file; numbers in any notation; nested settings."""
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
    assert [_value(text) for text in ("1e-3", "2", "true", "[1, 2]", "conv")] == [0.001, 2, True, [1, 2], "conv"]


def test_folders_and_resume(tmp_path):
    from builders import hub_folder

    (tmp_path / "data").mkdir()
    folder, _ = hub_folder(tmp_path / "data")
    train = ["train", "--dataset", folder, "--output_dir", tmp_path / "out", *QUICK, "--encoder", "conv"]
    assert run(*train) == 0 and AutoGAE.from_pretrained(tmp_path / "out").config.input_shape == (1, 6, 5)
    assert run(*train) == 2
    assert run(*train[:-6], "--num_train_epochs", 2, *QUICK[2:], "--encoder", "conv", "--resume") == 0
    assert {path.name for path in (tmp_path / "out").glob("checkpoint-*")} == {"checkpoint-1", "checkpoint-2"}
    assert run(*train, "--overwrite_output_dir", "true", "--validation_size", "5", "--image_size", "4") == 0
    assert AutoGAE.from_pretrained(tmp_path / "out").config.input_shape == (1, 4, 4)


def test_the_record_of_a_run_holds_no_secret_and_nothing_that_deletes(tmp_path):
    flags = ["--hub_token", "hf_secret", "--overwrite_output_dir", "true", "--output_dir", tmp_path / "out", *QUICK]
    assert run("train", *flags) == 0
    assert all(
        "hf_secret" not in p.read_text()
        for p in (tmp_path / "out").rglob("*")
        if p.suffix in {".json", ".yaml", ".md"}
    )
    assert "overwrite_output_dir" not in yaml.safe_load((tmp_path / "out" / RUN_FILE).read_text())


def test_later_commands_read_the_data_as_the_run_did_and_a_stale_sampler_goes(tmp_path, capsys):
    from builders import hub_folder

    (tmp_path / "data").mkdir()
    folder, _ = hub_folder(tmp_path / "data")
    out = tmp_path / "out"
    train = ["train", "--dataset", folder, "--output_dir", out, *QUICK, "--image_size", 4, "--validation_size", 10]
    assert run(*train) == 0
    assert run("fit-sampler", out, "--num_components", 2) == 0
    assert "fitted on 20 embeddings" in capsys.readouterr().out
    assert run("evaluate", out, "--split", "validation", "--metrics", "mse") == 0
    assert json.loads((out / "results.json").read_text())["split"] == "validation"
    assert run(*train, "--num_train_epochs", 2, "--resume") == 0
    assert "removed" in capsys.readouterr().out and not (out / "sampler").exists()
    assert "gaussian mixture" not in (out / "README.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--model", "betavae"], "no autoencoder is called 'betavae'; did you mean 'beta_vae'?"),
        (["train", "--model", "vae", "--beta", "2"], "there is no flag --beta"),
        (["train", "--learnin_rate", "2"], "there is no flag --learnin_rate; did you mean --learning_rate?"),
        (["train", "--beta", "-1"], "beta must be 0 or more, got -1"),
        (["train", "--encoder", "resnt"], "did you mean 'resnet'?"),
        (["train", "beta"], "expected a flag such as --learning_rate 0.001, got 'beta'"),
        (["train", "--config", "no-such.yaml"], "no-such.yaml"),
        (["generate", "no-such-folder/x/y"], "is neither a local folder nor a Hub repository that you can read"),
        (["evaluate", "TRAINED", "--metrics", "fidd"], "unknown metric 'fidd': expected one of mse, psnr"),
        (["evaluate", "TRAINED", "--split", "dev"], "'digits' has no split 'dev'"),
        (["fit-sampler", "TRAINED", "--sampler", "mfa"], "no sampler is called 'mfa'"),
        (["fit-sampler", "TRAINED", "--num_component", "3"], "did you mean 'num_components'?"),
    ],
)
def test_mistakes_are_named_without_a_traceback(words, message, trained, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*[str(trained) if word == "TRAINED" else word for word in words]) == 2
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err


def test_more_mistakes(tmp_path, monkeypatch, capsys):
    (tmp_path / "list.yaml").write_text("- a\n")
    assert run("train", "--config", tmp_path / "list.yaml") == 2 and "one flag a line" in capsys.readouterr().err
    monkeypatch.setenv("GAE_HUB_TRACEBACK", "1")
    with pytest.raises(ValueError, match="no autoencoder is called"):
        run("train", "--model", "x")
    with pytest.raises(SystemExit):
        run("generate", "a", "--no_such_flag", "b")
    monkeypatch.delenv("GAE_HUB_TRACEBACK")
    from cases import VAE

    VAE.build().save_pretrained(tmp_path / "bare")
    assert run("evaluate", tmp_path / "bare") == 2 and "does not say what it was trained on" in capsys.readouterr().err


def test_ctrl_c_is_no_traceback(monkeypatch, capsys, tmp_path):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt("training was stopped at step 3")

    monkeypatch.setattr("gae_hub.training.trainer.GAETrainer.train", stop)
    assert run("train", "--output_dir", tmp_path, *QUICK) == 130
    assert "training was stopped at step 3" in capsys.readouterr().err


def test_help(capsys):
    assert run("train", "--help") == 0
    out = capsys.readouterr().out
    assert "--learning_rate" in out and "--beta" in out and "--dataset" in out


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
    assert stdout.count("BetaVAEModel with") == 1  # only one process speaks
    facts = json.loads((out / "training.json").read_text())
    assert facts["num_processes"] == 2 and facts["steps"] == 7  # 1,397 images in batches of 2 x 100
    assert AutoGAE.from_pretrained(out).reconstruct(images(2)).shape == (2, 1, 8, 8)


@pytest.mark.slow
def test_the_script_by_accelerate(tmp_path):
    out = tmp_path / "out"
    launch("accelerate.commands.launch", "--cpu", "--num_processes", 1, SCRIPT, "--output_dir", out, *QUICK)
    assert AutoGAE.from_pretrained(out).config.latent_dim == 3


@pytest.mark.slow
def test_quickstart(tmp_path, capsys):
    assert run("quickstart", "--output_dir", tmp_path / "out") == 0
    out = capsys.readouterr().out
    assert "to the bit" in out and "reconstruction: mean squared error per pixel" in out
    names = {path.name for path in (tmp_path / "out" / "assets").iterdir()}
    assert names == {
        *("samples.png", "samples_prior.png", "reconstructions.png", "interpolations.png", "traversal.png"),
        "loss.png",
    }
    numbers = json.loads((tmp_path / "out" / "results.json").read_text())["metrics"]
    assert numbers["mse"] < 0.02 and numbers["energy_distance"] < 0.12 and numbers["clustering_accuracy"] > 0.6
    assert run("quickstart", "--output_dir", tmp_path) == 2 and "choose another" in capsys.readouterr().err
