"""`gae-hub evaluate`: results.json, the card, and samplers."""

import json
import shutil
from pathlib import Path

import pytest
from builders import hub_folder
from cases import VAE
from shell import run

from gae_hub import GAETrainer, GAETrainingArguments, GenerationPipeline, load_images


def test_results_are_printed_and_written_to_file_and_card(trained, capsys):
    assert run("evaluate", trained, "--num_samples", 50) == 0
    out = capsys.readouterr().out
    results = json.loads((trained / "results.json").read_text())
    assert results["dataset"] == "digits" and results["split"] == "test" and 0 < results["metrics"]["mse"] < 0.2
    assert all(name in out for name in ("mse", "energy_distance", "clustering_accuracy", "digits, test"))
    card = (trained / "README.md").read_text()
    assert "model-index" in card and f"{results['metrics']['mse']:.6g}" in card and "1397 images, 28 steps" in card


def test_results_of_several_runs_are_merged_if_they_are_comparable(trained, tmp_path):
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
    assert measured("psnr") == {"psnr"}  # the energy distance was measured with another sampler
    assert measured("ssim") == {"psnr", "ssim"}
    assert measured("mse", "--split", "validation") == {"mse", "mse_x1000"}
    assert measured("psnr", "--split", "validation", "--seed", 1) == {"psnr"}


def test_sampler_name_chooses_the_sampler(trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path / "m")
    assert run("fit-sampler", tmp_path / "m", "--num_components", 1, "--sampler_name", "one") == 0
    found = {}
    for name in ("sampler", "one", "prior"):
        output = tmp_path / "results" / f"{name}.json"
        flags = ["--metrics", "energy", "--num_samples", 50, "--sampler_name", name, "--output", output]
        assert run("evaluate", tmp_path / "m", *flags) == 0
        found[name] = json.loads(output.read_text())
    assert len({results["metrics"]["energy_distance"] for results in found.values()}) == 3
    assert found["prior"]["sampler"] is None and found["one"]["sampler"] != found["sampler"]["sampler"]
    assert run("evaluate", tmp_path / "m", "--sampler_name", "missing") == 2
    err = capsys.readouterr().err
    assert "has no sampler in its subfolder 'missing'" in err and "--sampler_name missing" in err


def test_options_must_belong_to_a_metric(trained, capsys):
    assert run("evaluate", trained, "--metrics", "mse", "kid", "--options", '{"fid": {"extrapolate": true}}') == 2
    assert "--options: 'fid' is not one of the --metrics, mse, kid" in capsys.readouterr().err


def test_a_model_without_a_record_of_its_run_needs_a_dataset(tmp_path, capsys):
    VAE.build().save_pretrained(tmp_path)
    assert run("evaluate", tmp_path) == 2
    assert "has no run.yaml that names its training data; pass --dataset" in capsys.readouterr().err


def test_a_model_trained_in_python_knows_data_that_load_by_name(tmp_path):
    train, validation = load_images("digits", splits=("train", "validation"))
    args = GAETrainingArguments(tmp_path, max_steps=1, report_to="none")
    trainer = GAETrainer(VAE.build(), args, train_dataset=train, eval_dataset=validation)
    trainer.train()
    GenerationPipeline(trainer.model).save_pretrained(tmp_path)
    assert run("evaluate", tmp_path, "--metrics", "mse") == 0
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["dataset"] == "digits" and found["split"] == "test"


@pytest.mark.parametrize(
    ("origin", "named"), [("hub", "user/data"), ("local", "user/data"), ("library", "user"), ("hub", 3)]
)
def test_a_model_cannot_name_files_of_this_machine(origin, named, tmp_path, monkeypatch, capsys):
    """training.json may come from anyone, and evaluations and Spaces show the data that it names."""
    monkeypatch.chdir(tmp_path)
    Path("user/data").mkdir(parents=True)
    hub_folder(Path("user/data"))
    VAE.build().save_pretrained("model")
    (tmp_path / "model" / "training.json").write_text(json.dumps({"dataset": named, "origin": origin}))
    assert run("evaluate", "model") == 2
    assert "has no run.yaml that names its training data; pass --dataset" in capsys.readouterr().err


def test_names_of_metrics_are_checked_before_the_model_is_loaded(capsys):
    assert run("evaluate", "no-such-model", "--metrics", "mse", "fidd") == 2
    assert "unknown metric 'fidd': did you mean 'fid'" in capsys.readouterr().err
