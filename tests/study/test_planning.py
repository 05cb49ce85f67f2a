"""The plan of a study: its cells, and digests of their steps that change with what a step depends on."""

import json
from copy import deepcopy
from dataclasses import asdict, replace

import pytest
from tiny_study import declare, make_split, tiny

from gae_hub.core.yaml_files import dump_yaml, load_yaml
from gae_hub.study import planning
from gae_hub.study.declaration import BUILTIN_STUDIES, load_study
from gae_hub.study.digests import digest
from gae_hub.study.plan import StudyPlan, read_plan
from gae_hub.study.planning import make_plan
from gae_hub.study.worker import load_study_data

SHAPES = {"ylecun/mnist": (1, 28, 28), "uoft-cs/cifar10": (3, 32, 32), "flwrlabs/celeba": (3, 64, 64)}
SIZES = {"train": 40, "validation": 12, "test": 12}


@pytest.fixture(scope="module", autouse=True)
def stand_ins():
    """Data sets of random values: of the shape of a known name, or of the shape in a name such as "random 3 8 8".

    "unlabelled" at the end leaves labels out, "alike" gives all the same label, "other" gives other values, and "wide"
    gives values up to 9.
    """

    def load(dataset, splits, **options):
        words = dataset.split()
        shape = SHAPES.get(words[0]) or tuple(int(word) for word in words if word.isdigit()) or (1, 8, 8)
        return tuple(
            make_split(
                SIZES[split],
                shape,
                None if "unlabelled" in words else 1 if "alike" in words else 4,
                seed=index + 10 * ("other" in words),
                maximum=9.0 if "wide" in words else 1.0,
            )
            for index, split in enumerate(splits)
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gae_hub.study.study_data.load_data", load)
        yield


@pytest.fixture(scope="module")
def paper(stand_ins) -> StudyPlan:
    """The plan of the paper's study."""
    study = load_study("paper")
    return make_plan(study, load_study_data(study))


def plan(**changes) -> StudyPlan:
    """The plan of the tiny study with changes, on random data."""
    changes.setdefault("data", {"digits": {"dataset": "random 1 8 8", "latent_dim": 3}})
    study = declare(tiny(**changes))
    return make_plan(study, load_study_data(study))


def steps_of(found: StudyPlan, cell: int = 0) -> dict[str, str]:
    return found.cells[cell].steps


def changed_steps(**changes) -> set[str]:
    """Steps of the first cell whose digest differs from that of the unchanged study."""
    before, after = steps_of(plan()), steps_of(plan(**changes))
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


EVERYTHING = {
    *("train", "reconstruction", "sampler/normal", "generation/normal", "sampler/gmm", "generation/gmm"),
    *("classification", "clustering", "interpolation", "likelihood"),
}


def with_task(name, **fields):
    tasks = tiny()["tasks"]
    return {"tasks": {**tasks, name: {**tasks[name], **fields}}}


def with_data(**fields):
    return {"data": {"digits": {"dataset": "random 1 8 8", "latent_dim": 3, **fields}}}


def with_networks(**fields):
    return {"networks": {"mlp": {**tiny()["networks"]["mlp"], **fields}}}


# Every built-in study


@pytest.mark.parametrize("name", [*(one for one in BUILTIN_STUDIES if one[:5] != "paper"), "paper-celeba-resnet"])
def test_builtin_studies(name):
    """Each configuration of the built-in studies is valid on data of its shape."""
    check_plan(load_study(name))


@pytest.mark.parametrize("latent_dim", [16, 512])
def test_latent_dims_of_the_paper(latent_dim):
    """The smallest and the largest."""
    study = load_study("paper-latent-dims")
    assert {16, 512} < set(study.latent_dims)
    check_plan(replace(study, latent_dims=(latent_dim,), data={"mnist": study.data["mnist"]}))


def check_plan(study):
    """Make the plan of a study, which checks all configurations, and compare the number of cells."""
    found = make_plan(study, load_study_data(study))
    num = sum(len(method.configurations) for method in study.methods.values())
    num_dims = max(len(study.latent_dims), 1)
    assert len(found.cells) == num * len(study.data) * len(study.networks) * num_dims * len(study.seeds)
    assert found.omitted == {dataset: {} for dataset in study.data}
    for cell in found.cells:
        assert cell.steps["train"] == digest(cell.settings)


def test_paper_plan(paper):
    """1,140 cells: duplicates in the tables share folders, and negative weights are skipped."""
    assert len(paper.cells) == 1140 and paper.omitted == {"mnist": {}, "cifar10": {}, "celeba": {}}
    skipped = [cell for cell in paper.cells if cell.skipped]
    duplicates = [cell for cell in paper.cells if cell.duplicate_of]
    assert skipped and duplicates
    by_place = {(one.method, one.configuration, one.dataset, one.network): one for one in paper.cells}
    for cell in duplicates:
        original = by_place[cell.method, cell.duplicate_of, cell.dataset, cell.network]
        assert original.id == cell.id and original.steps == cell.steps
    folders = [cell.id for cell in paper.runnable()]
    assert len(folders) == len(set(folders))
    assert set(folders) == {cell.id for cell in paper.cells if not cell.skipped}
    assert not {cell.id for cell in skipped} & set(folders)


def test_parts_share_the_cells_of_the_paper(paper):
    """In one folder, a part of the paper's study and the whole have the same cells with the same steps."""
    part = load_study("paper-celeba-convnet")
    cells = {cell.id: cell for cell in paper.cells}
    for cell in make_plan(part, load_study_data(part)).cells:
        assert cells[cell.id].steps == cell.steps


# Which step depends on which setting


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"training": {"num_train_epochs": 2}}, EVERYTHING),
        ({"training": {"num_train_epochs": 1, "learning_rate": 1e-4}}, EVERYTHING),
        ({"seeds": [1]}, EVERYTHING),
        (with_data(latent_dim=4), EVERYTHING),
        (with_data(dataset="random 1 8 8 other"), EVERYTHING),
        (with_data(num_train=39), EVERYTHING),
        (with_data(num_validation=11), EVERYTHING),
        (with_data(training={"learning_rate": 1e-4}), EVERYTHING),
        ({"latent_dims": [4]}, EVERYTHING),
        (with_networks(encoder_config={"model_type": "mlp", "hidden_sizes": [9]}), EVERYTHING),
        (with_networks(decoder_config="mlp"), EVERYTHING),
        (
            with_data(num_test=11),
            EVERYTHING - {"train", "sampler/normal", "sampler/gmm"},
        ),
        (
            {
                "samplers": {
                    "normal": {"sampler": "normal"},
                    "gmm": {"sampler": "gaussian_mixture", "num_components": 3},
                }
            },
            {"sampler/gmm", "generation/gmm"},
        ),
        ({"samplers": {"normal": {"sampler": "normal"}}}, {"sampler/gmm", "generation/gmm"}),
        (with_task("classification", num_probes=3), {"classification"}),
        (with_task("clustering", num_fits=3), {"clustering"}),
        (with_task("interpolation", num_steps=7), {"interpolation"}),
        (with_task("likelihood", num_images=8), {"likelihood"}),
        (with_task("reconstruction", fid=False), {"reconstruction"}),
        (with_task("generation", num_samples=41), {"generation/normal", "generation/gmm"}),
        ({"extractor": {"num_train_epochs": 2}}, {"reconstruction", "generation/normal", "generation/gmm"}),
        ({"extractor": "inception"}, {"reconstruction", "generation/normal", "generation/gmm"}),
        ({"training": {"num_train_epochs": 1, "logging_steps": 5, "report_to": "none"}}, set()),
        ({"title": "Another"}, set()),
        ({"name": "another"}, set()),
        ({"budget": {"hours": 3}}, set()),
        ({"train_together": False}, set()),
        ({"data": {"renamed": {"dataset": "random 1 8 8", "latent_dim": 3}}}, set()),
        ({"tasks": dict(reversed(tiny()["tasks"].items()))}, set()),
        ({"training": {"num_train_epochs": 1.0}}, set()),
        (with_data(latent_dim=3, num_train=40), set()),  # as many as there are
        (with_networks(fields={"VQVAE": {"num_embeddings": 9}}), set()),  # of another method
    ],
)
def test_changed_settings(changes, expected):
    """A changed setting changes the digests of the steps that depend on it, and no others."""
    assert changed_steps(**changes) == expected


