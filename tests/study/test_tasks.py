"""The numbers of a cell equal the library's own answers, computed here from its files; pictures have their tiles."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from shell import run as run_command
from tiny_study import make_split, quick, read_cells, run, tiny

from gae_hub import AutoGAE, AutoSampler, GaussianMixtureSampler, evaluate_model, load_data, load_images
from gae_hub.data.embeddings import embed_dataset
from gae_hub.metrics.functional.clustering import clustering_scores
from gae_hub.metrics.functional.probe import LinearProbe
from gae_hub.study.collect import load_results
from gae_hub.study.execution import CellRunner
from gae_hub.study.folder import StudyFolder
from gae_hub.study.report import write_report
from gae_hub.study.selection import Selector, Setup

SEED = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A finished study of a beta-VAE and an AE with all tasks."""
    methods = {"VAE": {"model": "beta_vae", "fields": {"beta": 0.1}}, "AE": {"model": "ae"}}
    folder = tmp_path_factory.mktemp("tasks") / "out"
    settings = tiny(methods=methods, seeds=[SEED], training={"num_train_epochs": 4}, extractor={"num_train_epochs": 4})
    settings["samplers"] |= {
        "two_stage_vae": {"sampler": "two_stage_vae", "hidden_sizes": [8], "training": {"num_train_epochs": 1}}
    }
    assert run(settings, folder) == {"done": 2}
    return folder


@pytest.fixture(scope="module")
def cell(root):
    return read_cells(root)["VAE 1"]


@pytest.fixture(scope="module")
def numbers(root):
    return load_results(StudyFolder(root, "tiny")).cells[0].numbers


@pytest.fixture(scope="module")
def model(cell):
    return AutoGAE.from_pretrained(cell.folder).eval()


@pytest.fixture(scope="module")
def splits():
    """The data of the study, read without it."""
    train, validation, test = load_data("digits", ("train", "validation", "test"))
    return {"train": train.select(0, 120), "validation": validation.select(0, 40), "test": test.select(0, 40)}


@pytest.fixture(scope="module")
def extractor(root):
    (folder,) = (path for path in (root / "extractors").iterdir() if path.is_dir())
    return str(folder)


def images_of(split):
    return split.read(list(range(len(split))))


def test_reconstruction_mse(numbers, model, splits):
    """The mean squared error per pixel value, by hand."""
    for name in ("validation", "test"):
        images = images_of(splits[name])
        with torch.no_grad():
            expected = (model.reconstruct(images) - images).square().mean().item()
        assert numbers[f"reconstruction/mse/{name}"] == pytest.approx(expected, rel=1e-5)


def measure(model, split, extractor, metrics, sampler=None):
    """Values by name, of `evaluate_model` with the seed of the cell."""
    found = evaluate_model(model, split, metrics, sampler, num_samples=40, seed=SEED, extractor=extractor)
    return {name: float(value) for name, value in found.items()}


def test_reconstruction_fid(numbers, model, splits, extractor):
    """As `evaluate_model` measures it, with the extractor of the study."""
    for name in ("validation", "test"):
        expected = measure(model, splits[name], extractor, ["reconstruction_fid"])["reconstruction_fid"]
        assert numbers[f"reconstruction/fid/{name}"] == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("sampler", ["normal", "gmm", "two_stage_vae"])
def test_generation(cell, numbers, model, splits, extractor, sampler):
    """All metrics of a sampler, as `evaluate_model` measures them with the same seed."""
    loaded = AutoSampler.from_pretrained(cell.folder / "samplers" / sampler)
    found = measure(model, splits["test"], extractor, ["fid", "inception_score", "kid", "prdc"], loaded)
    for name in ("fid", "inception_score", "kid", "precision", "recall", "density", "coverage"):
        value = numbers[f"generation/{sampler}/{name}/test"]
        assert value == pytest.approx(found[name], rel=1e-4, abs=1e-6), name
    found = measure(model, splits["validation"], extractor, ["fid"], loaded)
    assert numbers[f"generation/{sampler}/fid/validation"] == pytest.approx(found["fid"], rel=1e-4)


def test_samplers_are_fitted_to_samples_of_the_posteriors(cell, model, splits):
    """The mixture of a cell is that of one sample of each training example's posterior."""
    latents = embed_dataset(model, splits["train"], progress=False, cache=False, sample=True)
    stored = AutoSampler.from_pretrained(cell.folder, subfolder="samplers/gmm")
    expected = GaussianMixtureSampler(stored.config).fit(latents, progress=False)
    torch.testing.assert_close(stored.means, expected.means)
    torch.testing.assert_close(stored.scales, expected.scales)


