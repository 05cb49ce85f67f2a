"""Reads Pythae checkpoints, which may come from anyone: only JSON and tensors are loaded, never pickled objects.

Sizes are checked against the number of stored bytes, so that a small file cannot allocate much memory.
"""

__all__ = ["SETTINGS_FILE", "WEIGHTS_FILE", "Checkpoint", "read_checkpoint"]

import reprlib
import zipfile
from collections.abc import Collection
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from ...core.hub_files import describe_missing, fetch_file
from ...core.json_files import get_field, read_json_object

SETTINGS_FILE, WEIGHTS_FILE = "model_config.json", "model.pt"

T = TypeVar("T", bool, int, float, str, list)


@dataclass
class Checkpoint:
    """A checkpoint whose settings and tensors are removed as they are converted: what remains was not used.

    Args:
        name: folder or repository, for messages.
        method: Pythae's name of the method.
        input_shape: shape of one example.
        latent_dim: size of the latent vector.
        settings: the other settings in model_config.json.
        weights: the tensors in model.pt.
        notes: differences from Pythae, for the user.
        initial: prefixes of the names of our parameters that keep their initial values.
        reverse_latents: whether our latents are Pythae's in reverse order.
    """

    name: str
    method: str
    input_shape: tuple[int, ...]
    latent_dim: int
    settings: dict[str, Any]
    weights: dict[str, Tensor]
    notes: list[str] = field(default_factory=list)
    initial: tuple[str, ...] = ()
    reverse_latents: bool = False

    def note(self, text: str):
        """Record a difference from Pythae."""
        self.notes.append(text)

    def pop(self, setting: str, kind: type[T], default: T | None = None) -> T:
        """Remove and return a setting.

        Raises:
            ValueError: if there is no such setting and no default, or if its value has another type.
        """
        value = get_field(self.settings, setting, kind, f"{SETTINGS_FILE} of '{self.name}'", default)
        self.settings.pop(setting, None)
        return value

    def pop_positive(self, setting: str) -> float:
        """Remove and return a number above 0.

        Raises:
            ValueError: if there is no such setting, or it is not a number above 0.
        """
        value = self.pop(setting, float)
        if not value > 0:
            raise ValueError(f"{SETTINGS_FILE} of '{self.name}' has {setting} = {value}, expected a number above 0")
        return value

    def discard(self, *settings: str):
        """Remove settings that the conversion does not need."""
        for setting in settings:
            self.settings.pop(setting, None)

    def take(self, name: str) -> Tensor:
        """Remove and return a tensor.

        Raises:
            ValueError: if there is no such tensor.
        """
        if name not in self.weights:
            raise ValueError(
                f"{WEIGHTS_FILE} of '{self.name}' has no '{name}', which its {SETTINGS_FILE} requires; it has "
                + ", ".join(sorted(self.weights)[:12])
            )
        return self.weights.pop(name)

    def take_number(self, name: str) -> float:
        """Remove a tensor with one element and return its value.

        Raises:
            ValueError: if there is no such tensor, or it has another size.
        """
        value = self.take(name)
        if value.numel() != 1:
            raise ValueError(
                f"{name} in {WEIGHTS_FILE} of '{self.name}' has shape {tuple(value.shape)}, expected one number"
            )
        return float(value)

    def take_layers(self, *layers: str) -> dict[str, Tensor]:
        """Remove linear layers. Returns weight and bias of one layer with their concatenated outputs."""
        return {kind: torch.cat([self.take(f"{layer}.{kind}") for layer in layers]) for kind in ("weight", "bias")}

    def take_all(self, prefix: str) -> dict[str, Tensor]:
        """Remove and return all tensors whose names start with a prefix, by the rest of their names."""
        names = [name for name in self.weights if name.startswith(prefix)]
        return {name.removeprefix(prefix): self.weights.pop(name) for name in names}


