"""Checks of a checkpoint: before memory is allocated for it, and of the weights that were loaded."""

__all__ = [
    "check_checkpoint",
    "check_checksum",
    "check_finite",
    "check_sizes",
    "check_weights_fit",
    "read_config",
    "read_kinds",
    "tensor_kinds",
]

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import safe_open
from torch import Tensor
from transformers.utils.hub import cached_file

from .hub_files import CONFIG, INDEX, WEIGHTS, fetch_file
from .json_files import check_nesting

MAX_CONFIG_BYTES = 1 << 20
MAX_INDEX_BYTES = 1 << 24
UNBOUNDED_FIELDS = {"dataset_size"}  # fields that may exceed the size of the weights
HARMLESS_SIZE = 1 << 20  # layers of this size allocate little memory before their shapes are compared
# fields that multiply the number of weight tensors, and endings of the names of lists that do
REPEAT_FIELDS = {"layers_per_block", "num_flows", "num_hidden_layers", "num_levels", "num_residual_blocks"}
LAYER_LISTS = ("sizes", "channels")
# beginning and endings of the names of fields that are sizes
SIZE_PREFIX, SIZE_SUFFIXES = "num_", ("_size", "_sizes", "_dim", "_shape", "channels")


class TensorKind(NamedTuple):
    """What a stored tensor and the tensor that it is loaded into must have in common."""

    shape: tuple[int, ...]
    is_float: bool

    def __str__(self) -> str:
        return f"{'floats' if self.is_float else 'integers'} of shape {self.shape}"


def read_kinds(files: list[str]) -> dict[str, TensorKind]:
    """Name to kind of the tensors in safetensors files. Only headers are read."""
    found: dict[str, TensorKind] = {}
    for file in files:
        with safe_open(file, "pt") as weights:
            for key in weights.keys():
                stored = weights.get_slice(key)
                # "F32", "BF16", "F8_E4M3"; not "I64", "U8", "BOOL"
                found[key] = TensorKind(tuple(stored.get_shape()), stored.get_dtype().startswith(("F", "BF")))
    return found


def tensor_kinds(tensors: Mapping[str, Tensor]) -> dict[str, TensorKind]:
    """Name to kind of tensors."""
    return {key: TensorKind(tuple(value.shape), value.is_floating_point()) for key, value in tensors.items()}


def read_config(name: str | Path, **where) -> dict[str, Any]:
    """Content of a checkpoint's config.json, which may come from anyone. Empty if the file does not exist.

    Raises:
        ValueError: if the file is too large or not a JSON object.
        OSError: if the folder or repository does not exist, or the Hub does not respond.
    """
    path = cached_file(name, CONFIG, _raise_exceptions_for_missing_entries=False, **where)
    if path is None:
        return {}
    config = _read_object(Path(path), name, MAX_CONFIG_BYTES)
    for owner in (config, config.get("encoder_config"), config.get("decoder_config")):
        if isinstance(owner, dict) and "auto_map" in owner:
            _check_auto_map(owner["auto_map"], name)
    return config


def _read_object(path: Path, name: str | Path, max_bytes: int) -> dict[str, Any]:
    """The JSON object in a file of the checkpoint `name`."""
    size = path.stat().st_size
    if size > max_bytes:
        raise ValueError(f"{path.name} of '{name}' has {size:,} bytes, but a config has at most {max_bytes:,}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"), parse_constant=_reject_constant)
        check_nesting(found)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} of '{name}' is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} of '{name}' must hold a JSON object, got a {type(found).__name__}")
    return found


def _reject_constant(constant: str):
    raise ValueError(f"{constant} is not a number in JSON")


def _check_auto_map(auto_map: Any, name: str | Path):
    """An auto_map holds a reference to code, "file.Class", for each auto class."""
    if not isinstance(auto_map, dict) or not all(isinstance(reference, str) for reference in auto_map.values()):
        raise ValueError(
            f'auto_map in {CONFIG} of \'{name}\' must be an object such as {{"AutoModel": "file.Class"}}, '
            f"got {auto_map!r:.80}"
        )


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
    check_sizes(config, name, weights)


