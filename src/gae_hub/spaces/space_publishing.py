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

RECORD_FILE = "space.json"
"""File of a published Space: what it shows, and the hashes of its files."""

_CARD = "README.md"


def publish_space(
    folder: str | Path,
    repo_id: str,
    shows: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
) -> bool:
    """Publish a folder that `write_space` wrote, unless the Space has this content. No other Space is overwritten.

    Text that people added to the Space's card is kept.

    Args:
        folder: of the Space.
        repo_id: `user/name` of the Space.
        shows: name of the model, by which a later call recognises its Space.
        private: whether a new Space is private; None for the account's default.
        token: token of the Hub; by default that of `hf auth login`.

    Returns:
        Whether something was published.

    Raises:
        ValueError: if the repository exists and holds something else, or is public and should be private.
        HubError: if the network or the Hub fails, or the token may not write there.
    """
    if not is_repo_id(repo_id):
        raise ValueError(f"expected the name of a Space, user/name, got {describe(repo_id)}")
    source = Path(folder)
    paths = sorted(path for path in source.rglob("*") if path.is_file() and path.name != RECORD_FILE)
    files = {path.relative_to(source).as_posix(): path for path in paths}

    def copy(target: Path):
        for name, path in files.items():
            if name != _CARD:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target / name)
        write_merged(target / _CARD, (source / _CARD).read_text(encoding="utf-8"))

    publisher = Publisher(shows, private, token, kind="space", command="gae-hub space", record_file=RECORD_FILE)
    content = digest({name: hash_file(path) for name, path in files.items()})
    return publisher.publish(repo_id, "space", content, copy, sdk="gradio")
