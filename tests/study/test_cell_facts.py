"""What reports say beside numbers: missing ones, shared times, divergences and weak extractors."""

import csv
import io
import json

import pyarrow.parquet
import pytest
from study.synthetic import make_cell, make_results

from gae_hub.metrics.networks import classifier
from gae_hub.study.cell_facts import MIN_SKILL
from gae_hub.study.report import write_report
from gae_hub.study.table import Column, Entry, Row, fit_digits, format_entry
from gae_hub.study.table_files import to_csv, to_markdown
from gae_hub.study.table_latex import to_latex
from gae_hub.study.table_parquet import parquet_bytes
from gae_hub.study.tables import build_tables


def tables(cells, **changes):
    return {table.name: table for table in build_tables(make_results(cells, **changes), ())}


def mse(value):
    return {"reconstruction/mse/validation": value, "reconstruction/mse/test": value}


def texts(table, i=0):
    return {row.method: format_entry(row.entries[i], table.columns[i]) for row in table.rows}


# Extractors


def fid_cell(accuracy, guessing=0.1, method="VAE", value=20.0):
    training = {"accuracy": accuracy, "guessing_accuracy": guessing, "num_classes": 10, "num_eval_examples": 50}
    numbers = {f"generation/gmm/fid/{split}": value for split in ("validation", "test")}
    passport = {"extractor": "classifier trained on mnist", "extractor_training": training}
    passport |= {"metric": "fid", "num_samples": 200, "num_references": 120}
    return make_cell(method, 1, numbers, passports=dict.fromkeys(numbers, passport))


def test_limit_is_that_of_the_classifier():
    assert MIN_SKILL == classifier.MIN_SKILL


@pytest.mark.parametrize(("accuracy", "word"), [(0.1, "at chance"), (0.4, "weak")])
def test_weak_extractors_are_named_with_their_accuracy_and_the_remedy(accuracy, word, tmp_path):
    results = make_results([fid_cell(accuracy)])
    found = {table.name: table for table in build_tables(results, ())}
    page = write_report(results, tmp_path).read_text(encoding="utf-8")
    for name in ("generation", "configurations"):
        [warning] = found[name].warnings
        assert f"is {word}" in warning and f"{100 * accuracy:.1f} % on 50 held-out images" in warning
        assert "extractor: {num_train_epochs: 50}" in warning and "--num_train_epochs" not in warning
        assert f"is {word}" in to_markdown(found[name]) and f"is {word}" in to_latex(found[name])
    assert page.count(f"is {word}") >= 2


def test_good_extractors_have_no_warning_but_their_accuracy():
    found = tables([fid_cell(0.95)])["generation"]
    assert not found.warnings and any("accuracy 95.0 % on 50 held-out images" in note for note in found.notes)


def test_note_of_fid_has_both_numbers_of_images():
    assert any(
        "200 images and 120 references per FID" in note for note in tables([fid_cell(0.95)])["generation"].notes
    )


def test_remedy_of_the_extractor_is_the_callers(caplog):
    config = classifier.FeatureClassifierConfig(num_classes=10, accuracy=0.1)
    assert "--num_train_epochs" in config.find_accuracy_problem()
    problem = config.find_accuracy_problem("do this")
    assert problem.endswith("say little; do this") and "--num_train_epochs" not in problem


# Times


def timed(method, seconds, together=1, device="CPU, 1 thread", configuration=1, **changes):
    facts = {"train_seconds": seconds, "trained_together": together, "device": device, "num_parameters": 10}
    return make_cell(method, configuration, mse(0.1) | {"training/seconds": seconds}, facts=facts, **changes)


def test_times_of_models_that_train_together_are_told_apart():
    found = tables([timed("VAE", 1.0), timed("AE", 0.2, together=4)])["training"]
    assert [column.metric for column in found.columns] == ["seconds", "trained_together", "num_parameters"]
    assert texts(found, 1) == {"VAE": "1", "AE": "4"}
    assert all(row.entries[0].mark is None for row in found.rows)
    notes = " ".join(found.notes)
    assert "divided by its number of models" in notes and "training alone" not in notes
    assert "divided by its number of models" in to_latex(found)
    assert found.rows[1].entries[0].passport["settings"]["models trained together"] == 4


def test_times_on_unlike_devices_are_not_compared():
    found = tables([timed("VAE", 1.0), timed("AE", 0.2, device="H200")])["training"]
    assert all(row.entries[0].mark is None for row in found.rows)
    alike = tables([timed("VAE", 1.0), timed("AE", 0.2)])["training"]
    assert [row.entries[0].mark for row in alike.rows] == [None, "best"]
    assert [column.metric for column in alike.columns] == ["seconds", "num_parameters"]


