"""Tables and their files: marks, missing values, the paper's columns, and files that are read again."""

import csv
import io
import re
import time

import pyarrow.parquet
import pytest
from study.synthetic import make_cell, make_results, synthetic_results

from gae_hub.metrics import Passport
from gae_hub.study.findings import find_findings
from gae_hub.study.paper_values import PaperValue
from gae_hub.study.passports import COMPARED_FIELDS
from gae_hub.study.report import write_report
from gae_hub.study.table import format_entry
from gae_hub.study.table_files import to_csv, to_markdown, write_tables
from gae_hub.study.table_latex import escape_latex, to_latex
from gae_hub.study.table_parquet import parquet_bytes
from gae_hub.study.tables import build_tables

PAPER = [
    PaperValue(1, "VAE", None, "convnet", "mnist", "mse", 16.85, None, "1e-3", None),
    PaperValue(1, "VAE", None, "convnet", "mnist", "fid", 30.71, None, "", "doubtful print"),
    PaperValue(2, "VAE", None, "convnet", "mnist", "classification_accuracy", 86.75, 0.05, "percent", None),
    PaperValue(3, "VAE", "gmm", "convnet", "mnist", "fid", 26.9, None, "", None),
]


def mse(method, value, interval=None, **changes):
    name = "reconstruction/mse"
    passport = {"metric": "mse"} | ({"interval": interval} if interval else {})
    return make_cell(
        method,
        changes.pop("configuration", 1),
        {f"{name}/validation": value, f"{name}/test": value},
        passports={f"{name}/test": passport | changes.pop("passport", {})},
        **changes,
    )


def table(cells, name="reconstruction", paper=(), **changes):
    [found] = [t for t in build_tables(make_results(cells, **changes), paper) if t.name == name]
    return found


def column(table, i=0):
    return {row.method: format_entry(row.entries[i], table.columns[i]) for row in table.rows}


def test_fields_that_make_numbers_comparable_are_those_of_passports():
    assert COMPARED_FIELDS == Passport.COMPARED_FIELDS


def test_best_is_marked_and_what_is_inside_its_interval():
    found = table([mse("VAE", 0.011, (0.010, 0.012)), mse("AE", 0.010, (0.009, 0.0115)), mse("VAMP", 0.012)])
    assert {row.method: row.entries[0].mark for row in found.rows} == {"VAE": "near", "AE": "best", "VAMP": None}
    text = to_markdown(found)
    assert "| AE | **10.00** |" in text and "| VAE | <u>11.00</u> |" in text and "| VAMP | 12.00 |" in text
    assert "Underlined: inside the 95 % interval of the best (over images)." in text


def test_nothing_is_marked_where_numbers_were_measured_in_different_ways():
    found = table([mse("VAE", 0.2), mse("AE", 0.1, passport={"references_fingerprint": "other"})])
    assert [row.entries[0].mark for row in found.rows] == [None, None]
    assert any(note.startswith("Values in one column were measured in different ways") for note in found.notes)


def test_missing_values_are_told_apart():
    cells = [
        mse("VAE", 0.1),
        mse("AE", 0.1, state="failed", error="out of memory"),
        mse("VAMP", 0.1, state="skipped", error="negative weight"),
        mse("IWAE", 0.1, state="waiting"),
        make_cell("AAE", 1, {"classification/accuracy/test": 0.5}),
    ]
    found = table(cells)
    assert column(found) == {"VAE": "100.00", "VAMP": "skipped", "IWAE": "unfinished", "AAE": "–", "AE": "failed"}
    assert any("AE 1 failed: out of memory" in note for note in found.notes)
    [line] = [line for line in csv.DictReader(io.StringIO(to_csv(found))) if line["method"] == "AE"]
    assert line["convnet_mnist_16_mse_x1000"] == "" and line["missing"] == "convnet_mnist_16_mse_x1000: failed"


