"""Checks of the files in a checkpoint that transformers reads when it resumes: state, config and weights."""

__all__ = ["check_model_files", "check_trainer_state"]

import json
import re
from collections.abc import Iterable
from dataclasses import fields
from math import inf
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedConfig, TrainerState
from transformers.trainer_callback import ExportableState

from ..core.checkpoint_checks import check_finite, check_weights_fit, read_config, tensor_kinds
from ..core.configuration import one_error
from ..core.hub_files import WEIGHTS
from .checkpointing import TRAINER_STATE
from .state_checks import check_like, describe, fits, is_number, require

_NONE = type(None)
_TYPES: dict[str, tuple[type, ...]] = {
    "best_global_step": (int, _NONE),
    "best_metric": (int, float, _NONE),
    "best_model_checkpoint": (str, _NONE),
    "epoch": (int, float),
    "eval_steps": (int, float, _NONE),
    "global_step": (int,),
    "is_hyper_param_search": (bool,),
    "is_local_process_zero": (bool,),
    "is_world_process_zero": (bool,),
    "log_history": (list, _NONE),
    "logging_steps": (int, float, _NONE),
    "max_steps": (int,),
    "num_input_tokens_seen": (int,),
    "num_train_epochs": (int,),
    "save_steps": (int, float, _NONE),
    "stateful_callbacks": (dict, _NONE),
    "total_flos": (int, float),
    "train_batch_size": (int, _NONE),
    "trial_name": (str, _NONE),
    "trial_params": (dict, _NONE),
}
_WORDS = {
    int: "an integer",
    float: "a number",
    str: "a text",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    _NONE: "null",
}


def check_trainer_state(checkpoint: str | Path, callbacks: Iterable[object]):
    """Check that the values in a checkpoint's trainer_state.json have the types of `TrainerState` and are possible.

    Args:
        checkpoint: the checkpoint's folder.
        callbacks: the callbacks that the trainer restores; saved states must have the structure of theirs.

    Raises:
        ValueError: if they are not. The message names the file and the value.
    """
    file = Path(checkpoint) / TRAINER_STATE
    with fits(file):
        state = _read(file)
        for name, value in state.items():
            if name in _TYPES:
                _check_value(name, value)
        named = re.fullmatch(r"checkpoint-(\d+)", file.parent.name)
        step, last_step = state.get("global_step"), state.get("max_steps", inf)
        if named and step != int(named[1]):
            raise ValueError(f"global_step must be {named[1]}, as in the folder's name, got {describe(step)}")
        if step is None or (not named and step > last_step):
            raise ValueError(f"global_step must lie in [0, max_steps = {last_step}], got {describe(step)}")
        for entry in state.get("log_history") or ():
            _check_log_entry(entry)
        _check_callback_states(state.get("stateful_callbacks") or {}, callbacks)


def check_model_files(checkpoint: str | Path, model: nn.Module):
    """Check that the config in a checkpoint is valid, and that its weights fit the model and are finite.

    Raises:
        ValueError: if they do not. The message names the weights.
        OSError: if the weights are truncated or corrupt.
    """
    config, file = read_config(checkpoint), Path(checkpoint) / WEIGHTS
    with one_error(f"config.json in '{checkpoint}'"):
        PreTrainedConfig(**config)  # as transformers reads it when it resumes
    if not file.is_file():
        return  # transformers reports it, or reads shards
    try:
        stored = load_file(file)
    except SafetensorError as error:
        raise OSError(f"'{file}' is truncated or corrupt ({error}); resume from an earlier checkpoint") from error
    with fits(file):
        what = f"its weights are not those of this {type(model).__name__}"
        check_weights_fit(tensor_kinds(stored), tensor_kinds(model.state_dict()), what)
    check_finite(stored.items(), checkpoint)


def _read(file: Path) -> dict[str, Any]:
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not valid JSON ({error})") from error
    require(isinstance(state, dict), "its content", "an object", state)
    for name in state.keys() - {field.name for field in fields(TrainerState)}:
        raise ValueError(f"{name} is not expected")
    return state


def _check_value(name: str, value: Any):
    types = _TYPES[name]
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        expected = " or ".join(_WORDS[kind] for kind in types if kind is not int or float not in types)
        raise ValueError(f"{name} must be {expected}, got {describe(value)}")
    if is_number(value) and name != "best_metric":
        require(0 <= value < inf, name, "0 or more and finite", value)


def _check_log_entry(entry: Any):
    require(isinstance(entry, dict), "an entry of log_history", "an object", entry)
    step = entry.get("step")
    require(is_number(step) and step >= 0, "step in log_history", "0 or more", step)
    for name, value in entry.items():
        require(value is None or isinstance(value, (int, float, str)), f"{name} in log_history", "a number", value)


def _check_callback_states(states: dict[str, Any], callbacks: Iterable[object]):
    own: dict[str, list[Any]] = {}
    for callback in callbacks:
        if isinstance(callback, ExportableState):
            own.setdefault(type(callback).__name__, []).append(callback.state())
    for name, saved in states.items():
        saved, where = saved if isinstance(saved, list) else [saved], f"the state of {name}"
        for found in saved:
            require(isinstance(found, dict), where, "an object", found)
            for part in ("args", "attributes"):
                require(isinstance(found.get(part, {}), dict), f"{part} of {where}", "an object", found.get(part))
        for found, expected in zip(saved, own.get(name, ()), strict=False):
            check_like(found, expected, where)
