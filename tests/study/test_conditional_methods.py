"""A study of conditional methods: each number is that of the model with the labels of the data."""

from pathlib import Path

import pytest
import torch
from page_blocks import read_blocks
from PIL import Image
from tiny_study import declare, make_split, quick, read_cells, run, tiny

from gae_hub import AutoGAE, AutoSampler, evaluate_model, load_data
from gae_hub.core.yaml_files import load_yaml
from gae_hub.data.datasets import InMemoryDataset
from gae_hub.data.embeddings import embed_dataset
from gae_hub.metrics.functional.clustering import clustering_scores
from gae_hub.metrics.measures import Interpolation
from gae_hub.study.collect import load_results
from gae_hub.study.context import CellContext
from gae_hub.study.folder import StudyFolder
from gae_hub.study.planning import make_plan
from gae_hub.study.publish_models import build_model, choose_models, describe_study
from gae_hub.study.worker import load_study_data

SEED = 3
CLASSES = {"num_classes": 10, "condition_dropout": 0.1}
METHODS = {
    "VAE": {"model": "beta_vae", "fields": {"beta": 0.1}, "samplers": ["normal", "each", "flow", "pixels"]},
    "CVAE": {"model": "beta_vae", "fields": CLASSES, "grid": [{"beta": 0.1}, {"beta": 1}]},
    "CVQVAE": {
        "model": "vq_vae",
        "fields": {"num_embeddings": 8, "num_classes": 10, "condition_injection": "film"},
        "samplers": ["normal", "flows", "pixels"],
    },
}
SMALL = {"num_classes": 10, "hidden_size": 8, "num_hidden_layers": 1}
ONE_EPOCH = {"training": {"num_train_epochs": 1}}
FEW_EPOCHS = {"num_train_epochs": 4, "learning_rate": 1.0}  # so much that the last epoch is not the best
FLOW_OF_EACH = {"model_type": "maf", "num_flows": 1, "hidden_size": 8}
SAMPLERS = {
    "normal": {"sampler": "normal"},
    "each": {"sampler": "per_class", "num_classes": 10, "sampler_config": {"num_components": 1}},
    "flows": {"sampler": "per_class", "num_classes": 10, "sampler_config": FLOW_OF_EACH, "training": FEW_EPOCHS},
    "flow": {"sampler": "flow_matching", "class_dropout": 0.1, **SMALL, **ONE_EPOCH},
    "pixels": {"sampler": "pixel_cnn", **SMALL, **ONE_EPOCH},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A finished study of methods with and without classes, with all tasks."""
    folder = tmp_path_factory.mktemp("conditional") / "out"
    settings = tiny(methods=METHODS, samplers=SAMPLERS, seeds=[SEED], training={"num_train_epochs": 4})
    settings["tasks"]["generation"]["metrics"] = ["fid"]
    assert run(settings, folder) == {"done": 4}
    return folder


@pytest.fixture(scope="module")
def results(root):
    return load_results(StudyFolder(root, "tiny"))


@pytest.fixture(scope="module")
def cell(root):
    """The second conditional VAE."""
    return read_cells(root)["CVAE 2"]


@pytest.fixture(scope="module")
def model(cell):
    return AutoGAE.from_pretrained(cell.folder).eval()


@pytest.fixture(scope="module")
def splits():
    """The data of the study, read without it."""
    sizes = {"train": 120, "validation": 40, "test": 40}
    loaded = load_data("digits", tuple(sizes))
    return {name: split.select(0, size) for (name, size), split in zip(sizes.items(), loaded, strict=True)}


def number(cell, name):
    return cell.steps[name.rpartition("/")[0].rsplit("/", 1)[0]].numbers[name]


def pixels_and_labels(split):
    batch = split.with_class_labels()[:]
    return batch["pixel_values"], batch["class_labels"]


# Numbers


def test_classes_have_their_shares_in_the_training_set(root, model, splits):
    """Also in models that train together."""
    shares = splits["train"].labels.bincount(minlength=10) / 120
    for name in ("CVAE 1", "CVAE 2", "CVQVAE 1"):
        record = read_cells(root)[name]
        torch.testing.assert_close(AutoGAE.from_pretrained(record.folder).class_shares, shares)
        assert record.steps["train"].facts["trained_together"] == (2 if name[:4] == "CVAE" else 1)


def test_reconstruction(cell, model, splits):
    for name in ("validation", "test"):
        images, labels = pixels_and_labels(splits[name])
        expected, other = (
            (model.reconstruct(images, class_labels=given) - images).square().mean().item()
            for given in (labels, (labels + 1) % 10)
        )
        assert number(cell, f"reconstruction/mse/{name}") == pytest.approx(expected, rel=1e-5)
        assert other != pytest.approx(expected, rel=1e-4)


def test_likelihood(cell, model, splits, root):
    """log p(x|y), as its passport says; that of the model without classes is log p(x)."""
    images, labels = (rows[:7] for rows in pixels_and_labels(splits["test"]))
    expected, other = (
        model.log_likelihood(images, 3, torch.Generator().manual_seed(SEED), class_labels=given).mean().item()
        for given in (labels, None)
    )
    assert number(cell, "likelihood/log_likelihood/test") == pytest.approx(expected, rel=1e-5)
    assert other != pytest.approx(expected, rel=1e-5)
    for name, given in (("VAE 1", None), ("CVAE 2", "class_labels")):
        (passport,) = read_cells(root)[name].steps["likelihood"].passports.values()
        assert passport["settings"].get("given") == given


def test_embeddings(cell, model, splits):
    latents = embed_dataset(model, splits["train"], progress=False, cache=False)
    torch.testing.assert_close(latents[:9], embed_first(model, splits["train"], 9), rtol=1e-4, atol=1e-5)
    expected = clustering_scores(latents, splits["train"].labels, 2, SEED)["clustering_accuracy"].value
    assert number(cell, "clustering/accuracy/train") == pytest.approx(expected, abs=1e-9)


def embed_first(model, split, num):
    images, labels = pixels_and_labels(split)
    return model.embed(images[:num], class_labels=labels[:num])


@pytest.mark.parametrize("name", ["CVAE 2", "VAE 1"])
def test_interpolation(root, results, splits, name):
    """Paths between test images of two classes: a conditional model gets those of both ends."""
    record = read_cells(root)[name]
    model = AutoGAE.from_pretrained(record.folder).eval()
    data = load_study_data(StudyFolder(root, "tiny").load_study())["digits"]
    first, last = CellContext(model, data, {}, record.folder, SEED).draw_pairs(3)
    images, labels = pixels_and_labels(splits["test"])
    ends = []
    for batch in (first, last):
        rows = [int((images == own).flatten(1).all(1).nonzero()) for own in batch["pixel_values"]]
        ends.append(labels[rows])
        if name == "CVAE 2":
            assert torch.equal(batch["class_labels"], labels[rows])
        else:
            assert batch.keys() == {"pixel_values"}
    assert (ends[0] != ends[1]).all()

    given = [ends, [ends[0], ends[0]], [ends[1], ends[1]]] if name == "CVAE 2" else [[None, None]]
    found = []
    for start_labels, end_labels in given:
        starts, stops = first["pixel_values"], last["pixel_values"]
        paths = model.interpolate(starts, stops, 6, start_labels, end_labels)
        measure = Interpolation()
        measure.add(paths, torch.stack([starts, stops], 1))
        found.append({key: float(value) for key, value in measure.compute().items()})
    for key, value in found[0].items():
        short = key.removeprefix("interpolation_")
        assert record.steps["interpolation"].numbers[f"interpolation/{short}/test"] == pytest.approx(value, rel=1e-4)
    for other in found[1:]:
        assert other != pytest.approx(found[0], rel=1e-4)


def test_picture_of_reconstructions(cell, model, splits):
    images, labels = (rows[:10] for rows in pixels_and_labels(splits["test"]))
    rows = torch.stack([images, model.reconstruct(images, class_labels=labels)])[:, :, 0].clamp(0, 1)
    with Image.open(cell.folder / "pictures" / "reconstructions.png") as picture:
        values = torch.frombuffer(bytearray(picture.convert("L").tobytes()), dtype=torch.uint8).view(16, 80) / 255
    torch.testing.assert_close(values, rows.permute(0, 2, 1, 3).reshape(16, 80), rtol=0, atol=0.003)


# Samplers


@pytest.mark.parametrize(
    ("name", "sampler"),
    [
        *(("CVAE 2", sampler) for sampler in ("each", "flows", "flow")),
        *(("VAE 1", sampler) for sampler in ("each", "flow")),
        ("CVQVAE 1", "pixels"),
    ],
)
def test_samplers_with_classes_get_the_labels(root, splits, name, sampler):
    """A sampler of a cell is that of `fit_to` on the data of the study, also for a model without classes."""
    folder = read_cells(root)[name].folder
    model, found = AutoGAE.from_pretrained(folder).eval(), AutoSampler.from_pretrained(folder / "samplers" / sampler)
    fields = {key: value for key, value in SAMPLERS[sampler].items() if key not in ("sampler", "training")}
    expected = AutoSampler.from_config(AutoSampler.config_class(SAMPLERS[sampler]["sampler"])(**fields))
    training = SAMPLERS[sampler].get("training", {})
    expected.fit_to(model, splits["train"], splits["validation"], progress=False, **training)
    for key, value in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[key], value, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.class_shares, splits["train"].labels.bincount(minlength=10) / 120)


def test_generation(root, cell, model, splits):
    """Samples of classes with their shares, as `evaluate_model` draws them."""
    (extractor,) = (path for path in (root / "extractors").iterdir() if path.is_dir())
    for name in ("normal", "each", "flow"):
        sampler = AutoSampler.from_pretrained(cell.folder / "samplers" / name)
        found = evaluate_model(
            model, splits["test"], ["fid"], sampler, num_samples=40, seed=SEED, extractor=str(extractor)
        )
        assert number(cell, f"generation/{name}/fid/test") == pytest.approx(float(found["fid"]), rel=1e-4)


def test_samplers_that_cannot_model_the_latents_are_skipped(results):
    """A sampler per class can model what those of each class can."""
    skipped = {f"{one.method} {one.configuration}": set(one.facts.get("skipped_steps", {})) for one in results.cells}
    steps = {name: {f"sampler/{name}", f"generation/{name}"} for name in SAMPLERS}
    assert skipped["VAE 1"] == skipped["CVAE 1"] == steps["pixels"]
    assert skipped["CVQVAE 1"] == {"likelihood"} | steps["flows"]


# Reports and cards


def test_tables_show_both_kinds_of_methods(results):
    """log p(x|y) and log p(x) are not compared."""
    text = results.table("reconstruction").to_markdown()
    assert "| VAE |" in text and "| CVAE |" in text and "| CVQVAE |" in text
    text = results.table("log_likelihood").to_markdown().replace("\\", "")
    assert "Values of CVAE are log p(x|y), given the label of each example." in text
    assert "measured in different ways, and nothing is marked in it" in text and "**" not in text


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ("reconstruction", "reconstruct"),
        ("classification_clustering", "embed"),
        ("interpolation", "encode and decode"),
        ("generation", None),
    ],
)
def test_tables_say_who_sees_labels(results, table, what):
    notes = [note for note in results.table(table).notes if "label" in note]
    expected = f"Conditional methods (CVAE, CVQVAE) {what} each test example with its label, others without."
    assert notes == ([] if what is None else [expected])


def test_card_of_a_published_model(results, tmp_path, monkeypatch):
    """It shows a row of samples for each class, and how to pass classes."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (chosen,) = (model for model in choose_models(results, "all", "user/tiny") if model.repo_id == "user/tiny-cvae-02")
    build_model(chosen, describe_study(results, chosen, "user/tiny-results", "user/tiny"), None, tmp_path)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "class_labels = torch.randint(10, (16,))" in card and "assets/samples_prior.png" in card
    assert {"reconstructions.png", "interpolations.png"} <= {path.name for path in (tmp_path / "assets").iterdir()}


# Wrong data


def plan(monkeypatch, labels, **changes):
    """The plan of a study of a conditional VAE on random data; `labels` of its training split, or None."""

    def load(dataset, names, **options):
        others = None if labels is None else torch.arange(20) % 4
        train = InMemoryDataset(make_split(20).pixel_values, None if labels is None else torch.tensor(labels), "x")
        return train, *(InMemoryDataset(make_split(20, seed=seed).pixel_values, others, "x") for seed in (1, 2))

    monkeypatch.setattr("gae_hub.study.study_data.load_data", load)
    methods = {"CVAE": {"model": "vae", "fields": {"num_classes": 4}}}
    study = declare(quick(**{"data": {"d": {"dataset": "mine"}}, "methods": methods, **changes}))
    return make_plan(study, load_study_data(study))


LABELS = [index % 4 for index in range(20)]
PLACE = r"data\.d, networks\.mlp, methods\.CVAE\.grid\[1\]: "


def fields(**changes):
    return {"methods": {"CVAE": {"model": changes.pop("model", "vae"), "fields": {"num_classes": 4} | changes}}}


@pytest.mark.parametrize(
    ("labels", "changes", "message"),
    [
        (
            None,
            {},
            PLACE + r"num_classes = 4 needs labels, but the train split of 'mine' has none: name their column by "
            r"`label_column` below data\.d, or remove num_classes",
        ),
        (
            [*LABELS[:-1], 6],
            {},
            PLACE + r"num_classes = 4: labels of the train split of 'mine' must be integers in \[0, 4\), got 6; set "
            r"num_classes to 7 or more",
        ),
        (
            [*LABELS[:-1], -1],
            {},
            r"in \[0, 4\), got -1; leave examples without a label out, or set condition_dropout of a model above 0",
        ),
        (LABELS, fields(num_classes=3), r"the train split of 'mine' must be integers in \[0, 3\), got 3; set num_cl"),
        ([0] * 20, fields(num_classes=3), r"the validation split of 'mine' must be .*, got 3; set num_classes to 4"),
        (LABELS, fields(model="vamp"), PLACE + "VAMPModel cannot be conditional"),
        (
            LABELS,
            fields(num_classes=None, condition_dim=5),
            r"methods\.CVAE\.grid\[1\]: condition_dim is 5, but the data of a study have labels and no vectors",
        ),
        (
            LABELS,
            {"samplers": {"s": {"sampler": "flow_matching", "num_classes": 2}}},
            r"data\.d, samplers\.s: num_classes = 2: labels of the train split of 'mine' must be .*, got 2, 3; set",
        ),
        (
            LABELS,
            {"samplers": {"s": {"sampler": "per_class"}}},
            r"samplers\.s: num_classes is missing: set it to the number of classes in the data",
        ),
    ],
)
def test_wrong_data_and_fields_raise_before_training(monkeypatch, labels, changes, message):
    with pytest.raises(ValueError, match=message):
        plan(monkeypatch, labels, **changes)


def test_right_data_have_a_plan(monkeypatch):
    """Labels of -1 are missing, for a model that is trained for that."""
    assert len(plan(monkeypatch, LABELS).cells) == 1
    assert len(plan(monkeypatch, [*LABELS[:-1], -1], **fields(condition_dropout=0.1)).cells) == 1
    assert len(plan(monkeypatch, None, methods={"VAE": {"model": "vae"}}).cells) == 1


def test_the_study_of_the_documentation_has_a_plan():
    page = Path(__file__).parents[2] / "docs" / "howto" / "conditional_models.md"
    (block,) = (block for block in read_blocks(page.read_text(encoding="utf-8")) if block.language == "yaml")
    study = declare(tiny(**load_yaml(block.body)))
    assert {cell.method for cell in make_plan(study, load_study_data(study)).cells} == {"VAE", "CVAE"}


def test_nothing_is_trained_on_wrong_data(tmp_path):
    methods = {"VAE": {"model": "vae"}, "CVAE": {"model": "vae", "fields": {"num_classes": 9}}}
    with pytest.raises(ValueError, match=r"the train split of 'digits' must be .*, got 9; set num_classes to 10 or"):
        run(quick(methods=methods), tmp_path / "out")
    assert not (tmp_path / "out" / "cells").exists()