def test_methods_with_training_of_their_own_are_named(tmp_path):
    results = make_results([mse("VAE", 0.1), mse("AE", 0.2)])
    results.methods["VAE"]["training"] = {"learning_rate": 0.1, "warmup_steps": 3}
    notes = " ".join({found.name: found for found in build_tables(results, ())}["reconstruction"].notes)
    assert "Methods with other training: VAE learning_rate 0.1, warmup_steps 3." in notes
    page = write_report(results, tmp_path).read_text(encoding="utf-8")
    assert "VAE: learning_rate 0.1, warmup_steps 3" in page


def test_numbers_come_from_test_and_the_notes_say_how():
    cells = [make_cell("VAE", 1, {"reconstruction/mse/validation": 0.1, "reconstruction/mse/test": 0.3})]
    found = table(cells)
    assert column(found) == {"VAE": "300.00"}
    notes = " ".join(found.notes)
    for words in ("lowest MSE on validation", "10,000 test images", "Epochs: 100", "Seeds: 0", "2 CPU cores"):
        assert words in notes


def test_the_papers_values_stand_apart_unless_measured_alike():
    cells = [mse(method, 0.1, configuration=k, fields={"beta": k}) for method in ("VAE", "AE") for k in range(1, 11)]
    alike = table(cells, paper=PAPER)
    assert [(c.headers[-1], c.source, c.apart) for c in alike.columns] == [
        ("MSE", "ours", False),
        ("MSE, paper", "paper", False),
    ]
    assert column(alike, 1) == {"VAE": "16.85", "AE": ""}
    training = {"mnist": {"recipe": "paper", "num_train_epochs": 5}}
    settings = make_results(cells).settings | {"training": training}
    apart = table(cells, paper=PAPER, settings=settings)
    assert [(c.group, c.apart) for c in apart.columns] == [("ConvNet", False), ("paper (Inception, 100 epochs)", True)]
    assert any("5 epochs instead of 100 on mnist" in note for note in apart.notes)
    assert to_markdown(apart).index("### ConvNet") < to_markdown(apart).index("### paper (Inception, 100 epochs)")
    assert to_latex(apart).count("\\begin{table}") == 2
    few = table(cells[:2], paper=PAPER)
    assert few.columns[1].apart and any("best of 2 configurations instead of 10" in note for note in few.notes)


def test_papers_columns_are_never_marked_and_extractors_set_them_apart():
    found = build_tables(synthetic_results(("convnet",), ("mnist",)), PAPER)
    for one in found:
        for i, column in enumerate(one.columns):
            if column.source == "paper":
                assert {row.entries[i].mark for row in one.rows} == {None}
    [generation] = [one for one in found if one.name == "generation"]
    [theirs] = [c for c in generation.columns if c.source == "paper"]
    assert theirs.apart and any("extractor trained instead of Inception" in note for note in generation.notes)
    [first] = [one for one in found if one.name == "reconstruction"]
    assert "The paper's values of VAE: doubtful print." in first.notes


def test_seeds_give_mean_and_interval():
    found = table([mse("VAE", 0.1), mse("VAE", 0.3, seed=1), mse("AE", 0.5), mse("AE", 0.5, seed=1)])
    entry = found.rows[0].entries[0]
    assert entry.value == pytest.approx(0.2) and entry.values == (0.1, 0.3) and entry.interval_kind == "seeds"
    assert format_entry(entry, found.columns[0]).startswith("200.00 [")


def test_tables_of_a_benchmark():
    names = [one.name for one in build_tables(synthetic_results(), [])]
    assert names == [
        "reconstruction",
        "classification_clustering",
        "generation",
        "generation_all_samplers",
        "generation_quality",
        "log_likelihood",
        "training",
        "configurations",
    ]


def test_methods_have_their_samplers_in_generation():
    found = table(synthetic_results(("convnet",), ("mnist",)).cells, "generation")
    rows = [row.labels for row in found.rows]
    assert len(rows) == 37 and ("VAMP", "VAMP") in rows and ("AE", "normal") in rows  # as in the paper