def test_changed_value_of_a_grid():
    """It changes all steps of its cell, and of no other."""
    methods = tiny()["methods"]
    methods["VAE"]["grid"][1] = {"beta": 2}
    before, after = plan(), plan(methods=methods)
    for one, other in zip(before.cells, after.cells, strict=True):
        differs = {name for name in one.steps if one.steps[name] != other.steps[name]}
        assert differs == (EVERYTHING if (one.method, one.configuration) == ("VAE", 2) else set())


def test_sampler_training():
    """Training arguments of a sampler, and the defaults of its class: equal ones change nothing."""
    maf = {"sampler": "maf", "training": {"num_train_epochs": 2}}

    def steps(**training):
        return steps_of(plan(samplers={"maf": {**maf, "training": {**maf["training"], **training}}}))

    assert steps() == steps(learning_rate=1e-3)  # the default
    assert {name for name, value in steps().items() if steps(learning_rate=1e-4)[name] != value} == {
        "sampler/maf",
        "generation/maf",
    }


def test_training_of_one_method():
    """It replaces that of the study for this method, and for no other."""
    methods = tiny()["methods"]
    training = {"num_train_epochs": 1, "learning_rate": 0.01}
    first = plan(training=training)
    own = {**methods, "VAE": {**methods["VAE"], "training": {"learning_rate": 0.1, "warmup_steps": 3}}}
    second = plan(training=training, methods=own)
    assert first.methods["VAE"].get("training") is None
    assert second.methods["VAE"]["training"] == {"learning_rate": 0.1, "warmup_steps": 3}
    for before, after in zip(first.cells, second.cells, strict=True):
        expected = {**training, "learning_rate": 0.1, "warmup_steps": 3} if after.method == "VAE" else training
        assert after.settings["training"] == expected
        assert (before.id != after.id) == (after.method == "VAE")
    in_grid = plan(training=training, methods={"grids": "paper", "only": ["AE", "VAE"], "training": {"AE": training}})
    assert "training" in in_grid.methods["AE"] and "training" not in in_grid.methods["VAE"]


