"""Publishes the folder of a Space on the Hub, in one commit."""

__all__ = ["publish_space"]

import shutil
from pathlib import Path

from ..core.argument_checks import describe
from ..hub.cards.facts import is_repo_id
from ..hub.cards.merging import write_merged
from ..study.digests import digest
from ..study.publish_repository import Publisher
from ..study.store import hash_file
from .space_manifest import MANIFEST_FILE, read_manifest

_CARD = "README.md"


def publish_space(
    folder: str | Path, repo_id: str, *, private: bool | None = None, token: str | bool | None = None
) -> bool:
    """Publish the Space in a folder, unless the repository has this content. No other Space is overwritten.

    Only the files that `write_space` or `write_study_space` wrote are published. Text that people added to the card of
    the repository is kept.

    Args:
        folder: of the Space.
        repo_id: `user/name` of the Space.
        private: whether a new Space is private; None for the account's default.
        token: token of the Hub; by default that of `hf auth login`.

    Returns:
        Whether something was published.

    Raises:
        ValueError: if the folder is not that of a Space; or if the repository exists and shows something else, or is
            public and should be private.
        HubError: if the network or the Hub fails, or the token may not write there.
    """
    if not is_repo_id(repo_id):
        raise ValueError(f"expected the name of a Space, user/name, got {describe(repo_id)}")
    source = Path(folder)
    manifest = read_manifest(source)
    files = {name: source / name for name in (*manifest.files, _CARD) if (source / name).is_file()}

    def copy(target: Path):
        for name, path in files.items():
            if name != _CARD:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target / name)
        write_merged(target / _CARD, (source / _CARD).read_text(encoding="utf-8"))

    publisher = Publisher(
        manifest.shows, private, token, kind="space", command="gae-hub space", record_file=MANIFEST_FILE
    )
    content = digest({name: hash_file(path) for name, path in files.items()})
    return publisher.publish(repo_id, "space", content, copy, sdk="gradio")
