"""Tensors on disk: a cache folder, their SHA-256, and safetensors files that are written completely or not at all."""

__all__ = ["cache_folder", "hash_tensors", "save_atomically"]

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import Tensor


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


def save_atomically(state: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None):
    """Write a safetensors file under a temporary name and rename it, so no other process sees an incomplete file."""
    part = path.with_suffix(f".{os.getpid()}.part")
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, part, metadata)
    part.replace(path)