def test_models_of_two_methods_train_together_only_with_the_same_training():
    """Two methods of one model are one group, unless one has training arguments of its own."""
    networks = {"mlp": {"encoder_config": "mlp", "decoder_config": "mlp"}}
    one = {"model": "beta_vae", "grid": [{"beta": 0.1}, {"beta": 1}]}
    other = {"model": "beta_vae", "grid": [{"beta": 2}, {"beta": 4}]}
    same = plan(networks=networks, methods={"A": one, "B": other})
    assert len({cell.group for cell in same.cells}) == 1 and same.cells[0].group is not None
    own = plan(networks=networks, methods={"A": one, "B": {**other, "training": {"learning_rate": 0.1}}})
    groups = {(cell.method, cell.group) for cell in own.cells}
    assert len({group for _, group in groups}) == len(groups) == 2 and None not in dict(groups).values()


def test_logging_steps():
    """They have no effect on a model, unless they are the steps between evaluations, which choose the best one."""

    def trained(**training):
        return steps_of(plan(training={"num_train_epochs": 1, **training}))["train"]

    assert trained(logging_steps=5) == trained(logging_steps=6)
    assert trained(eval_strategy="steps", logging_steps=5) != trained(eval_strategy="steps", logging_steps=6)


def test_versions(monkeypatch):
    """Another version of the library or of torch makes other cells."""
    before = steps_of(plan())
    monkeypatch.setattr(planning, "__version__", "99.0")
    after = steps_of(plan())
    assert before.keys() == after.keys() and not set(before.values()) & set(after.values())