def check_sizes(config: dict[str, Any], name: str | Path, weights: list[Path]):
    """Raise ValueError if a config asks for sizes that the safetensors files of its checkpoint do not have."""
    count, size = len(read_kinds([str(file) for file in weights])), sum(file.stat().st_size for file in weights)
    for key, value in _integers(config):
        if value < 0 and (key.startswith(SIZE_PREFIX) or key.endswith(SIZE_SUFFIXES)):
            raise ValueError(f"{CONFIG} of '{name}' has {key} = {value:,}, but it must be 0 or more")
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
    content = _read_object(index, name, MAX_INDEX_BYTES)
    weight_map, metadata = content.get("weight_map"), content.get("metadata")
    if not isinstance(weight_map, dict) or not weight_map or not isinstance(metadata, dict):
        raise ValueError(f"{INDEX} of '{name}' must have the objects weight_map, which names files, and metadata")
    for shard in weight_map.values():
        if not isinstance(shard, str) or not re.fullmatch(r"[\w-][\w.-]*\.safetensors", shard):
            raise ValueError(f"{INDEX} of '{name}' names {shard!r:.80}, which is not a safetensors file in its folder")
    files = {shard: fetch_file(name, shard, **where) for shard in sorted(set(weight_map.values()))}
    for shard, file in files.items():
        if file is None:
            raise OSError(f"'{name}' has no file {shard}, which its {INDEX} names; download or save it again")
    return [file for file in files.values() if file is not None]


def check_weights_fit(
    stored: Mapping[str, TensorKind], expected: Mapping[str, TensorKind], what: str, ignore_shapes: bool = False
):
    """Compare the names, shapes and kinds of dtype of stored weights with those of a model.

    Args:
        stored: of the tensors in a checkpoint.
        expected: of the tensors of the model.
        what: the beginning of the message, "the weights of ... do not fit ...".
        ignore_shapes: whether shapes may differ.

    Raises:
        ValueError: if they differ. The message names the first four differences.
    """
    faults = [
        *(f"{key} is missing" for key in sorted(expected.keys() - stored.keys())),
        *(f"{key} is not expected" for key in sorted(stored.keys() - expected.keys())),
    ]
    for key in sorted(expected.keys() & stored.keys()):
        found, wanted = stored[key], expected[key]
        if found.is_float != wanted.is_float:
            faults.append(f"{key} has {found} instead of {wanted}")
        elif found.shape != wanted.shape and not ignore_shapes:
            faults.append(f"{key} has shape {found.shape} instead of {wanted.shape}")
    if faults:
        raise ValueError(f"{what}: {_first(faults)}")


def check_finite(tensors: Iterable[tuple[str, Tensor]], name: str | Path):
    """Check that no weight of a loaded checkpoint is nan or infinite. One pass over the values, without a copy.

    Raises:
        ValueError: if one is. The message names the first four tensors.
    """
    bad = [key for key, value in tensors if not _is_finite(value)]
    if bad:
        raise ValueError(
            f"the weights of '{name}' are nan or infinite in {_first(bad)}; the training that saved them has "
            "diverged: load an earlier checkpoint, or train again with a smaller learning_rate"
        )


def _is_finite(value: Tensor) -> bool:
    if not value.is_floating_point() or not value.numel() or value.is_meta:
        return True
    value = value.float() if value.dtype.itemsize == 1 else value  # 8-bit floats have no kernels
    low, high = value.detach().aminmax()  # both are nan if one value is
    return bool(low.isfinite() & high.isfinite())


def _first(items: list[str]) -> str:
    return "; ".join(items[:4]) + (f"; and {len(items) - 4} more" if len(items) > 4 else "")


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