# Troubles of training


def test_troubles_of_training_are_in_tables_notes_and_page(tmp_path):
    diverged = {"divergences": 2, "warnings": []}
    warned = {"divergences": 0, "warnings": ["exploding latents", "posterior collapse"]}
    results = make_results(
        [
            make_cell("VAE", 1, mse(0.1), facts=diverged),
            make_cell("AE", 1, mse(0.2)),
            make_cell("VQVAE", 1, mse(0.3), facts=warned),
        ]
    )
    found = {table.name: table for table in build_tables(results, ())}
    states = {
        row.method: row.labels[found["configurations"].labels.index("state")] for row in found["configurations"].rows
    }
    assert states == {
        "VAE": "done, diverged 2 times",
        "AE": "done",
        "VQVAE": "done, warned of exploding latents and posterior collapse",
    }
    sentences = [
        "Training diverged, and went on from its last good state with a smaller learning rate: VAE 1 (convnet, mnist, "
        "16, seed 0), 2 times.",
        "The trainer warned of exploding latents: VQVAE 1 (convnet, mnist, 16, seed 0).",
        "The trainer warned of posterior collapse: VQVAE 1 (convnet, mnist, 16, seed 0).",
    ]
    assert [note for note in found["reconstruction"].notes if note in sentences] == sentences
    page = write_report(results, tmp_path).read_text(encoding="utf-8")
    for sentence in sentences:
        assert f'<p class="warning">{sentence}</p>' in page


# Missing numbers


def test_methods_without_a_likelihood_say_why():
    reason = "AEModel has no likelihood"
    vae = make_cell("VAE", 1, mse(0.1) | {"likelihood/log_likelihood/test": -90.0})
    ae = make_cell("AE", 1, mse(0.1), facts={"skipped_steps": {"likelihood": reason}}, fields={"seed": 3})
    tasks = {"reconstruction": {}, "likelihood": {"num_samples": 70, "num_images": 30}}
    found = tables([vae, ae], tasks=tasks)
    assert texts(found["log_likelihood"]) == {"VAE": "-90.00", "AE": "n/a"}
    notes = " ".join(found["log_likelihood"].notes)
    assert f"n/a (AE): {reason}" in notes and "70 samples each" in notes and "first 30 test examples" in notes
    for name in ("log_likelihood", "configurations"):
        lines = list(csv.DictReader(io.StringIO(to_csv(found[name]))))
        assert f"not defined ({reason})" in lines[1]["missing"]


def test_every_row_of_parquet_names_its_configuration():
    ae = make_cell("AE", 1, mse(0.1), facts={"skipped_steps": {"likelihood": "no likelihood"}}, fields={"seed": 3})
    failed = make_cell("AE", 2, state="failed", error="out of memory", fields={"seed": 4})
    vae = make_cell("VAE", 1, mse(0.1) | {"likelihood/log_likelihood/test": -90.0})
    for name in ("configurations", "log_likelihood"):
        content = parquet_bytes(tables([vae, ae, failed])[name])
        rows = pyarrow.parquet.read_table(pyarrow.BufferReader(content)).to_pylist()
        assert all(row["configuration"] is not None for row in rows)
        assert {json.loads(row["fields"])["seed"] for row in rows if row["method"] == "AE"} >= {3}
        assert any(row["reason"] == "no likelihood" for row in rows)


def test_tasks_that_data_cannot_have_say_why(tmp_path):
    settings = make_results([make_cell("VAE")]).settings | {
        "omitted": {"mnist": {"classification": "the data have no labels", "generation": "no images"}},
        "shapes": {"mnist": [12]},
        "data": {"mnist": {"dataset": "vecs", "options": {"normalize": "standardize"}}},
    }
    results = make_results([make_cell("VAE", 1, mse(0.1))], settings=settings)
    assert "classification" not in results.measured_tasks and "reconstruction" in results.measured_tasks
    page = write_report(results, tmp_path).read_text(encoding="utf-8")
    assert "<dt>Left out</dt><dd>MNIST, classification: the data have no labels" in page
    assert "MNIST: from vecs; 50,000 train" in page and "rows of 12 standardized values" in page
    [table] = [table for table in build_tables(results, ()) if table.name == "reconstruction"]
    notes = " ".join(table.notes)
    assert "10,000 test rows" in notes and "images" not in notes
    assert "mean squared error per value of a row, of standardized values" in notes


