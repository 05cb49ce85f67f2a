"""What a study's Space computes: the library's own answers, and what it says to wrong requests."""

import base64
import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from spaces.study_cases import METHODS, PLACE, SETUP, decode, load, pixels

from gae_hub import AEModel, AutoSampler, GenerationPipeline
from gae_hub.metrics.functional.reconstruction import squared_error
from gae_hub.spaces.comparison import Comparison, Inputs, MethodRow
from gae_hub.spaces.study_html import page_head, render_comparison
from gae_hub.spaces.study_views import Selected, StudyViews
from gae_hub.study import load_results
from gae_hub.study.table import format_entry
from gae_hub.study.tables import build_tables

HOSTILE = "<script>alert(1)</script>\"'&{{ 7*7 }}"


@pytest.mark.parametrize("method", METHODS)
def test_rows_equal_the_methods_of_the_model(views, method):
    folder, model, processor = load(views, method)
    examples = views.compared.examples(SETUP).pixel_values
    expected = model.reconstruct(examples[:3])
    (row,) = views.reconstruct([0, 1, 2], methods=[method])
    assert [decode(uri).tolist() for uri in row["images"]] == pixels(processor.postprocess(expected))
    assert row["errors"] == squared_error(expected, examples[:3]).tolist()
    for row, name in zip(views.sample(["normal", "gmm"], 4, 7, methods=[method]), ("normal", "gmm"), strict=True):
        sampler = AutoSampler.from_pretrained(folder, subfolder=f"samplers/{name}")
        assert row["sampler"] == name
        assert [decode(uri).tolist() for uri in row["images"]] == pixels(
            GenerationPipeline(model, sampler, processor)(4, seed=7)
        )
    (row,) = views.interpolate(0, 3, 5, methods=[method])
    path = model.interpolate(examples[:1], examples[3:4], 5)[0]
    assert [decode(uri).tolist() for uri in row["images"]] == pixels(processor.postprocess(path))


def test_task_chooses_the_configuration(views):
    chosen = {task: views.compared.select(task, "VAE", SETUP).configuration for task in views.compared.tasks}
    for task, configuration in chosen.items():
        (row,) = views.reconstruct([0], task=task, methods=["VAE"])
        assert row["configuration"] == configuration.number and row["fields"] == configuration.fields


def test_models_beyond_the_bound_are_dropped_and_loaded_again(study_space, views):
    compared = Comparison(study_space, max_cache_bytes=1)
    inputs = Inputs.pick(compared.examples(SETUP), [0, 1])
    for _ in range(2):
        rows = compared.reconstruct(SETUP, "reconstruction", METHODS, inputs)
        assert len(compared.cache) == 1
        expected = views.compared.reconstruct(SETUP, "reconstruction", METHODS, inputs)
        assert [pixels(row.images) for row in rows] == [pixels(row.images) for row in expected]
    assert compared.cache.num_loaded == 6 and len(views.compared.cache) >= 3


def test_an_uploaded_image_is_read_as_the_processor_reads_it(views, tmp_path):
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(tmp_path / "own.png")
    uri = f"data:image/png;base64,{base64.b64encode((tmp_path / 'own.png').read_bytes()).decode()}"
    _, model, processor = load(views, "AE")
    expected = processor.postprocess(model.reconstruct(processor(tmp_path / "own.png")["pixel_values"]))
    (row,) = views.reconstruct([uri], methods=["AE"])
    assert [decode(found).tolist() for found in row["images"]] == pixels(expected)
    page = views.show_reconstructions(Selected(*PLACE, "reconstruction", ["AE"]), [0], [str(tmp_path / "own.png")])
    assert row["images"][0] in page and "image 1 of yours" in page


