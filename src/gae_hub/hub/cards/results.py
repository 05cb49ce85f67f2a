"""Measured results of a model: results.json and the card's table, in a folder or on the Hub."""

__all__ = ["publish_results", "record_results"]

from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import snapshot_download, upload_folder

from ...core.files import write_json
from ...core.hub_errors import explained
from ...models.base import GAEPreTrainedModel
from .benchmarks import EVAL_RESULTS_FILE
from .facts import FACTS_FILE, load_facts, valid_facts
from .render import write_card

_MODEL_FILES = ["*.json", "*.safetensors", "*.py", "README.md", "assets/*"]
_PER_METRIC = ("metrics", "passports")


def record_results(
    model: GAEPreTrainedModel,
    folder: str | Path,
    results: dict[str, Any],
    repo_id: str | None = None,
    show: bool = True,
):
    """Write results.json into a model's folder, and update its card.

    Earlier results of the same weights stay beside the new ones if they were measured on the same data under the same
    conditions; otherwise they are replaced.

    Args:
        model: the model that was saved in `folder`.
        folder: where it was saved.
        results: `dataset`, `split` and `metrics`, a dict of numbers by name. Optional: `passports`, a dict that
            describes for each metric how it was measured, and conditions that all numbers share.
        repo_id: the Hub repository that the folder is uploaded to.
        show: whether to draw the pictures of the card again.
    """
    earlier = valid_facts(load_facts(model)).get("results") or {}
    if all(earlier.get(key) == results.get(key) for key in (earlier.keys() | results.keys()) - set(_PER_METRIC)):
        results = results | {key: {**(earlier.get(key) or {}), **(results.get(key) or {})} for key in _PER_METRIC}
    write_json(Path(folder) / "results.json", results)
    model.facts = {**load_facts(model), "results": results}
    write_card(model, folder, repo_id, show=show)


def publish_results(model: GAEPreTrainedModel, repo_id: str, results: dict[str, Any]) -> str:
    """Commit results.json and the updated card to a model's repository. The weights are not changed.

    If the data set is a benchmark on the Hub, `.eval_results/gae_hub.yaml` enters the results into its leaderboard.

    Args:
        model: the model, loaded from `repo_id`.
        repo_id: its Hub repository.
        results: as in `record_results`.

    Returns:
        URL of the commit.

    Raises:
        HubError: if the Hub does not respond or denies access.
    """
    with explained("publish to", repo_id), TemporaryDirectory() as folder:
        copytree(snapshot_download(repo_id, allow_patterns=_MODEL_FILES), folder, dirs_exist_ok=True)
        record_results(model, folder, results, repo_id)
        return upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            allow_patterns=["README.md", "results.json", EVAL_RESULTS_FILE, FACTS_FILE, "assets/*"],
            commit_message=f"Results on {', '.join(filter(None, (results['dataset'], results.get('split'))))}",
        ).commit_url
