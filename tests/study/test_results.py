"""Results in Python: a folder is loaded, the best cell is found, and its model, sampler and tables are used."""

import re
from pathlib import Path

import pytest
from study.synthetic import make_cell, make_results, synthetic_results
from tiny_study import run, tiny

from gae_hub.study import StudyFolder, load_results
from gae_hub.study.loaded_results import LoadedResults
from gae_hub.study.selection import Selector, Setup
from gae_hub.study.tables import build_tables

DOCS = Path(__file__).parents[2] / "docs" / "studies.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a finished study."""
    folder = tmp_path_factory.mktemp("results") / "smoke"
    run(tiny(), folder)
    return folder


def test_snippet_of_the_documentation_runs(folder, monkeypatch):
    section = DOCS.read_text(encoding="utf-8").split("## In Python")[1]
    snippet = re.search(r"^```python\n(.*?)^```", section, re.S | re.M)[1]
    assert snippet.count('run_study("smoke", "smoke")') == 1
    monkeypatch.chdir(folder.parent)
    scope = {}
    exec(snippet.replace('run_study("smoke", "smoke")', "run_study"), scope)
    assert scope["images"].shape == (16, 1, 8, 8)
    assert list(scope["frame"]["method"]) == ["AE", "VAE", "VQVAE"]
    assert scope["cell"].method == "VAE"


def test_folders_are_texts_or_paths(folder):
    expected = load_results(StudyFolder(folder, "tiny")).cells
    assert load_results(str(folder)).cells == load_results(folder, "tiny").cells == expected
    assert load_results(StudyFolder(str(folder), "tiny")).cells == expected
    assert StudyFolder(str(folder), "tiny") == StudyFolder(folder, "tiny")


def test_several_studies_are_listed(tmp_path):
    for name in ("one", "two"):
        (tmp_path / "studies" / name).mkdir(parents=True)
        (tmp_path / "studies" / name / "study.yaml").write_text("")
    with pytest.raises(ValueError, match=r"choose one with --study: one, two \(in Python: load_results"):
        load_results(str(tmp_path))


def test_missing_sampler_is_named(folder):
    cell = load_results(folder).best("reconstruction", "AE")
    with pytest.raises(ValueError, match="has no sampler 'maf'; it has gmm, normal"):
        cell.load_sampler("maf")
    with pytest.raises(ValueError, match="is not trained"):
        make_cell("VAE").load_model()


def test_shape_and_source_of_the_data_are_known(folder):
    settings = load_results(folder).settings
    assert settings["shapes"] == {"digits": [1, 8, 8]} and settings["data"]["digits"]["dataset"] == "digits"


def loaded(*arguments, **changes):
    return LoadedResults(**vars(synthetic_results(*arguments, **changes)))


def test_best_is_the_cell_of_the_tables():
    results = loaded(("mlp",), ("mnist",), num_configurations=4, seeds=(0, 1))
    for task, sampler in (("reconstruction", None), ("generation", "gmm"), ("classification", None)):
        chosen = Selector(results).select(task, "beta-VAE", Setup("mlp", "mnist", 16), sampler).configuration
        assert results.best(task, "beta-VAE", sampler=sampler) == chosen.cells[0]
        assert results.best(task, "beta-VAE", sampler=sampler, seed=1) == chosen.cells[1]
    values = {
        name: Selector(results).select("reconstruction", name, Setup("mlp", "mnist", 16)) for name in results.methods
    }
    best = min((s for s in values.values() if s.value is not None), key=lambda selection: selection.value)
    assert results.best("reconstruction") == best.configuration.cells[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "reconstructions"}, "did you mean 'reconstruction'"),
        ({"task": "reconstruction", "method": "vae"}, "the study has no method 'vae'"),
        ({"task": "reconstruction"}, "choose one with dataset=, of 'mnist', 'celeba'"),
        ({"task": "reconstruction", "dataset": "mnist", "seed": 7}, "no seed '7'"),
        ({"task": "reconstruction", "sampler": "gmm"}, "leave it out"),
        ({"task": "clustering", "dataset": "celeba"}, "no configuration of VAE, AE is measured"),
    ],
)
def test_errors_of_best(arguments, message):
    results = loaded(("mlp",), ("mnist", "celeba"), methods=["VAE", "AE"], num_configurations=1)
    with pytest.raises(ValueError, match=re.escape(message)):
        results.best(**arguments)


def test_tables_by_name_and_as_frames():
    results = loaded(("mlp",), ("mnist",), methods=["VAE", "AE"], num_configurations=2, seeds=(0, 1))
    found = results.table("reconstruction")
    frame = found.to_pandas()
    entry = found.rows[0].entries[0]
    assert frame["mlp_mnist_16_mse_x1000"][0] == entry.value * 1000
    assert frame["mlp_mnist_16_mse_x1000_low"][0] == entry.interval[0] * 1000
    assert list(frame["method"]) == ["VAE", "AE"]
    assert found.to_latex().count("\\begin{tabular}") == 1 and found.to_markdown().startswith("## Reconstruction")
    assert found.to_csv().splitlines()[0].startswith("method,mlp_mnist_16_mse_x1000,")
    with pytest.raises(ValueError, match="no table 'table1'; it has reconstruction, classification_clustering"):
        results.table("table1")
    assert [table.name for table in results.tables()] == [table.name for table in build_tables(results)]


def test_short_representations():
    results = make_results([make_cell("VAE", 2, {"reconstruction/mse/test": 1.0}, fields={"beta": 4})])
    assert repr(results) == "StudyResults('made-up': 1 methods, 1 cells: 1 done)"
    assert repr(results.cells[0]) == (
        "CellResult(VAE 2, beta 4: mnist, convnet, 16 dimensions, seed 0, done, 1 numbers)"
    )
    assert len(repr(synthetic_results())) < 200
