"""Caches on disk: their folder, and the hashes by which tensors and networks are recognised."""

__all__ = ["cache_folder", "hash_network", "hash_tensors"]

import hashlib
from collections.abc import Mapping
from functools import partial
from inspect import isroutine
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import transformers
from huggingface_hub import constants
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook
from transformers import PreTrainedConfig

from .._version import __version__

_LIBRARIES = {"torch", "transformers", "gae_hub"}
# names and records of a network, which do not change its output; networks run in eval mode
_IGNORED = {
    *("example_conditions", "example_labels", "examples", "facts", "label_names", "license"),
    *("name", "name_or_path", "processor", "source", "training"),
}
_SET_BY_SAVING = {"_name_or_path", "architectures", "dtype", "transformers_version"}  # fields of configs


def cache_folder(name: str) -> Path:
    """Folder `$HF_HOME/gae_hub/<name>`, created if it does not exist."""
    folder = Path(constants.HF_HOME) / "gae_hub" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def hash_tensors(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, dtypes, shapes and bytes of tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def hash_network(network: nn.Module, owner: Any = None) -> str | None:
    """SHA-256 of everything that determines the output of a network in eval mode, or None if that is unknown.

    The hash covers the classes of all modules and the versions of their libraries, parameters, buffers (those that are
    not saved, too), public attributes, configs, the kind of device and autocast. The output is unknown if

    - the class of a module, or a function among its attributes, is not from torch, transformers or gae_hub,
    - a module has forward hooks, or torch has global ones,
    - an attribute of a module replaces a method, or is an object that cannot be hashed.

    Args:
        network: the network.
        owner: an object that prepares the network's input or reads its output. The same holds for its class and its
            attributes.
    """
    names = {module: name for name, module in network.named_modules()}
    has_hooks = any(module._forward_hooks or module._forward_pre_hooks for module in names)
    if has_hooks or _has_any_global_hook():
        return None
    parts: list[Any] = [f"gae_hub {__version__}, torch {torch.__version__}, transformers {transformers.__version__}"]
    try:
        if owner is not None:
            parts.append(_describe_object(owner, names))
        parts += [(name, _describe_object(module, names)) for module, name in names.items()]
    except _UnknownError:
        return None
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    device = next((tensor.device.type for tensor in tensors.values()), "cpu")
    autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    parts += [device, autocast, hash_tensors(tensors)]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


class _UnknownError(Exception):
    """An object whose effect on the output of a network is unknown."""


def _describe_object(value: Any, names: Mapping[nn.Module, str]) -> tuple[Any, ...]:
    """Class and public attributes of a module of a network, or of the network's owner.

    Args:
        value: the object.
        names: the network's modules, and their names in it.
    """
    found = []
    for name, attribute in sorted(vars(value).items()):
        if callable(getattr(type(value), name, None)):
            raise _UnknownError
        # private attributes of the libraries' classes follow from the others
        if not name.startswith("_") and name not in _IGNORED:
            found.append((name, _describe(attribute, names)))
    return _describe_code(type(value)), *found


def _describe(value: Any, names: Mapping[nn.Module, str]) -> Any:
    """Plain data for an attribute, with a `repr` that differs for values with another effect."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, torch.dtype, torch.device)):
        return value
    if isinstance(value, Tensor):
        return hash_tensors({"": value})
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value.dtype.str, value.shape, hashlib.sha256(np.ascontiguousarray(value).data).hexdigest()
    if isinstance(value, (list, tuple)):
        return type(value).__name__, *(_describe(item, names) for item in value)
    if isinstance(value, (set, frozenset)):
        return "set", *sorted((_describe(item, names) for item in value), key=repr)
    if isinstance(value, Mapping):
        return "dict", *((_describe(key, names), _describe(item, names)) for key, item in value.items())
    if isinstance(value, PreTrainedConfig):
        return _describe_code(type(value)), _describe(_without_saving(value.to_dict()), names)
    if isinstance(value, partial):
        return "partial", *(_describe(part, names) for part in (value.func, value.args, value.keywords))
    if isinstance(value, nn.Module) and value in names:
        return "module", names[value]
    if isinstance(value, type) or isroutine(value):
        return "code", _describe_code(value)
    raise _UnknownError


def _without_saving(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a config and of the configs in it, without those that saving and loading set."""
    kept = {name: value for name, value in fields.items() if name not in _SET_BY_SAVING}
    return {name: _without_saving(value) if isinstance(value, dict) else value for name, value in kept.items()}


def _describe_code(value: Any) -> str:
    """Name of a class or function of a library. Its code follows from the library's version."""
    home, name = getattr(value, "__self__", None), getattr(value, "__qualname__", "<")
    if isinstance(value, type) or home is None or isinstance(home, ModuleType):
        module = value.__module__
    elif isinstance(home, type):  # a class method, or a function such as torch.tanh
        module = home.__module__
    else:  # a method of an object with a state
        raise _UnknownError
    if (module or "").partition(".")[0] not in _LIBRARIES or "<" in name:
        raise _UnknownError
    return f"{module}.{name}"
