"""Publishes a folder as one commit to a Hub repository, unless the repository has that content already."""

__all__ = ["RECORD_FILE", "Publisher"]

import hashlib
from collections.abc import Callable
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import HfApi, create_repo, hf_hub_download, upload_folder
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from ..core.files import write_json
from ..core.hub_errors import explained
from ..core.hub_files import fetch_card
from ..core.json_files import read_json_object
from .store import hash_file

RECORD_FILE = "study.json"
"""File of a published repository: the study, a digest of what was published, and the hashes of the files."""

_MAX_RECORD_BYTES = 1 << 24
_CREATED_BY_HUB = {".gitattributes", "README.md", "index.html", "style.css"}  # files of a new repository or Space


class Publisher:
    """Publishes the repositories of one study, or another folder.

    Each repository gets one commit, which contains its record, such as `study.json`. A repository whose record and
    files are those that would be published is left alone, so an interrupted publication goes on where it stopped.

    Args:
        name: name of the study, by which later calls recognise its repositories.
        private: whether new repositories are private; None for the account's default.
        token: token of the Hub.
        kind: what is published, one word for the record and for errors.
        command: the command that publishes it, for errors.
        record_file: name of the record.
    """

    def __init__(
        self,
        name: str,
        private: bool | None = None,
        token: str | bool | None = None,
        *,
        kind: str = "study",
        command: str = "gae-hub study publish",
        record_file: str = RECORD_FILE,
    ):
        self.name, self.private, self.token = name, private, token
        self.kind, self.command, self.record_file = kind, command, record_file
        self._api = HfApi(token=token)

    def publish(
        self, repo_id: str, repo_type: str, digest: str, build: Callable[[Path], None], sdk: str = "static"
    ) -> bool:
        """Publish a folder, unless the repository has this content. Text that people added to the card is kept.

        Args:
            repo_id: `user/name`.
            repo_type: "model", "dataset" or "space".
            digest: of everything that the content depends on.
            build: writes the content into an empty folder, or into one that holds the README.md of the repository.
            sdk: of a new Space: "static" or "gradio".

        Returns:
            Whether something was published.

        Raises:
            HubError: if the network or the Hub fails, or the token has no write access.
            ValueError: if the repository exists and was made by something else, or is public and should be private.
        """
        with explained("publish to", repo_id, self.token):
            files = self._list_files(repo_id, repo_type)
            record = self._read_record(repo_id, repo_type, files)
            if record is not None and record["digest"] == digest and _has_files(files or {}, record["files"]):
                return False
            with TemporaryDirectory() as temporary:
                folder = Path(temporary)
                if record is not None:
                    fetch_card(repo_id, folder, self.token, repo_type=repo_type)
                build(folder)
                hashes = _hash_files(folder)
                write_json(folder / self.record_file, {self.kind: self.name, "digest": digest, "files": hashes})
                create_repo(
                    repo_id,
                    repo_type=repo_type,
                    private=self.private,
                    token=self.token,
                    space_sdk=sdk if repo_type == "space" else None,
                    exist_ok=True,
                )
                earlier = record["files"] if record is not None else {}
                upload_folder(
                    repo_id=repo_id,
                    repo_type=repo_type,
                    folder_path=folder,
                    commit_message=f"Publish the {self.kind} {self.name}",
                    token=self.token,
                    delete_patterns=[escape(name) for name in sorted(earlier.keys() - hashes.keys())] or None,
                )
        return True

    def check(self, repo_id: str, repo_type: str):
        """Raise an error now if `publish` would raise it because of what the repository is."""
        with explained("publish to", repo_id, self.token):
            self._read_record(repo_id, repo_type, self._list_files(repo_id, repo_type))

    def _list_files(self, repo_id: str, repo_type: str) -> dict[str, str] | None:
        """Hash of each file as the Hub states it: SHA-256 of large files, git's hash of others. None if missing."""
        try:
            entries = list(self._api.list_repo_tree(repo_id, recursive=True, repo_type=repo_type))
            if self.private and not self._api.repo_info(repo_id, repo_type=repo_type).private:
                raise ValueError(
                    f"the {repo_type} '{repo_id}' exists and is public: make it private in its settings, or publish "
                    "without --private"
                )
        except RepositoryNotFoundError:
            return None
        files = [entry for entry in entries if isinstance(entry, RepoFile)]
        return {file.path: file.blob_id if file.lfs is None else file.lfs.sha256 for file in files}

    def _read_record(self, repo_id: str, repo_type: str, files: dict[str, str] | None) -> dict[str, Any] | None:
        """The record of a repository; None for a missing or a new one."""
        if files is None or (self.record_file not in files and files.keys() <= _CREATED_BY_HUB):
            return None
        what = f"the {repo_type} '{repo_id}'"
        if self.record_file not in files:
            raise ValueError(f"{what} exists and was not made by {self.command}: choose another name")
        path = hf_hub_download(repo_id, self.record_file, repo_type=repo_type, token=self.token, force_download=True)
        try:
            record = read_json_object(Path(path), _MAX_RECORD_BYTES, any_depth=True)
            is_valid = isinstance(record["digest"], str) and all(isinstance(x, dict) for x in record["files"].values())
        except (ValueError, KeyError, AttributeError):
            is_valid, record = False, {}
        if not is_valid:
            raise ValueError(f"{what} has a damaged {self.record_file}: choose another name, or delete the repository")
        if record.get(self.kind) != self.name:
            raise ValueError(f"{what} holds another {self.kind}, '{record.get(self.kind)}': choose another name")
        return record


def _hash_files(folder: Path) -> dict[str, dict[str, str]]:
    """SHA-256 and git's hash of each file but the card, which people may edit on the Hub."""
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name: {"sha256": hash_file(path), "git": _git_hash(path)}
        for name, path in paths.items()
        if name != "README.md"
    }


def _git_hash(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _has_files(found: dict[str, str], wanted: dict[str, dict[str, str]]) -> bool:
    """Whether a repository has a card, and all files with these hashes."""
    return "README.md" in found and all(found.get(name) in known.values() for name, known in wanted.items())
