"""Training state on disk without pickle: trees of tensors and plain values, each in one safetensors file."""

__all__ = ["fixed_seed", "is_whole", "last_checkpoint", "load_tree", "rng_state", "save_tree", "set_rng_state"]

import json
import random
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

TRAINER_STATE = "trainer_state.json"


def save_tree(tree: Any, path: str | Path):
    """Write a tree of dicts, lists, tuples, tensors and JSON values. Keys may be strings or integers."""
    tensors: dict[str, torch.Tensor] = {}

    def skeleton(node):
        if isinstance(node, torch.Tensor):
            tensors[str(len(tensors))] = node.detach().cpu().contiguous()
            return {"tensor": str(len(tensors) - 1)}
        if isinstance(node, np.ndarray):
            return {"array": skeleton(torch.from_numpy(node))}
        if isinstance(node, dict):
            return {"dict": [[key, skeleton(value)] for key, value in node.items()]}
        if isinstance(node, (list, tuple)):
            return {type(node).__name__: [skeleton(value) for value in node]}
        return {"value": node}

    outline = json.dumps(skeleton(tree))
    save_file(tensors, path, metadata={"tree": outline})


def load_tree(path: str | Path, device: str | torch.device = "cpu") -> Any:
    """Read what `save_tree` wrote.

    Raises:
        OSError: if the file is missing, truncated or corrupt.
    """
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            outline = json.loads(file.metadata()["tree"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise OSError(f"'{path}' is truncated or corrupt ({error}); resume from an earlier checkpoint") from error

    def build(node):
        ((kind, content),) = node.items()
        if kind == "tensor":
            return tensors[content]
        if kind == "array":
            return build(content).cpu().numpy()
        if kind == "dict":
            return {key: build(value) for key, value in content}
        if kind in ("list", "tuple"):
            values = [build(value) for value in content]
            return tuple(values) if kind == "tuple" else values
        return content

    return build(outline)


def rng_state() -> dict[str, Any]:
    """State of every random number generator that training draws from, on this process."""
    state = {"python": random.getstate(), "numpy": np.random.get_state(legacy=False), "cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_rng_state(state: dict[str, Any]):
    """Put back what `rng_state` gave."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    if "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])


@contextmanager
def fixed_seed(seed: int, device: torch.device):
    """Random numbers from `seed` inside, and the state from before it afterwards."""
    with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
        torch.manual_seed(seed)
        yield


def is_whole(checkpoint: str | Path) -> bool:
    """Whether a checkpoint was written to its end: the trainer's state is its last file."""
    try:
        json.loads((Path(checkpoint) / TRAINER_STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def last_checkpoint(folder: str | Path) -> Path | None:
    """The newest whole checkpoint of a run, or None. Half-written ones are passed over."""
    found = {
        int(match[1]): path
        for path in (Path(folder).iterdir() if Path(folder).is_dir() else ())
        if (match := re.fullmatch(r"checkpoint-(\d+)", path.name)) and is_whole(path)
    }
    return found[max(found)] if found else None
