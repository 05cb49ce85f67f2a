"""Checks of a saved optimizer state, before it reaches kernels that would read outside of its tensors."""

__all__ = ["check_group_settings", "check_optimizer_state"]

from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from .state_checks import check_like, check_tensor, is_number, require

# state that is a square, an absolute value or a count in every optimizer of PyTorch
_NON_NEGATIVE = {"acc_delta", "exp_avg_sq", "exp_inf", "max_exp_avg_sq", "square_avg", "step", "sum"}
_PROBE_SHAPE = (2, 3)
# the schedule changes the learning rate, and the device chooses the kernels
_NOT_SETTINGS = {"capturable", "foreach", "fused", "lr", "params"}


def check_optimizer_state(state: Any, optimizer: torch.optim.Optimizer, model: nn.Module):
    """Check the `state_dict` of an optimizer against the optimizer and the model that will use it.

    Each group must have the model's number of parameters, and settings of the right types. The state of a parameter
    must have the entries of this optimizer: moments with the parameter's shape and kind of dtype, and numbers; finite,
    and not below 0 where the optimizer takes a root or counts. Parameters may be without state: they have had no
    gradient yet.

    Raises:
        ValueError: if the state does not fit. The message names the entry and the parameter.
    """
    require(isinstance(state, Mapping), "the optimizer state", "a dict", state)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found_groups, groups = state.get("param_groups"), optimizer.param_groups
    require(isinstance(found_groups, list), "param_groups", "a list", found_groups)
    if len(found_groups) != len(groups):
        raise ValueError(f"it has {len(found_groups)} parameter groups, but the model has {len(groups)}")
    targets: list[tuple[nn.Parameter, dict[str, Any] | None]] = []  # parameters and the entries of their state
    for index, (found, group) in enumerate(zip(found_groups, groups, strict=True)):
        where = f"parameter group '{group.get('name') or index}'"
        _check_group(found, group, len(targets), where)
        entries = _probe_entries(optimizer, found, where)
        targets += [(parameter, entries) for parameter in group["params"]]
    states = state.get("state")
    require(isinstance(states, Mapping), "state", "a dict", states)
    for index, entries in states.items():
        if type(index) is not int or not 0 <= index < len(targets):
            raise ValueError(f"it has a state for parameter {index}, but the model has {len(targets)} parameters")
        parameter, expected = targets[index]
        _check_entries(entries, expected, parameter, names.get(id(parameter), f"parameter {index}"))


def check_group_settings(found_groups: list[dict[str, Any]], groups: list[dict[str, Any]]):
    """Check that the settings of an optimizer are those of a saved one, which would replace them.

    `GAETrainer` has compared its arguments before, so this concerns optimizers that the user passes.

    Raises:
        ValueError: if a setting differs. The message names it, the saved value and the new one.
    """
    for index, (found, group) in enumerate(zip(found_groups, groups, strict=True)):
        for key in group.keys() - _NOT_SETTINGS:
            if found[key] != group[key]:
                name = "the learning rate" if key == "initial_lr" else key
                where = f"parameter group '{group.get('name') or index}'"
                raise ValueError(f"{name} of {where} of the optimizer was {found[key]} and is {group[key]}")


def _check_group(found: Any, group: dict[str, Any], first: int, where: str):
    """Check the number of parameters and the types of the settings of a group, whose parameters begin at `first`."""
    require(isinstance(found, Mapping), where, "a dict", found)
    params, count = found.get("params"), len(group["params"])
    require(isinstance(params, list), f"params of {where}", "a list", params)
    if params != list(range(first, first + count)):
        raise ValueError(f"{where} has {len(params)} parameters that do not match the model's {count} trainable ones")
    for key, expected in group.items():
        value, what = found.get(key), f"{key} of {where}"
        if key == "params":
            continue
        if key not in found:
            raise ValueError(f"{what} is missing")
        if key in ("foreach", "fused"):  # the device chooses them
            require(value is None or isinstance(value, bool), what, "a bool or None", value)
        elif isinstance(value, Tensor) and value.numel() == 1:  # a learning rate for CUDA graphs
            check_like(value.item(), 1.0, what)
        else:
            check_like(value, 1.0 if isinstance(expected, Tensor) else expected, what)


def _probe_entries(optimizer: torch.optim.Optimizer, found: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    """State of a small parameter after one step with the settings of a saved group; None if it cannot be known.

    It is known for the optimizers of PyTorch, since they are all built and stepped alike. They also check the ranges
    of their settings.
    """
    kind = type(optimizer)
    if not kind.__module__.startswith("torch.optim."):
        return None
    arguments = signature(kind).parameters
    settings = {key: found.get(key, value) for key, value in optimizer.defaults.items() if key in arguments}
    settings |= {key: False for key in ("capturable", "foreach", "fused") if key in settings}
    settings |= {key: value.item() for key, value in settings.items() if isinstance(value, Tensor)}
    probe = nn.Parameter(torch.zeros(_PROBE_SHAPE))
    probe.grad = torch.zeros(_PROBE_SHAPE)
    try:
        small = kind([probe], **settings)
    except ValueError as error:
        raise ValueError(f"the settings of {where} are invalid ({error})") from error
    small.step()
    return dict(small.state[probe])


def _check_entries(entries: Any, expected: dict[str, Any] | None, parameter: Tensor, name: str):
    """Check the state of one parameter."""
    require(isinstance(entries, Mapping), f"the state of {name}", "a dict", entries)
    if expected is not None and entries.keys() != expected.keys():
        found, wanted = (", ".join(map(str, keys)) or "nothing" for keys in (entries, expected))
        raise ValueError(f"the state of {name} holds {found} instead of {wanted}, as if from another optimizer")
    for key, value in entries.items():
        where, like = f"{key} of {name}", None if expected is None else expected[key]
        if isinstance(like, Tensor) and like.shape == _PROBE_SHAPE:
            check_tensor(value, parameter, where)
        elif isinstance(like, Tensor) or isinstance(value, Tensor):
            require(isinstance(value, Tensor), where, "a tensor", value)
            if like is not None and like.numel() == 1:
                require(value.numel() == 1, where, "one number", value)
                require(value.is_floating_point() == like.is_floating_point(), where, f"of dtype {like.dtype}", value)
            if not value.isfinite().all():
                raise ValueError(f"{where} has values that are nan or infinite")
        else:
            check_like(value, like, where)
        lowest = value.double().min().item() if isinstance(value, Tensor) and value.numel() else value
        if key in _NON_NEGATIVE and is_number(lowest) and lowest < 0:
            raise ValueError(f"{where} must be 0 or more, got {lowest:g}")