def test_tables_are_those_of_the_study(views, study):
    tables = build_tables(load_results(study))
    assert [table["name"] for table in views.tables()] == [table.name for table in tables]
    for found, table in zip(views.tables(), tables, strict=True):
        assert found["rows"][0] == [*table.rows[0].labels, *map(format_entry, table.rows[0].entries, table.columns)]


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("reconstruct", {"images": []}, "one or more indices of test images or data URIs"),
        ("reconstruct", {"images": [999]}, "an index of a test image must be an integer from 0 to 23, got 999"),
        ("reconstruct", {"images": ["data:image/png;base64,AAAA"]}, "this is not an image file of a known kind"),
        ("reconstruct", {"images": ["data:image/png;base64,AAAA"] * 9}, "at most 8 images at a time, got 9"),
        (
            "reconstruct",
            {"images": [0], "methods": ["none"]},
            "be one of AE, VAE, VQVAE, got the text 'none'",
        ),
        ("reconstruct", {"images": [0], "task": "x"}, "task must be one of reconstruction, generation, interpolation"),
        ("reconstruct", {"images": [0], "dataset": "x"}, "no models for x, , 0; it has: digits, mlp, 3"),
        ("sample", {"samplers": ["x"]}, "a sampler must be one of normal, gmm, got the text 'x'"),
        ("sample", {"samplers": "gmm"}, "expected a list whose entries are each a sampler, got the text 'gmm'"),
        ("sample", {"samplers": ["gmm"], "num": 25}, "the number of images must be an integer from 1 to 24, got 25"),
        ("sample", {"samplers": ["gmm"], "seed": -1}, "the seed must be an integer from 0 to"),
        ("interpolate", {"start": 0, "end": 1, "num_steps": 1}, "the number of steps must be an integer from 2 to 16"),
    ],
)
def test_requests_are_checked(views, function, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        getattr(views, function)(**arguments)


def test_no_file_of_the_machine_can_be_named(views):
    with pytest.raises(ValueError, match="base64"):
        views.reconstruct(["/etc/passwd"])


def test_hostile_names_are_escaped():
    tile = Image.new("L", (2, 2))
    row = MethodRow(HOSTILE, HOSTILE, 1, {HOSTILE: HOSTILE}, (tile,), (0.5,))
    missing = MethodRow(HOSTILE, None, None, {}, missing=HOSTILE)
    page = render_comparison(HOSTILE, HOSTILE, [(HOSTILE, tile)], [row, missing], "{column}")
    assert "<script>" not in page and "&lt;script&gt;" in page and "{{ 7*7 }}" in page


def test_style_of_the_blocks_applies_inside_the_study_only():
    style = page_head().partition("<style>")[2].partition("</style>")[0]
    assert style.startswith(".study {") and style.count("{") == style.count("}")


# Bounds


def test_repeated_choices_are_computed_once(views):
    (row,) = views.reconstruct([1] * 5000 + [0], methods=["AE"] * 5000)
    assert row["images"] == views.reconstruct([0, 1], methods=["AE"])[0]["images"]
    assert len(views.sample(["gmm"] * 5000, 2, methods=["AE"])) == 1
    page = views.show_reconstructions(Selected(*PLACE, "reconstruction", ["AE"] * 3), [0] * 5000, None)
    assert page.count("<tr data-method") == page.count('<td class="tile">') == 1


def test_test_images_of_one_request_are_bounded(views, monkeypatch):
    monkeypatch.setattr("gae_hub.spaces.study_views.MAX_PICKED", 2)
    with pytest.raises(ValueError, match="expected at most 2 images at a time, got 3"):
        views.reconstruct([0, 1, 2])


def test_many_images_are_reconstructed_in_batches(views, monkeypatch):
    (expected,) = views.reconstruct(list(range(5)), methods=["AE"])
    reconstruct, sizes = AEModel.reconstruct, []
    monkeypatch.setattr(AEModel, "reconstruct", lambda model, x: sizes.append(len(x)) or reconstruct(model, x))
    monkeypatch.setattr("gae_hub.spaces.example_sets._MAX_BATCH_VALUES", 2 * 64)
    (row,) = views.reconstruct(list(range(5)), methods=["AE"])
    assert sizes == [2, 2, 1] and row["errors"] == pytest.approx(expected["errors"], rel=1e-5)


# Failures and units


def test_a_method_that_cannot_be_loaded_leaves_the_others(study_space, views, tmp_path):
    root = tmp_path / "space"
    shutil.copytree(study_space, root)
    broken = StudyViews(root)
    folder = load(broken, METHODS[0])[0]
    for name in ("config.json", "preprocessor_config.json"):
        (folder / name).unlink()
    failed, *rest = broken.reconstruct([0, 1])
    assert failed["missing"].startswith("failed: ") and failed["images"] == [] and failed["method"] == METHODS[0]
    expected = views.reconstruct([0, 1])[1:]
    assert [row["images"] for row in rest] == [row["images"] for row in expected]
    assert "failed: " in broken.show_reconstructions(Selected(*PLACE, "reconstruction", METHODS), [0], None)


def test_values_that_are_not_finite_are_not_shown(views, monkeypatch):
    path = lambda model, start, end, num, *labels: torch.full((1, num, 1, 8, 8), torch.nan)  # noqa: E731
    monkeypatch.setattr(AEModel, "interpolate", path)
    failed, *rest = views.interpolate(0, 1, 4)
    assert failed["missing"] == "failed: the model returns values that are nan or infinite"
    assert failed["images"] == [] and [len(row["images"]) for row in rest] == [4, 4]


def test_errors_are_in_the_units_of_the_data(study_space, tmp_path):
    """As in the tables of the study: the normalization of the training data is undone."""
    root = tmp_path / "space"
    shutil.copytree(study_space, root)
    for path in root.glob("models/*/preprocessor_config.json"):
        normalization = {"kind": "standardize", "shift": [0.5], "scale": [0.25]}
        path.write_text(json.dumps({**json.loads(path.read_text()), "normalization": normalization}))
    views = StudyViews(root)
    model = load(views, "AE")[1]
    inputs = views.compared.examples(SETUP).pixel_values[:2]
    (row,) = views.reconstruct([0, 1], methods=["AE"])
    expected = 0.25**2 * squared_error(model.reconstruct(inputs), inputs)
    assert row["errors"] == pytest.approx(expected.tolist(), rel=1e-6)
