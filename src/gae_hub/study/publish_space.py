"""The report of a study as a static Space."""

__all__ = ["build_space"]

from collections.abc import Sequence
from pathlib import Path

from ..hub.cards.escaping import clean, escape
from ..hub.cards.front_matter import dump_metadata
from ..hub.cards.license import DEFAULT_LICENSE
from ..hub.cards.merging import BEGIN, END, write_merged
from .report import write_report
from .results import StudyResults

_MAX_DESCRIPTION = 60  # characters of a Space's short description


def build_space(results: StudyResults, models: Sequence[str], results_repo: str, license: str | None, folder: Path):
    """Write the content of the Space into a folder: the report, whose page is index.html, and a card.

    Args:
        results: results of the study.
        models: repositories of the models.
        results_repo: repository of the data set.
        license: license for the card.
        folder: empty, or with the README.md of the repository.
    """
    write_report(results, folder)
    title = clean(results.title)
    metadata = {
        "title": title,
        "emoji": "📊",
        "colorFrom": "indigo",
        "colorTo": "blue",
        "sdk": "static",
        "app_file": "index.html",
        "pinned": False,
        "short_description": _shorten(f"Study of generative autoencoders: {results.name}"),
        "license": license or DEFAULT_LICENSE,
        "tags": ["gae-hub", "gae-hub-study"],
        "models": list(models),
        "datasets": [results_repo],
    }
    text = (
        f"# {escape(title)}\n\nTables, figures and findings of a study of generative autoencoders, made with "
        "[gae_hub](https://github.com/gae-hub/gae_hub). All numbers: "
        f"[{results_repo}](https://huggingface.co/datasets/{results_repo}).\n"
    )
    write_merged(folder / "README.md", f"---\n{dump_metadata(metadata)}\n---\n\n{BEGIN}\n\n{text}\n{END}\n")


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_DESCRIPTION else f"{text[: _MAX_DESCRIPTION - 1]}…"