def test_files_hold_the_same_numbers(tmp_path):
    results = synthetic_results(("convnet",), ("mnist", "cifar10"), seeds=(0, 1), num_configurations=2)
    for one in build_tables(results, PAPER):
        lines = list(csv.DictReader(io.StringIO(to_csv(one))))
        records = pyarrow.parquet.read_table(pyarrow.BufferReader(parquet_bytes(one))).to_pylist()
        tidy = iter(records)
        assert len(lines) == len(one.rows)
        for line, row in zip(lines, one.rows, strict=True):
            for entry, column in zip(row.entries, one.columns, strict=True):
                text = line[column.key]
                assert text == ("" if entry.value is None else repr(entry.value * column.scale))
                if entry.value is not None or entry.missing:
                    record = next(tidy)
                    assert (record["value"], record["missing"]) == (entry.value, entry.missing)
                    assert (record["method"], record["metric"]) == (row.method, column.metric)
        assert next(tidy, None) is None


def test_tables_that_a_study_no_longer_has_are_deleted(tmp_path):
    write_tables(make_results([mse("VAE", 0.1)]), tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    assert "reconstruction.md" in before and "configurations.csv" in before
    (tmp_path / "mine.csv").write_text("kept")
    (tmp_path / "mine.parquet").write_text("kept")
    only_time = make_cell("VAE", 1, {"training/seconds": 3.0})
    write_tables(make_results([only_time]), tmp_path)
    after = {path.name for path in tmp_path.iterdir()}
    assert "reconstruction.md" not in after and "reconstruction.parquet" not in after
    assert {"configurations.csv", "mine.csv", "mine.parquet"} <= after


def test_files_are_equal_to_the_byte(tmp_path):
    contents = []
    for name in ("a", "b"):
        paths = write_tables(synthetic_results(("convnet",), ("mnist",), num_configurations=2), tmp_path / name)
        contents.append([(path.name, path.read_bytes()) for path in paths])
    assert contents[0] == contents[1] and len(contents[0]) == 32


def parse_latex(text):
    """Check environments, braces, special characters and the number of cells of each line; return the rows."""
    stack, rows, width = [], [], 0
    for line in text.splitlines()[1:]:
        for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", line):
            if kind == "begin":
                stack.append(name)
            else:
                assert stack.pop() == name
        plain = re.sub(r"\\[\\&%$#_{}]", "", line)
        assert plain.count("{") == plain.count("}") or line in ("{\\scriptsize", "\\par}")
        assert plain.count("$") % 2 == 0 and not re.search(r"[#%↓↑±–]", plain)
        if layout := re.search(r"\\begin\{(?:tabular|longtable)\}\{(\w+)\}", line):
            width = len(layout[1])
        if line.endswith(r" \\"):
            cells = re.sub(r"\\&", "", line).split("&")
            spans = [int(number) for number in re.findall(r"\\multicolumn\{(\d+)\}", line)]
            assert len(cells) + sum(span - 1 for span in spans) == width
            rows.append(line)
    assert not stack
    return rows


def test_latex_is_well_formed():
    results = synthetic_results(num_configurations=3)
    for one in build_tables(results, PAPER):
        text = to_latex(one)
        parse_latex(text)
        assert ("longtable" in text) == (len(one.rows) > 80) and "\\toprule" in text and "\\bottomrule" in text


def test_latex_escapes():
    assert escape_latex(r"a_b & 5 % {x} \ ~ ± #$^") == (
        r"a\_b \& 5 \% \{x\} \textbackslash{} \textasciitilde{} $\pm$ \#\$\textasciicircum{}"
    )


def test_tables_and_findings_of_1140_cells_are_fast():
    results = synthetic_results()
    start = time.process_time()
    build_tables(results, [])
    find_findings(results, [])
    assert time.process_time() - start < 2
