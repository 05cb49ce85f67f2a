"""The report of a study as a static Space."""

__all__ = ["build_space"]

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from ..core.files import write_text
from ..hub.cards.escaping import clean, escape
from ..hub.cards.front_matter import dump_metadata
from ..hub.cards.license import DEFAULT_LICENSE
from ..hub.cards.merging import BEGIN, END, write_merged
from .report import write_report
from .results import StudyResults

_MAX_DESCRIPTION = 60  # characters of a Space's short description


def build_space(
    results: StudyResults, repos: Mapping[Path, str], results_repo: str, license: str | None, folder: Path
):
    """Write the content of the Space into a folder: the report, whose page is index.html, and a card.

    Args:
        results: results of the study.
        repos: folder of each published cell to the repository of its model.
        results_repo: repository of the data set.
        license: license for the card.
        folder: empty, or with the README.md of the repository.
    """
    page = write_report(results, folder)
    write_text(page, _link_models(page.read_text(encoding="utf-8"), repos))
    for table in folder.glob("tables/*.parquet"):  # the data set has them
        table.unlink()
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
        "models": list(repos.values()),
        "datasets": [results_repo],
    }
    text = (
        f"# {escape(title)}\n\nTables, figures and findings of a study of generative autoencoders, made with "
        "[gae_hub](https://github.com/gae-hub/gae_hub). All numbers: "
        f"[{results_repo}](https://huggingface.co/datasets/{results_repo}).\n"
    )
    write_merged(folder / "README.md", f"---\n{dump_metadata(metadata)}\n---\n\n{BEGIN}\n\n{text}\n{END}\n")


def _link_models(page: str, repos: Mapping[Path, str]) -> str:
    """The page with links to models on the Hub instead of those to folders of cells."""
    names = {folder.name: repo_id for folder, repo_id in repos.items()}

    def replace(link: re.Match[str]) -> str:
        repo_id = names.get(unquote(link[1]).rpartition("/")[2])
        return f'<a href="https://huggingface.co/{repo_id}">model</a>' if repo_id else ""

    return re.sub(r'<a href="([^"#]*/cells/[^"]*)">folder</a>', replace, page)


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_DESCRIPTION else f"{text[: _MAX_DESCRIPTION - 1]}…"
