"""Adapters of peft, such as LoRA (arXiv:2106.09685): small weights beside those of a model, which stay as they are.

A saved adapter is a folder with adapter_config.json, which names the model that it belongs to, and
adapter_model.safetensors.
"""

__all__ = [
    "changed_adapter_settings",
    "check_adapter",
    "check_adapter_weights",
    "find_adapted_model",
    "has_adapter",
    "load_adapter_weights",
    "read_adapter_config",
    "read_adapter_weights",
    "stateful_frozen_modules",
]

from collections.abc import Iterator, Mapping
from copy import copy, deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from .argument_checks import require_extra
from .checkpoint_checks import check_checksum, check_finite, check_weights_fit, tensor_kinds
from .configuration import one_error
from .hub_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS, CONFIG, fetch_file
from .json_files import read_json_object

_PICKLE = "adapter_model.bin"
_PREFIX = "base_model.model."  # of the names in a file that peft reads too
# fields of adapter_config.json that differ without effect on the adapter
_NOT_SETTINGS = {"base_model_name_or_path", "inference_mode", "peft_version", "revision"}


def has_adapter(model: nn.Module) -> bool:
    """Whether an adapter was added to a model or loaded into it."""
    return bool(getattr(model, "_hf_peft_config_loaded", False))


def find_adapted_model(name: str | Path, **where) -> tuple[str, dict[str, Any]] | None:
    """The model that a saved adapter was made for; None if `name` is not an adapter, or is a model that has one.

    Args:
        name: folder or repository.
        **where: as for `fetch_file`.

    Returns:
        Folder or repository of the model, and the arguments with which `fetch_file` finds its files.

    Raises:
        ValueError: if the adapter does not name its model.
        ImportError: if peft is not installed.
    """
    file = fetch_file(name, ADAPTER_CONFIG, **where)
    if file is None:
        return None
    require_extra("peft", f"the adapter in '{name}'")
    if fetch_file(name, CONFIG, **where) is not None:
        return None
    content = read_json_object(file)
    base, revision = (content.get(key) for key in ("base_model_name_or_path", "revision"))
    where = {key: value for key, value in where.items() if key not in ("revision", "subfolder")}
    if isinstance(revision, str):
        where["revision"] = revision
    if not isinstance(base, str) or not base or fetch_file(base, CONFIG, **where) is None:
        raise ValueError(
            f"the adapter '{name}' names {base!r:.80} as its model, which is not a checkpoint: load the model, and "
            f"then the adapter with model.load_adapter('{name}')"
        )
    return base, where


def read_adapter_config(name: str | Path, **where) -> Any:
    """The `PeftConfig` of a saved adapter.

    Args:
        name: folder or repository.
        **where: as for `fetch_file`.

    Raises:
        ValueError: if its adapter_config.json is not that of an adapter.
        OSError: if it does not exist.
    """
    from peft import PeftConfig, PeftType

    file = fetch_file(name, ADAPTER_CONFIG, **where)
    if file is None:
        raise OSError(f"'{name}' has no {ADAPTER_CONFIG}, so it is not an adapter of peft")
    content = read_json_object(file)
    if content.get("peft_type") not in list(PeftType):
        raise ValueError(f"'{file}' must have a peft_type such as 'LORA', got {content.get('peft_type')!r:.80}")
    with one_error(f"adapter_config.json of '{name}'"):
        return PeftConfig.from_peft_type(**content)


def read_adapter_weights(name: str | Path, **where) -> dict[str, Tensor]:
    """Name to tensor of a saved adapter, with the names that peft's `get_peft_model_state_dict` returns.

    Raises:
        ValueError: if a value is nan or infinite.
        OSError: if the file is missing, truncated or corrupt. A pickled adapter_model.bin is not read.
    """
    file = fetch_file(name, ADAPTER_WEIGHTS, **where)
    if file is None:
        found = f"has only {_PICKLE}, which is pickled" if fetch_file(name, _PICKLE, **where) else "does not have it"
        raise OSError(f"an adapter is read from {ADAPTER_WEIGHTS}, but '{name}' {found}: save the adapter again")
    check_checksum(name, file)
    try:
        stored = load_file(file)
    except SafetensorError as error:
        raise OSError(f"'{file}' is truncated or corrupt ({error}); download or save it again") from error
    check_finite(stored.items(), name)
    return _without_prefix(stored)


