"""Checks of a checkpoint before any memory is allocated for it."""

__all__ = ["check_checkpoint", "check_checksum", "read_config", "weight_shapes"]

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import safe_open
from transformers.utils.hub import cached_file

from .hub_files import CONFIG, INDEX, WEIGHTS, fetch_file

MAX_CONFIG_BYTES = 1 << 20
UNBOUNDED_FIELDS = {"dataset_size"}  # fields that may exceed the size of the weights
HARMLESS_SIZE = 1 << 20  # layers of this size allocate little memory before their shapes are compared
# fields that multiply the number of weight tensors, and endings of the names of lists that do
REPEAT_FIELDS = {"num_flows", "num_hidden_layers", "num_levels", "num_residual_blocks"}
LAYER_LISTS = ("sizes", "channels")


def weight_shapes(files: list[str]) -> dict[str, tuple[int, ...]]:
    """Name to shape of the tensors in safetensors files. Only headers are read."""
    found = {}
    for file in files:
        with safe_open(file, "pt") as weights:
            found.update({key: tuple(weights.get_slice(key).get_shape()) for key in weights.keys()})
    return found


def read_config(name: str | Path, **where) -> dict[str, Any]:
    """Content of a checkpoint's config.json, which may come from anyone. Empty if the file does not exist.

    Raises:
        ValueError: if the file is too large or not a JSON object.
        OSError: if the folder or repository does not exist, or the Hub does not respond.
    """
    path = cached_file(name, CONFIG, **where)
    if path is None:
        return {}
    size = Path(path).stat().st_size
    if size > MAX_CONFIG_BYTES:
        raise ValueError(f"{CONFIG} of '{name}' has {size:,} bytes, but a config has at most {MAX_CONFIG_BYTES:,}")
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{CONFIG} of '{name}' is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{CONFIG} of '{name}' must hold a JSON object, got a {type(found).__name__}")
    return found


def check_checkpoint(name: str | Path, **where):
    """Raise if a checkpoint is damaged, or if its config asks for sizes that its weights do not have.

    Raises:
        ValueError: if config and weights do not match, or the index names files outside the folder.
        OSError: if a file does not match the checksum on the Hub.
    """
    config = read_config(name, **where)
    weights = _weight_files(name, **where)
    for file in weights:
        check_checksum(name, file)
    if not weights:
        return  # transformers reports which file is missing
    count, size = len(weight_shapes([str(file) for file in weights])), sum(file.stat().st_size for file in weights)
    for key, value in _integers(config):
        limit = count if key in REPEAT_FIELDS else max(size, HARMLESS_SIZE)
        if abs(value) > limit and key not in UNBOUNDED_FIELDS:
            raise ValueError(
                f"config and weights of '{name}' do not match: {CONFIG} has {key} = {value:,}, but the weights are "
                f"{count} tensors in {size:,} bytes"
            )
    for key, value in _layer_lists(config):
        if len(value) > count:
            raise ValueError(
                f"config and weights of '{name}' do not match: {CONFIG} has {key} with {len(value):,} layers, but the "
                f"weights are {count} tensors"
            )


def _weight_files(name: str | Path, **where) -> list[Path]:
    """The safetensors files of a checkpoint."""
    whole = fetch_file(name, WEIGHTS, **where)
    if whole is not None:
        return [whole]
    index = fetch_file(name, INDEX, **where)
    if index is None:
        return []
    shards = sorted(set(json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values()))
    for shard in shards:
        if not re.fullmatch(r"[\w-][\w.-]*\.safetensors", str(shard)):
            raise ValueError(f"{INDEX} of '{name}' names '{shard}', which is not a safetensors file in its folder")
    files = [fetch_file(name, shard, **where) for shard in shards]
    return [file for file in files if file is not None]


def _layer_lists(value: Any, key: str = "") -> Iterator[tuple[str, list]]:
    """(field, list) for every list in a config with one entry per layer."""
    if isinstance(value, dict):
        for inner, content in value.items():
            yield from _layer_lists(content, inner)
    elif isinstance(value, list) and key.endswith(LAYER_LISTS):
        yield key, value


def _integers(value: Any, key: str = "") -> Iterator[tuple[str, int]]:
    """(field, value) for every integer in a config."""
    if isinstance(value, dict):
        for inner, content in value.items():
            yield from _integers(content, inner)
    elif isinstance(value, list):
        for content in value:
            yield from _integers(content, key)
    elif isinstance(value, int):
        yield key, value


def check_checksum(name: str | Path, file: Path):
    """Compare a file of the Hub's cache with the SHA-256 in its name, and delete the file if they differ.

    Raises:
        OSError: if the file changed during or after the download.
    """
    blob = file.resolve()
    if blob.parent.name != "blobs" or not re.fullmatch(r"[0-9a-f]{64}", blob.name):
        return
    with blob.open("rb") as content:
        checksum = hashlib.file_digest(content, "sha256").hexdigest()
    if checksum != blob.name:
        blob.unlink()
        file.unlink(missing_ok=True)
        raise OSError(
            f"{file.name} of '{name}' is corrupt: its SHA-256 is {checksum[:12]}..., but the Hub has "
            f"{blob.name[:12]}...; it was deleted from the cache, so load it again"
        )