def test_order_of_keys():
    """The order of keys in the file has no effect, nor does 1 instead of 1.0."""

    def turn(value):
        if isinstance(value, dict):
            return {key: turn(inner) for key, inner in reversed(value.items())}
        if isinstance(value, list):
            return [turn(inner) for inner in value]
        return float(value) if type(value) is int and value == 1 else value

    settings = tiny(data={"digits": {"dataset": "random 1 8 8", "latent_dim": 3}})
    settings["methods"]["VAE"]["fields"] = {"observation_std": 1}
    turned = turn(deepcopy(settings))
    turned["tasks"] = settings["tasks"]  # counts stay integers
    study, other = declare(settings), declare(turned)
    first, second = (make_plan(one, load_study_data(one)) for one in (study, other))
    assert {cell.steps["train"]: cell.steps for cell in first.cells} == {
        cell.steps["train"]: cell.steps for cell in second.cells
    }
    assert digest({"a": 1, "b": [1.0, True]}) == digest({"b": (1, True), "a": 1.0})
    assert digest({"a": 1}) != digest({"a": True}) and digest("1") != digest(1)


def test_yaml_round_trip():
    """A worker process reads the study from its folder: the plan is the same."""
    settings = tiny(data={"digits": {"dataset": "random 1 8 8", "latent_dim": 3}})
    study = declare(load_yaml(dump_yaml(settings)))
    again = make_plan(study, load_study_data(study))
    assert again.digest == plan().digest


def test_plan_file(tmp_path, paper):
    """plan.json is read back to a plan of the same digest."""
    paper.write(tmp_path)
    again = read_plan(tmp_path)
    assert again.digest == paper.digest
    assert [cell.steps for cell in again.cells] == [cell.steps for cell in paper.cells]
    assert json.loads(json.dumps(asdict(again))) == json.loads((tmp_path / "plan.json").read_text())


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"cells": 3}', '{"cells": [{"id": "x"}]}', '{"cells": [], "x": 1}']
)
def test_damaged_plan(tmp_path, content):
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(ValueError, match=r"plan\.json"):
        read_plan(tmp_path)


# Cells that are shared, skipped, or lack a task


def test_equal_settings_share_a_cell():
    """Two methods of one model with equal fields: one folder, which is run once with the steps of both."""
    found = plan(
        methods={
            "A": {"model": "beta_vae", "samplers": ["normal"], "grid": [{"beta": 2}]},
            "B": {"model": "beta_vae", "samplers": ["gmm"], "fields": {"beta": 2.0}, "grid": [{}, {"beta": 3}]},
        }
    )
    first, second, other = found.cells
    assert first.id == second.id != other.id
    assert "generation/gmm" not in first.steps and "generation/normal" not in second.steps
    shared, _ = found.runnable()
    assert shared.steps == {**first.steps, **second.steps}


def test_cells_measured_on_other_data_do_not_share_a_folder():
    """Two data sets with one training split and two test splits: their numbers would replace each other."""
    small = {"dataset": "random 1 8 8", "latent_dim": 3, "num_test": 5}
    found = plan(data={"all": {"dataset": "random 1 8 8", "latent_dim": 3}, "small": small, "again": small})
    for cell, other, same in zip(found.cells[:4], found.cells[4:8], found.cells[8:], strict=True):
        assert cell.steps["train"] == other.steps["train"] and cell.id != other.id
        assert other.id == same.id and other.steps == same.steps
    assert len(found.runnable()) == 8


def test_duplicates_and_skipped_entries():
    """A duplicate shares the cell of its original; a skipped entry is not run, and its values are not checked."""
    found = plan(
        methods={
            "VAE": {
                "model": "beta_vae",
                "grid": [{"beta": 1}, {"duplicate_of": 1}, {"set": {"beta": -1}, "skip": "negative"}, {"beta": 2}],
            }
        }
    )
    assert [cell.skipped for cell in found.cells] == [None, None, "negative", None]
    assert [cell.id for cell in found.runnable()] == [found.cells[0].id, found.cells[3].id]
    assert found.cells[1].id == found.cells[0].id and found.cells[1].duplicate_of == 1


def test_seeds():
    """Each seed is a cell. A configuration's own seed is added to it."""
    found = plan(seeds=[0, 5], methods={"AE": {"model": "ae", "grid": [{"seed": 10}]}, "VAE": {"model": "vae"}})
    assert [(cell.method, cell.seed) for cell in found.cells] == [("AE", 10), ("AE", 5010), ("VAE", 0), ("VAE", 5)]
    assert len({cell.id for cell in found.cells}) == 4
    found = plan(seeds=[0, 1], methods={"AE": {"model": "ae", "grid": [{"seed": seed} for seed in range(10)]}})
    assert len({cell.seed for cell in found.cells}) == 20