# Formats


def test_intervals_end_at_possible_values_and_say_so():
    names = ("classification/accuracy/validation", "classification/accuracy/test")
    cells = [
        make_cell("VAE", 1, dict.fromkeys(names, value) | mse(value), seed=k) for k, value in enumerate((0.3, 0.9))
    ]
    found = tables(cells)
    entry = found["classification_clustering"].rows[0].entries[0]
    assert entry.interval == (0.0, 1.0) and entry.clipped
    assert texts(found["classification_clustering"])["VAE"] == "60.00 [0.00, 100.00]"
    assert found["reconstruction"].rows[0].entries[0].interval[0] == 0.0
    assert any("clipped to the possible values" in note for note in found["reconstruction"].notes)
    assert any("With two seeds" in note for note in found["reconstruction"].notes)


def test_equal_seeds_have_no_interval():
    cells = [make_cell("VAE", 1, mse(0.1), seed=seed, facts={"num_parameters": 794_376}) for seed in (0, 1)]
    found = tables(cells)
    assert texts(found["training"]) == {"VAE": "794,376"} and texts(found["reconstruction"]) == {"VAE": "100.00"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.3, 0.0427), ["0.300", "0.043"]),
        ((0.3, 4.27e-9), ["3.00e-01", "4.27e-09"]),
        ((0.3, 0.0), ["0.3", "0.0"]),
        ((0.3, -0.06), ["0.3", "-0.1"]),
    ],
)
def test_a_column_has_one_format(values, expected):
    column = Column("a", ("a",), "a", digits=1)
    rows = [Row(("x",), (Entry(value=value),), "x") for value in values]
    [fitted] = fit_digits([column], rows)
    assert [format_entry(row.entries[0], fitted) for row in rows] == expected


def test_zero_has_no_sign():
    assert format_entry(Entry(value=-0.001), Column("a", ("a",), "a", digits=1)) == "0.0"


# Numbers of tables


def test_the_papers_numbers_are_those_of_the_papers_methods():
    paper = tables([make_cell("VAE", 1, mse(0.1)), make_cell("beta-VAE", 1, mse(0.1))])["reconstruction"]
    assert paper.paper_table == 1
    assert "Table 1 of the [Pythae paper](https://arxiv.org/abs/2206.08309)" in to_markdown(paper)
    own = {name: {"model": "vae", "table": None, "groups": [], "samplers": ["gmm"]} for name in ("VAE", "beta-VAE")}
    mine = tables([make_cell("VAE", 1, mse(0.1)), make_cell("beta-VAE", 1, mse(0.1))], methods=own)["reconstruction"]
    assert mine.paper_table is None and "Table 1" not in to_markdown(mine) + to_latex(mine)
    assert "\\caption{Reconstruction}" in to_latex(paper) and "\\caption{Reconstruction}" in to_latex(mine)


def test_generation_is_shown_once_if_all_samplers_are_the_papers():
    numbers = {
        f"generation/{sampler}/fid/{split}": 9.0 for sampler in ("gmm", "maf") for split in ("validation", "test")
    }
    methods = {"VAE": {"model": "vae", "table": None, "groups": [], "samplers": ["gmm"]}}
    one = tables([make_cell("VAE", 1, numbers)], methods=methods, samplers=["gmm"])
    assert "generation" in one and "generation_all_samplers" not in one
    methods["VAE"]["samplers"] = ["gmm", "maf"]
    both = tables([make_cell("VAE", 1, numbers)], methods=methods, samplers=["gmm", "maf"])
    assert "generation" in both and "generation_all_samplers" in both


def test_interpolation_has_a_table():
    names = ("end_point_mse", "path_smoothness", "path_straightness")
    numbers = mse(0.1) | {f"interpolation/{name}/test": 0.5 for name in names}
    found = tables([make_cell("VAE", 1, numbers)])["interpolation"]
    assert [texts(found, i)["VAE"] for i in range(3)] == ["500.00", "0.500", "0.500"]


@pytest.mark.parametrize("name", ["[bracket]", "*star", " [x"])
def test_brackets_behind_a_line_break_are_no_argument_in_latex(name):
    methods = {name: {"model": "vae", "table": None, "groups": [], "samplers": []}}
    text = to_latex(tables([make_cell(name, 1, mse(0.1))], methods=methods, samplers=[])["reconstruction"])
    assert f"{{{name.strip()[0]}}}{name.strip()[1:]} &" in text
