"""Entries for the leaderboards of benchmarks: one for each task that is named after a metric."""

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from gae_hub.hub.cards.benchmarks import EVAL_RESULTS_FILE, _tasks_of, list_entries, write_eval_results

RESULTS = {"dataset": "user/data", "split": "test", "metrics": {"fid": 12.5, "reconstruction_fid": 3, "mse": 0.25}}


@pytest.mark.parametrize(
    ("task", "value"),
    [
        ({"id": "fid"}, 12.5),
        ({"id": "test_fid", "split": "test"}, 12.5),
        ({"id": "test-mse", "config": "default"}, 0.25),
        ({"id": "reconstruction_fid"}, 3.0),
        ({"id": "test_reconstruction_fid"}, 3.0),
        ({"id": "fid", "split": "validation"}, None),
        ({"id": "gfid"}, None),
        ({"id": "validation_fid"}, None),
        ({"id": "default"}, None),
        ({"id": "fid_of_samples"}, None),
    ],
    ids=lambda case: case["id"] if isinstance(case, dict) else None,
)
def test_tasks_are_named_after_metrics(task, value):
    entries = parse_eval_result_entries(list_entries("user/model", RESULTS, [task], {"mse": "10 images"}))
    assert [(entry.task_id, entry.value) for entry in entries] == ([] if value is None else [(task["id"], value)])
    assert all(
        entry.dataset_id == "user/data" and entry.source_url.endswith("user/model/blob/main/results.json")
        for entry in entries
    )
    assert all(entry.notes == ("10 images" if entry.value == 0.25 else None) for entry in entries)


@pytest.mark.parametrize(
    ("text", "tasks"),
    [
        ("tasks:\n- id: fid\n- id: 3\n- fid\n", [{"id": "fid"}]),
        ("tasks: fid", []),
        ("[]", []),
        ("", []),
        ("tasks: [", []),
        ("[" * 5000, []),
        ("\udcff", []),
        ("x" * (1 << 21), []),
    ],
    ids=range(8),
)
def test_any_eval_yaml(tmp_path, monkeypatch, text, tasks):
    """It belongs to the data set's author, and can hold anything."""
    (tmp_path / "eval.yaml").write_bytes(text.encode(errors="surrogateescape"))
    monkeypatch.setattr("gae_hub.hub.cards.benchmarks.hf_hub_download", lambda *args, **kw: tmp_path / "eval.yaml")
    assert _tasks_of("user/data") == tasks


def test_entries_of_earlier_weights_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("gae_hub.hub.cards.benchmarks._is_published", lambda repo_id: False)
    write_eval_results(tmp_path, "user/model", None, {})
    assert not (tmp_path / EVAL_RESULTS_FILE).exists()
    monkeypatch.setattr("gae_hub.hub.cards.benchmarks._tasks_of", lambda dataset: [{"id": "fid"}])
    write_eval_results(tmp_path, "user/model", RESULTS, {})
    assert yaml.safe_load((tmp_path / EVAL_RESULTS_FILE).read_text())[0]["value"] == 12.5
    write_eval_results(tmp_path, "user/model", {**RESULTS, "dataset": "digits"}, {})
    assert (tmp_path / EVAL_RESULTS_FILE).read_text() == "[]\n"
