"""Results of workers that share no folder, in a data set repository on the Hub."""

__all__ = ["HubResults"]

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from ..core.hub_errors import explained
from ..training.output_folder import CHECKPOINTS
from .store import Cell

T = TypeVar("T")

EXTRACTORS = "extractors"
WAITS = (1, 5, 30, 120, 600)  # seconds between attempts
TEMPORARY = (409, 412, 429, 500, 502, 503, 504)  # another worker commits, too many requests, or the Hub is down


class HubResults:
    """A repository with the folders `cells` and `extractors` of a study. Workers upload to it, the driver downloads.

    Args:
        repo_id: "user/name" of a data set repository.
        token: to write to it; by default that of `hf auth login`, or HF_TOKEN.
    """

    def __init__(self, repo_id: str, token: str | None = None):
        self.repo_id, self.token = repo_id, token

    @property
    def _api(self) -> HfApi:
        return HfApi(token=self.token)

    def create(self):
        """Create the repository, private, unless it exists."""
        self._try(
            "publish to", lambda: self._api.create_repo(self.repo_id, repo_type="dataset", private=True, exist_ok=True)
        )

    def upload(self, root: Path, cells: Sequence[str]):
        """Upload cells, and the extractors beside them, in one commit. Files that the repository has are not sent.

        Args:
            root: the folder with `cells` and `extractors`.
            cells: names of folders in `cells`.

        Raises:
            HubError: if the Hub does not accept it, also after several attempts.
        """
        if not cells:
            return
        self._try(
            "publish to",
            lambda: self._api.upload_folder(
                repo_id=self.repo_id,
                repo_type="dataset",
                folder_path=root,
                allow_patterns=[f"{EXTRACTORS}/*/*", *(f"cells/{name}/*" for name in cells)],
                ignore_patterns=["*/.*", *(f"*/{pattern}/*" for pattern in CHECKPOINTS)],
                commit_message=f"Add {', '.join(cells[:3])}{' and others' if len(cells) > 3 else ''}",
            ),
        )

    def download(self, root: Path, cells: Sequence[str]):
        """Download cells and extractors into a folder. Cells that the repository does not have are left out.

        Each folder arrives complete, or not at all. One that is there already is replaced.

        Raises:
            HubError: if the Hub does not respond.
            ValueError: if a cell in the repository is damaged.
        """
        if not cells:
            return
        root.mkdir(parents=True, exist_ok=True)
        patterns = [f"{EXTRACTORS}/*", *(f"cells/{name}/*" for name in cells)]
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as folder:
            self._try(
                "load",
                lambda: self._api.snapshot_download(
                    self.repo_id,
                    repo_type="dataset",
                    allow_patterns=patterns,
                    ignore_patterns=[f"{EXTRACTORS}/{one.name}/*" for one in root.glob(f"{EXTRACTORS}/*/")],
                    local_dir=folder,
                ),
            )
            for name in cells:
                found = Path(folder) / "cells" / name
                cell = Cell(found)
                if cell.problem or cell.find_changed_file(thorough=True):
                    raise ValueError(f"'cells/{name}' in the data set '{self.repo_id}' is damaged; delete it there")
                _replace(found, root / "cells" / name)
            for extractor in Path(folder).glob(f"{EXTRACTORS}/*/"):
                _replace(extractor, root / EXTRACTORS / extractor.name)

    def _try(self, doing: str, action: Callable[[], T]) -> T:
        """The result of an action. It is repeated while the error is one that passes."""
        for wait in WAITS:
            try:
                with _without_progress_bars():
                    return action()
            except HfHubHTTPError as error:
                response: Any = error.response
                if response is None or response.status_code not in TEMPORARY:
                    break
            time.sleep(wait)
        with explained(doing, self.repo_id, self.token), _without_progress_bars():
            return action()


def _replace(source: Path, target: Path):
    """Move a folder to its place. An older one there is deleted."""
    if not source.is_dir():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        old = source.with_name(f"{source.name}.old")
        target.rename(old)
        source.rename(target)
        shutil.rmtree(old)
    else:
        source.rename(target)


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Hide the progress bars of huggingface_hub meanwhile."""
    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
