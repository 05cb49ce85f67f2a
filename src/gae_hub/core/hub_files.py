"""Files of folders and Hub repositories: download, publish, move into place."""

__all__ = [
    "ADAPTER_CONFIG",
    "ADAPTER_WEIGHTS",
    "CONFIG",
    "FETCH_OPTIONS",
    "INDEX",
    "WEIGHTS",
    "describe_missing",
    "fetch_card",
    "fetch_file",
    "move_into",
    "open_repository",
]

from pathlib import Path

from huggingface_hub import (
    _CACHED_NO_EXIST,
    create_branch,
    create_repo,
    hf_hub_download,
    is_offline_mode,
    try_to_load_from_cache,
)
from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError, RevisionNotFoundError

from .files import move_file, remove_leftovers, write_atomically
from .hub_errors import CACHE_ONLY, OFFLINE, explained

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
ADAPTER = ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
FETCH_OPTIONS = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")
"""Arguments of `from_pretrained` that say where a file is, as `fetch_file` accepts them."""


def fetch_file(name: str | Path, file: str, subfolder: str | None = None, **where) -> Path | None:
    """Path of one file of a folder or Hub repository, or None if the file is known not to exist.

    Args:
        name: folder or repository.
        file: file name.
        subfolder: folder inside `name`.
        **where: `cache_dir`, `force_download`, `local_files_only`, `revision` and `token`, as in `from_pretrained`.

    Raises:
        OSError: if the Hub does not respond or denies access. Without a connection, the cache answers; it also
            remembers which files did not exist.
    """
    if Path(name).is_dir():
        path = Path(name, subfolder or "", file)
        return path if path.is_file() else None
    with explained("load", name, where.get("token")):
        try:
            return Path(hf_hub_download(str(name), file, subfolder=subfolder or None, **where))
        except RemoteEntryNotFoundError:
            return None
        except LocalEntryNotFoundError:  # no response, which does not mean that the file does not exist
            path = f"{subfolder}/{file}" if subfolder else file
            known = try_to_load_from_cache(str(name), path, where.get("cache_dir"), where.get("revision"))
            if known is _CACHED_NO_EXIST or where.get("local_files_only") or is_offline_mode():
                return None
            raise


def describe_missing(name: str | Path, file: str, conclusion: str, local_files_only: bool = False) -> str:
    """Say that `fetch_file` did not find a file; add a conclusion unless only the cache was asked."""
    if not Path(name).is_dir() and (is_offline_mode() or local_files_only):
        return f"'{name}' has no {file} in the cache, and {OFFLINE if is_offline_mode() else CACHE_ONLY}"
    return f"'{name}' has no {file}, so {conclusion}"


def fetch_card(
    repo_id: str,
    folder: str | Path,
    token: str | bool | None = None,
    revision: str | None = None,
    repo_type: str | None = None,
):
    """Download a repository's README.md into a folder, so that the next card keeps the text people added to it.

    Raises:
        OSError: if the Hub does not respond. The cached card may be outdated, so it is not used.
    """
    with explained("publish to", repo_id, token):
        try:
            card = hf_hub_download(
                repo_id, "README.md", token=token, revision=revision, repo_type=repo_type, force_download=True
            )
        except (RemoteEntryNotFoundError, RevisionNotFoundError):
            return  # a new repository, or a new branch
    with write_atomically(Path(folder) / "README.md") as temporary:
        temporary.write_bytes(Path(card).read_bytes())


def open_repository(
    repo_id: str, private: bool | None = None, token: str | bool | None = None, revision: str | None = None
) -> str:
    """Create a repository, and the branch `revision`, unless they exist. Returns the repository's full name."""
    repo_id = create_repo(repo_id, private=private, token=token, exist_ok=True).repo_id
    if revision is not None and not revision.startswith("refs/"):  # pull requests exist, or their commit creates them
        create_branch(repo_id, branch=revision, token=token, exist_ok=True)
    return repo_id


def move_into(source: Path, folder: Path):
    """Move complete files from `source` into a model's folder. Delete the weights of an earlier model there, with its
    adapter, and what killed processes left. An adapter is moved beside the model that is there.
    """
    remove_leftovers(folder)
    files = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        move_file(source / file, folder / file)
    if Path(CONFIG) not in files:  # an adapter has none
        return
    old_weights = (*folder.glob("model-*-of-*.safetensors"), *(folder / name for name in (WEIGHTS, INDEX, *ADAPTER)))
    for old in old_weights:
        if old.relative_to(folder) not in files:
            old.unlink(missing_ok=True)
