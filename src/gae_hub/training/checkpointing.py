"""Training state on disk without pickle: trees of tensors and JSON values, each in one safetensors file."""

__all__ = [
    "fixed_seed",
    "get_rng_state",
    "is_complete",
    "last_checkpoint",
    "load_tree",
    "save_tree",
    "set_rng_state",
]

import json
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..core.files import write_atomically

TRAINER_STATE = "trainer_state.json"


def save_tree(tree: Any, path: str | Path):
    """Write a tree of dicts, lists, tuples, tensors, arrays and JSON values. Keys are strings or integers."""
    tensors: dict[str, torch.Tensor] = {}

    def outline(node: Any) -> dict[str, Any]:
        if isinstance(node, torch.Tensor):
            name = str(len(tensors))
            tensors[name] = node.detach().cpu().contiguous()
            return {"tensor": name}
        if isinstance(node, np.ndarray):
            return {"array": outline(torch.from_numpy(node))}
        if isinstance(node, dict):
            return {"dict": [[key, outline(value)] for key, value in node.items()]}
        if isinstance(node, (list, tuple)):
            return {type(node).__name__: [outline(value) for value in node]}
        return {"value": node}

    metadata = {"tree": json.dumps(outline(tree))}
    with write_atomically(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def load_tree(path: str | Path, device: str | torch.device = "cpu") -> Any:
    """Read a tree that `save_tree` wrote.

    Raises:
        OSError: if the file is missing, truncated or corrupt, or is not such a tree.
    """
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            outline = json.loads((file.metadata() or {}).get("tree", ""))
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        tree = _build(outline, tensors)
        if tensors:
            raise ValueError(f"its tree does not contain the tensor '{next(iter(tensors))}'")
        return tree
    except FileNotFoundError as error:
        raise OSError(f"'{path}' is missing; resume from an earlier checkpoint") from error
    except (SafetensorError, ValueError, TypeError, RecursionError) as error:
        raise OSError(f"'{path}' is truncated or corrupt ({error}); resume from an earlier checkpoint") from error


def _build(node: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """The tree of an outline. Tensors are moved into it, so that those that remain belong to no tree.

    Raises:
        ValueError: if the outline is malformed.
        TypeError: if an array has a dtype that NumPy does not have.
    """
    if not isinstance(node, dict) or len(node) != 1:
        raise ValueError(f"its tree has a {type(node).__name__} that is not one node")
    ((kind, content),) = node.items()
    if kind == "tensor" and isinstance(content, str) and content in tensors:
        return tensors.pop(content)
    if kind == "array" and isinstance(array := _build(content, tensors), torch.Tensor):
        return array.cpu().numpy()
    if kind == "dict" and isinstance(content, list) and all(map(_is_item, content)):
        return {key: _build(value, tensors) for key, value in content}
    if kind in ("list", "tuple") and isinstance(content, list):
        values = [_build(value, tensors) for value in content]
        return values if kind == "list" else tuple(values)
    if kind == "value" and not isinstance(content, (list, dict)):
        return content
    raise ValueError(f"its tree has a node '{kind}' that it cannot have")


def _is_item(pair: Any) -> bool:
    """Whether a value is a (key, node) pair of a dict."""
    return isinstance(pair, list) and len(pair) == 2 and type(pair[0]) in (str, int)


def get_rng_state() -> dict[str, Any]:
    """State of every random number generator that training uses in this process."""
    state = {"python": random.getstate(), "numpy": np.random.get_state(legacy=False), "cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_rng_state(state: dict[str, Any]):
    """Restore a state that `get_rng_state` returned.

    Raises:
        ValueError: if a generator does not accept its state.
    """
    try:
        random.setstate(state["python"])
        np.random.set_state(state["numpy"])
        torch.set_rng_state(state["cpu"])
        if "cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda"])
        if "mps" in state and torch.backends.mps.is_available():
            torch.mps.set_rng_state(state["mps"])
    except (LookupError, TypeError, ValueError, OverflowError, RuntimeError) as error:  # each generator has its own
        raise ValueError(f"the state of the random number generators is invalid ({error})") from error


@contextmanager
def fixed_seed(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's generators of the CPU and of `device` inside this context, and restore their states afterwards."""
    with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
        torch.manual_seed(seed)
        yield


def is_complete(checkpoint: str | Path) -> bool:
    """Whether a checkpoint was written to its end: trainer_state.json, its last file, exists and is valid JSON."""
    try:
        json.loads((Path(checkpoint) / TRAINER_STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return True


def last_checkpoint(folder: str | Path) -> Path | None:
    """The newest complete checkpoint of a run, or None. Incomplete checkpoints are skipped."""
    found = {
        int(match[1]): path
        for path in (Path(folder).iterdir() if Path(folder).is_dir() else ())
        if (match := re.fullmatch(r"checkpoint-(\d+)", path.name)) and is_complete(path)
    }
    return found[max(found)] if found else None
