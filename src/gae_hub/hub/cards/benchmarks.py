"""Results for the leaderboards of the Hub: `.eval_results/gae_hub.yaml` in a model's repository.

The Hub shows results on data sets that are benchmarks: their repository has an eval.yaml, which lists tasks
(https://huggingface.co/docs/hub/eval-results). A task has one number. Here it is the metric that the task is named
after: "fid", or "test_fid" for the split "test".
"""

__all__ = ["EVAL_RESULTS_FILE", "list_entries", "write_eval_results"]

from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError
from transformers.utils import logging

from ...core.files import write_text
from ...core.hub_errors import explained
from ...core.hub_files import fetch_file
from .escaping import clean
from .facts import is_hub_dataset

logger = logging.get_logger(__name__)

EVAL_RESULTS_FILE = ".eval_results/gae_hub.yaml"
MAX_BENCHMARK_BYTES = 1 << 20


def write_eval_results(folder: Path, repo_id: str, results: dict[str, Any] | None, notes: dict[str, str]):
    """Write the results that the Hub counts into a folder that will be published.

    If there are none, but the repository has entries of earlier weights, the file is written without entries.

    Args:
        folder: folder of the saved model.
        repo_id: the model's repository.
        results: the fact "results", with cleaned text.
        notes: how each metric was measured.
    """
    is_on_hub = bool(results) and is_hub_dataset(results["dataset"], results.get("origin"))
    tasks = _tasks_of(results["dataset"]) if results and is_on_hub else []
    entries = list_entries(repo_id, results, tasks, notes) if results else []
    path = folder / EVAL_RESULTS_FILE
    if not entries and not path.is_file() and not _is_published(repo_id):
        return
    path.parent.mkdir(exist_ok=True)
    write_text(path, yaml.safe_dump(entries, sort_keys=False, allow_unicode=True))


def list_entries(
    repo_id: str, results: dict[str, Any], tasks: list[dict[str, Any]], notes: dict[str, str]
) -> list[dict[str, Any]]:
    """Entries for the tasks of a benchmark that are named after a metric and have the split of the results.

    Args:
        repo_id: the model's repository.
        results: the fact "results".
        tasks: the tasks in the benchmark's eval.yaml.
        notes: how each metric was measured.
    """
    source = f"{constants.ENDPOINT}/{repo_id}/blob/main/results.json"
    split, entries = results.get("split"), []
    metrics = {
        task_id: name for name in results["metrics"] for task_id in (name, f"{split}_{name}", f"{split}-{name}")
    }
    for task in tasks:
        metric = metrics.get(task["id"])
        if metric is not None and task.get("split") in (None, split):
            entry = {
                "dataset": {"id": results["dataset"], "task_id": task["id"]},
                "value": float(results["metrics"][metric]),
                "source": {"url": source, "name": "results.json"},
            }
            entries.append(entry | ({"notes": notes[metric]} if notes.get(metric) else {}))
    return entries


def _tasks_of(dataset: str) -> list[dict[str, Any]]:
    """Tasks of a benchmark, each a dict with the text "id"; empty if the data set is not a benchmark."""
    try:
        with explained("load", dataset):
            try:
                path = Path(hf_hub_download(dataset, "eval.yaml", repo_type="dataset"))
            except (EntryNotFoundError, RepositoryNotFoundError):
                return []
        if path.stat().st_size > MAX_BENCHMARK_BYTES:
            raise ValueError(f"it has more than {MAX_BENCHMARK_BYTES:,} bytes")
        benchmark = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        logger.warning(f"no {EVAL_RESULTS_FILE} was written: eval.yaml of '{dataset}' cannot be read ({error})")
        return []
    tasks = benchmark.get("tasks") if isinstance(benchmark, dict) else None
    listed = tasks if isinstance(tasks, list) else []
    return [clean(task) for task in listed if isinstance(task, dict) and isinstance(task.get("id"), str)]


def _is_published(repo_id: str) -> bool:
    """Whether a repository has results of earlier weights. A Hub that does not respond has none."""
    try:
        return fetch_file(repo_id, EVAL_RESULTS_FILE) is not None
    except OSError:
        return False