def test_clustering(numbers, model, splits):
    """k-means on the embeddings of the training and the validation split."""
    for name in ("train", "validation"):
        latents = embed_dataset(model, splits[name], progress=False, cache=False).flatten(1)
        expected = clustering_scores(latents, splits[name].labels, 2, SEED)
        for metric, estimate in expected.items():
            key = f"clustering/{metric.removeprefix('clustering_')}/{name}"
            assert numbers[key] == pytest.approx(estimate.value, abs=1e-9)
        std = expected["clustering_accuracy"].refit_std
        assert numbers[f"clustering/accuracy_std/{name}"] == pytest.approx(std, abs=1e-9)


def test_classification(numbers, model, splits):
    """The mean and the standard deviation of two probes, each on a bootstrap sample of the training embeddings."""
    latents = {name: embed_dataset(model, split, progress=False, cache=False) for name, split in splits.items()}
    generator = torch.Generator().manual_seed(SEED)
    found = {"validation": [], "test": []}
    for _ in range(2):
        rows = torch.randint(120, (120,), generator=generator)
        probe = LinearProbe(latents["train"].flatten(1)[rows], splits["train"].labels[rows])
        for name, values in found.items():
            hits = probe.measure_hits(latents[name].flatten(1), splits[name].labels)
            values.append(hits.double().mean().item())
    for name, values in found.items():
        assert numbers[f"classification/accuracy/{name}"] == pytest.approx(sum(values) / 2, abs=1e-9)
        spread = torch.tensor(values).std(correction=0).item()
        assert numbers[f"classification/accuracy_std/{name}"] == pytest.approx(spread, abs=1e-6)


def test_likelihood(numbers, model, splits):
    """The mean over the first images, with the same importance samples."""
    generator = torch.Generator().manual_seed(SEED)
    values = model.log_likelihood(images_of(splits["test"])[:7], 3, generator=generator)
    assert numbers["likelihood/log_likelihood/test"] == pytest.approx(values.mean().item(), rel=1e-5)


def test_steps_without_a_meaning(root):
    """An autoencoder without a likelihood has no log-likelihood, and says why."""
    result = load_results(StudyFolder(root, "tiny")).cells[1]
    assert result.state == "done" and not any(name.startswith("likelihood/") for name in result.numbers)
    assert result.facts["skipped_steps"]["likelihood"]


def test_order_of_embeddings(model, splits):
    """Row i of the embeddings is the embedding of image i, whose label is label i."""
    latents = embed_dataset(model, splits["train"], progress=False, cache=False)
    for row in (0, 57, 119):
        alone = model.embed(splits["train"].read([row]))
        torch.testing.assert_close(latents[row], alone[0], rtol=1e-4, atol=1e-5)
    images, labels = load_images("digits", "train"), splits["train"].labels
    assert torch.equal(labels, images.labels[:120])


def test_training_facts(root, cell, model):
    """The seconds of the training, and the number of parameters."""
    result = load_results(StudyFolder(root, "tiny")).cells[0]
    assert result.numbers["training/seconds"] == json.loads((cell.folder / "training.json").read_text())["seconds"]
    assert result.facts["num_parameters"] == sum(value.numel() for value in model.parameters())
    assert result.facts["steps"] == 8


# Results as files


def test_results_file(cell, numbers):
    """results.json has the numbers on test and training data, each with its passport."""
    content = json.loads((cell.folder / "results.json").read_text())
    expected = {name: value for name, value in numbers.items() if not name.endswith("/validation")}
    (record,) = content if isinstance(content, list) else [content]
    assert record["metrics"] == pytest.approx(expected)
    assert record["passports"].keys() == record["metrics"].keys() - {"training/seconds"}


def test_passports(root):
    """Each number says how it was measured: its metric, number of examples, seed and extractor."""
    result = load_results(StudyFolder(root, "tiny")).cells[0]
    for name in result.numbers.keys() - {"training/seconds"}:
        passport = result.passports[name]
        assert passport["num_samples"] in {"likelihood": [7], "interpolation": [3]}.get(name.split("/")[0], [40, 120])
        if name.startswith("generation") or "/fid/" in name:
            assert "extractors" in str(passport) or "extractor" in str(passport)
    assert result.passports["clustering/accuracy/train"]["settings"] == {"num_fits": 2}
    assert result.passports["classification/accuracy/test"]["settings"]["num_probes"] == 2