def test_latent_dims():
    """They replace the data sets' own, and make a cell each."""
    found = plan(latent_dims=[2, 4], methods={"AE": {"model": "ae"}})
    assert [cell.latent_dim for cell in found.cells] == [2, 4] and found.latent_dims == {"digits": [2, 4]}


def test_samplers_of_a_method():
    """The samplers that a grid names, of those that the study has."""
    found = plan(methods={"grids": "paper", "only": ["VAE", "VAMP"], "configurations": [1]})
    steps = {cell.method: {name for name in cell.steps if name.startswith("sampler/")} for cell in found.cells}
    assert steps["VAE"] == {"sampler/normal", "sampler/gmm"}
    assert found.methods["VAE"]["samplers"] == ["normal", "gmm"]


def test_data_without_labels():
    """Classification and clustering are left out, and what needs an extractor that is trained on labels."""
    found = plan(data={"d": {"dataset": "random 1 8 8 unlabelled", "latent_dim": 3}})
    assert {name.partition("/")[0] for name in found.cells[0].steps} == {
        *("train", "reconstruction", "sampler", "generation", "interpolation", "likelihood")
    }
    omitted = found.omitted["d"]
    assert omitted["classification"] == omitted["clustering"] == "the data have no labels"
    assert "no labels to train an extractor on" in omitted["generation/fid"]
    assert omitted["reconstruction/fid"] == omitted["generation/fid"]


def test_data_of_one_class():
    found = plan(data={"d": {"dataset": "random 1 8 8 alike", "latent_dim": 3}})
    assert not {"classification", "clustering"} & steps_of(found).keys()
    assert found.omitted["d"]["classification"] == "all examples have the same label"
    assert "only one label to train an extractor on" in found.omitted["d"]["generation/fid"]


def test_networks_and_values_that_do_not_fit_raise_before_anything_runs():
    paper_conv = {"p": {"encoder_config": "paper_conv", "decoder_config": "paper_conv"}}
    place = r"data\.digits, networks\.p, methods\.AE\.grid\[1\]: the paper's networks need"
    with pytest.raises(ValueError, match=place):
        plan(networks=paper_conv)
    with pytest.raises(ValueError, match=r"methods\.AE\.grid\[1\]: .* pixel_values must lie in \[0, 1\]"):
        plan(data={"d": {"dataset": "random 5 wide", "latent_dim": 3}})


def test_content_of_a_local_extractor_counts(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"a")
    before = steps_of(plan(extractor=str(tmp_path)))
    assert before == steps_of(plan(extractor=str(tmp_path)))
    (tmp_path / "model.safetensors").write_bytes(b"b")
    after = steps_of(plan(extractor=str(tmp_path)))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"reconstruction", "generation/normal", "generation/gmm"}


def test_data_without_labels_and_another_extractor():
    """With an extractor that needs no training, features are compared."""
    found = plan(data={"d": {"dataset": "random 1 8 8 unlabelled", "latent_dim": 3}}, extractor="inception")
    assert set(found.omitted["d"]) == {"classification", "clustering"}
    assert "generation/gmm" in found.cells[0].steps


def test_data_that_are_no_images():
    """Vectors have no features to compare, and no need of an extractor."""
    found = plan(data={"d": {"dataset": "random 5", "latent_dim": 3}})
    assert set(found.omitted["d"]) == {"generation/fid", "reconstruction/fid"}
    assert set(found.cells[0].steps) == {
        *("train", "reconstruction", "classification", "clustering", "interpolation", "likelihood"),
        *(f"{step}/{sampler}" for step in ("sampler", "generation") for sampler in ("normal", "gmm")),
    }


def test_no_samplers():
    found = plan(samplers={})
    assert found.omitted["digits"] == {"generation": "the study has no samplers"}
    assert not any("/" in name for name in found.cells[0].steps)


def test_names_of_folders():
    """They come from the model and the settings, whatever the method is called."""
    methods = {
        name: {"model": "beta_vae", "grid": [{"beta": n}]} for n, name in enumerate(["../../x", "β", "a" * 300])
    }
    for cell in plan(methods=methods).cells:
        assert cell.id == f"beta-vae-{cell.steps['train'][:12]}"