def check_adapter_weights(model: nn.Module, adapter_name: str, stored: Mapping[str, Tensor], what: str):
    """Raise ValueError unless weights fit an adapter that a model has.

    Args:
        model: a model with the adapter. Its weights may be on the meta device.
        adapter_name: name of the adapter in the model.
        stored: as `read_adapter_weights` returns them.
        what: the beginning of the message, "the adapter ... does not fit ...".
    """
    from peft import get_peft_model_state_dict

    expected = get_peft_model_state_dict(model, adapter_name=adapter_name, save_embedding_layers=False)
    check_weights_fit(tensor_kinds(stored), tensor_kinds(expected), what)


def check_adapter(model: nn.Module, config: Any, stored: Mapping[str, Tensor] | None = None, name: str | Path = ""):
    """Check that an adapter can be added to a model, on a copy of the model without memory.

    Args:
        model: the model, which is not changed.
        config: a `PeftConfig`.
        stored: the adapter's weights, if they will be loaded.
        name: folder or repository of the adapter, for messages.

    Raises:
        ValueError: if the model does not have the layers that the config names, or a layer cannot have an adapter, or
            the weights are of other names or shapes than those of the adapter.
    """
    from peft import inject_adapter_in_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    skeleton, adapter_name, config = _copy_without_memory(model), "checked", copy(config)
    if hasattr(config, "init_lora_weights"):
        config.init_lora_weights = True  # others compute with the model's weights
    with one_error(f"{ADAPTER_CONFIG} of '{name}'" if name else type(config).__name__), torch.device("meta"):
        inject_adapter_in_model(config, skeleton, adapter_name)
    fixed = [key for key, module in skeleton.named_modules() if not getattr(module, "can_have_adapters", True)]
    for key, module in skeleton.named_modules():
        if isinstance(module, BaseTunerLayer) and any(key == at or key.startswith(f"{at}.") for at in fixed):
            raise ValueError(
                f"'{key}' cannot have an adapter: its outputs may depend on some of its inputs only, which a low-rank "
                "update does not respect; leave it out of target_modules"
            )
    if stored is not None:
        what = f"the adapter '{name}' does not fit this {type(model).__name__}"
        check_adapter_weights(skeleton, adapter_name, _without_prefix(stored), what)


def load_adapter_weights(model: Any, name: str | Path):
    """Load saved weights into the active adapter of a model. Nothing is changed if they do not fit.

    Raises:
        ValueError: if they are not the weights of this adapter.
        OSError: as `read_adapter_weights`.
    """
    from peft import set_peft_model_state_dict

    (adapter_name,), stored = model.active_adapters(), read_adapter_weights(name)
    what = f"the adapter in '{name}' is not that of this {type(model).__name__}"
    check_adapter_weights(model, adapter_name, stored, what)
    set_peft_model_state_dict(model, stored, adapter_name=adapter_name)


def changed_adapter_settings(saved: Any, given: Any) -> Iterator[str]:
    """For each setting in which two `PeftConfig`s differ: name and both values."""
    for key, value in given.to_dict().items():
        one, other = (sorted(v) if isinstance(v, set) else v for v in (saved.to_dict().get(key), value))
        if key not in _NOT_SETTINGS and one != other:
            yield f"{key} of the adapter was {one!r} and is {other!r}"


def stateful_frozen_modules(model: nn.Module) -> list[nn.Module]:
    """The submodules of a model with an adapter that change their buffers in training, though they are not trained.

    They are batch normalisation, codebooks and others with persistent buffers and without trainable parameters of
    their own. An adapter's file does not hold their buffers, which belong to the model that it was made for.
    """
    return [
        module
        for name, module in model.named_modules()
        if module is not model
        and any(key not in module._non_persistent_buffers_set for key in module._buffers)
        and not any(parameter.requires_grad for parameter in module.parameters(recurse=False))
        and "modules_to_save" not in name.split(".")  # a copy that is saved with the adapter
    ]


def _without_prefix(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(_PREFIX): value for key, value in stored.items()}


def _copy_without_memory(model: nn.Module) -> nn.Module:
    """A copy of a model whose parameters and buffers are on the meta device."""
    memo: dict[int, Any] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        empty = torch.empty_like(tensor, device="meta")
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    return deepcopy(model, memo)