def test_one_pass_of_random_numbers(root, tmp_path):
    """A step measures the same alone as after others: it starts from the seed of the cell."""
    settings = tiny(
        methods={"VAE": {"model": "beta_vae", "fields": {"beta": 0.1}}},
        seeds=[SEED],
        training={"num_train_epochs": 4},
        extractor={"num_train_epochs": 4},
        tasks={name: tiny()["tasks"][name] for name in ("likelihood", "generation", "classification")},
    )
    settings["tasks"]["generation"]["metrics"] = ["fid"]
    assert run(settings, tmp_path / "out") == {"done": 1}
    first = load_results(StudyFolder(root, "tiny")).cells[0].numbers
    for name, value in load_results(StudyFolder(tmp_path / "out", "tiny")).cells[0].numbers.items():
        if name != "training/seconds":
            assert value == pytest.approx(first[name], rel=1e-4), name


def test_random_state_of_steps(tmp_path, monkeypatch):
    """The global random state is the same at the beginning of each step."""
    states, measure = [], CellRunner._measure

    def record(self, *args):
        states.append(torch.rand(()).item())
        return measure(self, *args)

    monkeypatch.setattr(CellRunner, "_measure", record)
    tasks = {"likelihood": {"num_samples": 2}, "interpolation": {}, "clustering": {"num_fits": 1}}
    assert run(quick(methods={"VAE": {"model": "vae"}}, tasks=tasks), tmp_path / "out") == {"done": 1}
    assert len(states) == 3 and len(set(states)) == 1


# Pictures


def read_picture(path: Path) -> torch.Tensor:
    """(height, width) grey values in [0, 1]."""
    with Image.open(path) as image:
        values = torch.frombuffer(bytearray(image.convert("L").tobytes()), dtype=torch.uint8)
        return values.reshape(image.height, image.width).float() / 255


def tiles(images: torch.Tensor, columns: int) -> torch.Tensor:
    """Images (num, 1, height, width) side by side, in rows."""
    rows = [torch.cat(list(row[:, 0]), 1) for row in images.clamp(0, 1).split(columns)]
    return torch.cat(rows)


def test_pictures(cell, model, splits):
    """Reconstructions in 2 rows of 10, samples in a row of 10, and one path a row, without padding."""
    inputs = images_of(splits["test"])[:10]
    with torch.no_grad():
        expected = tiles(torch.cat([inputs, model.reconstruct(inputs)]), 10)
    found = read_picture(cell.folder / "pictures" / "reconstructions.png")
    assert found.shape == (16, 80)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.003)

    assert read_picture(cell.folder / "pictures" / "interpolations.png").shape == (3 * 8, 6 * 8)
    names = {"reconstructions", "interpolations", "samples-normal", "samples-gmm", "samples-two_stage_vae"}
    assert {path.stem for path in (cell.folder / "pictures").iterdir()} == names


def test_samples_equal_those_of_the_command(cell, tmp_path):
    """`gae-hub generate` with the sampler and the seed of the cell draws the picture."""
    for name in ("normal", "gmm"):
        words = ("generate", cell.folder, "--sampler_name", f"samplers/{name}", "--num_samples", 10, "--seed", SEED)
        assert run_command(*words, "--output_dir", tmp_path / name) == 0
        files = sorted((tmp_path / name).glob("*.png"))
        assert len(files) == 10
        expected = torch.cat([read_picture(path) for path in files], 1)
        found = read_picture(cell.folder / "pictures" / f"samples-{name}.png")
        torch.testing.assert_close(found, expected, rtol=0, atol=0.005)


def test_normal_is_the_standard_normal(cell, tmp_path):
    """The sampler "normal" draws from N(0, I), also for a method whose own prior is another distribution."""
    sampler = AutoSampler.from_pretrained(cell.folder / "samplers" / "normal")
    latents = sampler.sample(4000, generator=torch.Generator().manual_seed(0)).flatten(1)
    assert latents.mean(0).abs().max() < 0.08 and (latents.std(0) - 1).abs().max() < 0.05


def test_ends_of_paths(cell, model, splits):
    """A path goes from one test image to one of another class: its ends are their reconstructions."""
    picture = read_picture(cell.folder / "pictures" / "interpolations.png")
    with torch.no_grad():
        outputs = model.reconstruct(images_of(splits["test"]))[:, 0].clamp(0, 1)
    for row in picture.split(8):
        labels = []
        for tile in (row[:, :8], row[:, -8:]):
            distances = (outputs - tile).square().mean((1, 2))
            assert distances.min() < 1e-4
            labels.append(splits["test"].labels[distances.argmin()].item())
        assert labels[0] != labels[1]


