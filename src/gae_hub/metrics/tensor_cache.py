"""Caches of tensors: their folder, and the SHA-256 by which tensors are recognised."""

__all__ = ["cache_folder", "hash_tensors"]

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from huggingface_hub import constants
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