def read_checkpoint(
    name: str | Path, methods: Collection[str], token: str | bool | None = None, revision: str | None = None
) -> Checkpoint:
    """Read a checkpoint from a folder or Hub repository.

    Args:
        name: folder or repository.
        methods: Pythae's names of the methods that can be converted.
        token, revision: for the Hub.

    Raises:
        ValueError: if a file is damaged, holds objects other than tensors, or sizes in the two files do not match.
        OSError: if a file does not exist, or the Hub does not respond.
    """
    settings_file, weights_file = (_fetch(name, file, token, revision) for file in (SETTINGS_FILE, WEIGHTS_FILE))
    settings = read_json_object(settings_file)
    config_class = str(settings.pop("name", ""))
    method = config_class.removesuffix("Config").removesuffix("_")
    if method not in methods:
        raise ValueError(
            f"{SETTINGS_FILE} of '{name}' has the name '{config_class}', expected the config of one of Pythae's "
            f"methods: {', '.join(methods)}"
        )
    weights = _read_weights(weights_file)
    input_shape, latent_dim = _check_sizes(str(name), settings, weights)
    return Checkpoint(str(name), method, input_shape, latent_dim, settings, weights)


def _fetch(name: str | Path, file: str, token: str | bool | None, revision: str | None) -> Path:
    path = fetch_file(name, file, token=token, revision=revision)
    if path is None:
        raise OSError(describe_missing(name, file, "it is not a Pythae checkpoint"))
    return path


def _read_weights(path: Path) -> dict[str, Tensor]:
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as records:
            unpacked = sum(record.file_size for record in records.infolist())
        if unpacked > size:
            raise ValueError(f"its {size:,} bytes unpack to {unpacked:,}")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        torch.serialization.pickle.UnpicklingError,  # pyright: ignore[reportPrivateImportUsage] pickle stays unimported
        zipfile.BadZipFile,
        RuntimeError,
        EOFError,
        ValueError,
    ) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"'{path}' was not loaded, because it is damaged or holds objects other than tensors, which could run "
            f"code ({reason})"
        ) from error
    weights = content.get("model_state_dict") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in weights.items()
    ):
        raise ValueError(f"'{path}' must hold tensors by name in 'model_state_dict', as Pythae saves them")
    metric = {key: content[key] for key in ("M", "centroids") if isinstance(content.get(key), Tensor)}  # of RHVAE
    weights = {**weights, **metric}
    for name, weight in weights.items():
        if weight.layout != torch.strided or _num_bytes(weight) > weight.untyped_storage().nbytes():
            raise ValueError(f"{name} of '{path}' has shape {tuple(weight.shape)}, but fewer numbers are stored")
    total = sum(_num_bytes(weight) for weight in weights.values())
    if total > 2 * size:  # an untrained codebook is stored once but has two names
        raise ValueError(f"the tensors of '{path}' have {total:,} bytes in total, but the file has {size:,}")
    return weights


def _num_bytes(weight: Tensor) -> int:
    return weight.numel() * weight.element_size()


def _check_sizes(name: str, settings: dict[str, Any], weights: dict[str, Tensor]) -> tuple[tuple[int, ...], int]:
    """Remove and return input_shape and latent_dim. No setting may exceed the number of weights."""
    num_weights = sum(weight.numel() for weight in weights.values())
    for key, value in settings.items():
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int) and number > num_weights:
                raise ValueError(
                    f"{SETTINGS_FILE} and {WEIGHTS_FILE} of '{name}' do not match: {key} = {number:,}, but there are "
                    f"{num_weights:,} weights"
                )
    shape, latent_dim = settings.pop("input_dim", None), settings.pop("latent_dim", None)
    is_shape = isinstance(shape, list) and shape and all(type(size) is int and size > 0 for size in shape)
    if not is_shape or prod(shape) > num_weights:
        raise ValueError(
            f"{SETTINGS_FILE} of '{name}' needs an input_dim that fits its weights, got {reprlib.repr(shape)}"
        )
    if type(latent_dim) is not int or latent_dim < 1:
        raise ValueError(
            f"{SETTINGS_FILE} of '{name}' needs an integer latent_dim above 0, got {reprlib.repr(latent_dim)}"
        )
    return tuple(shape), latent_dim