# Other data


@pytest.mark.parametrize("kind", ["unlabelled", "vectors", "four channels"])
def test_data_without_an_extractor(tmp_path, monkeypatch, kind):
    """Data without labels, or that are no images with 1 or 3 channels: MSE and what else has a meaning is measured."""
    shape = {"unlabelled": (1, 8, 8), "vectors": (6,), "four channels": (4, 8, 8)}[kind]
    classes = None if kind == "unlabelled" else 3

    def load(dataset, splits, **options):
        return tuple(make_split(30, shape, classes, seed) for seed in range(3))

    monkeypatch.setattr("gae_hub.study.study_data.load_data", load)
    methods = {"VAE": {"model": "vae"}}
    assert run(tiny(data={"d": {"dataset": "x", "latent_dim": 2}}, methods=methods), tmp_path / "out") == {"done": 1}
    results = load_results(StudyFolder(tmp_path / "out", "tiny"))
    numbers = results.cells[0].numbers
    assert "reconstruction/mse/test" in numbers and "reconstruction/fid/test" not in numbers
    assert ("classification/accuracy/test" in numbers) == (kind != "unlabelled")
    generated = {name for name in numbers if name.startswith("generation")}
    assert generated == {
        f"generation/{sampler}/energy_distance/{split}"
        for sampler in ("normal", "gmm")
        for split in ("validation", "test")
    }
    model = AutoGAE.from_pretrained(results.cells[0].folder)
    sampler = AutoSampler.from_pretrained(results.cells[0].folder / "samplers" / "gmm")
    splits = load("x", ("train", "validation", "test"))
    for split, dataset in zip(("validation", "test"), splits[1:], strict=True):
        found = evaluate_model(model, dataset, ["energy"], sampler, num_samples=40, seed=0)
        assert numbers[f"generation/gmm/energy_distance/{split}"] == pytest.approx(found["energy_distance"], rel=1e-5)
    assert Selector(results).best_sampler("VAE", Setup("mlp", "d", 2)).criterion.endswith("energy_distance/validation")
    assert "likelihood/log_likelihood/test" in numbers
    assert {"generation/fid", "reconstruction/fid"} <= results.settings["omitted"]["d"].keys()
    assert not (tmp_path / "out" / "extractors").exists()
    page = write_report(results, tmp_path / "report").read_text(encoding="utf-8")
    value = f"{numbers['generation/gmm/energy_distance/test']:.4f}"
    assert "lowest energy distance of the row" in page and f">{value}</td>" in page


def test_colour_images(tmp_path, monkeypatch):
    """Pictures of images with three channels have colours."""

    def load(dataset, splits, **options):
        return tuple(make_split(30, (3, 8, 8), 3, seed) for seed in range(3))

    monkeypatch.setattr("gae_hub.study.study_data.load_data", load)
    settings = quick(
        data={"d": {"dataset": "x"}}, methods={"AE": {"model": "ae"}}, tasks={"interpolation": {"num_pairs": 2}}
    )
    assert run(settings, tmp_path / "out") == {"done": 1}
    with Image.open(read_cells(tmp_path / "out")["AE 1"].folder / "pictures" / "interpolations.png") as image:
        assert image.mode == "RGB" and image.size == (80, 16)


def test_few_test_examples(tmp_path):
    """With one test image there is no pair; with five there are two; pictures are as wide as there are images."""
    for num, num_pairs in ((1, 0), (5, 2)):
        data = {"digits": {"dataset": "digits", "num_train": 40, "num_validation": 20, "num_test": num}}
        settings = quick(data=data, methods={"AE": {"model": "ae"}}, tasks={"interpolation": {"num_pairs": 3}})
        settings["tasks"]["reconstruction"] = {"fid": False}
        root = tmp_path / str(num)
        assert run(settings, root) == {"done": 1}
        result = load_results(StudyFolder(root, "tiny")).cells[0]
        skipped = result.facts["skipped_steps"]
        assert skipped == ({} if num_pairs else {"interpolation": "a pair needs two test examples, but there is one"})
        assert read_picture(result.folder / "pictures" / "reconstructions.png").shape[0] in (8, 16)
        if num_pairs:
            assert read_picture(result.folder / "pictures" / "interpolations.png").shape == (8 * num_pairs, 80)
