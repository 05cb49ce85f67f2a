"""Published weights: from a URL or a file, checked by their SHA-256, and safetensors after the first load."""

__all__ = ["cache_folder", "published_weights", "save_whole", "sha256_of"]

import hashlib
import os
import urllib.request
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from urllib.error import URLError

import torch
from huggingface_hub import constants
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm


def cache_folder(name: str) -> Path:
    """A folder of our own in the Hub's cache, which HF_HOME moves."""
    folder = Path(constants.HF_HOME) / "gae_hub" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def sha256_of(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def published_weights(
    source: str | Path, sha256: str | None, what: str, remedy: str, progress: bool = True
) -> dict[str, Tensor]:
    """The state dict of a published PyTorch file, read as tensors and nothing else.

    Args:
        source: a URL or a local file. The first load leaves a safetensors file in the cache, which later ones read: by
            the SHA-256 where it is known, else by the URL. A local file of unknown hash may change, and is read anew.
        sha256: what the file's SHA-256 begins with; None for a file whose hash nobody has published.
        what: the name of it all, for messages.
        remedy: what a person does who has the file, as the end of "download them on a machine that can, and ...".
        progress: show a bar while downloading.

    Raises:
        OSError: if it cannot be had, saying how to get it.
        ValueError: if it is another file than expected.
    """
    local = Path(source)
    is_url = str(source).startswith(("http://", "https://"))
    remedy = f"download them on a machine that can, and {remedy}"
    key = sha256 or hashlib.sha256(str(source).encode()).hexdigest()[:16]
    cached = cache_folder("weights") / f"{local.stem}-{key}.safetensors"
    keeps = bool(is_url or sha256)
    if keeps and cached.is_file():
        with safe_open(cached, "pt") as file:
            known = (file.metadata() or {}).get("sha256", "")
        if known.startswith(sha256 or ""):
            return load_file(cached)
    if not is_url and not local.is_file():
        raise OSError(f"the weights of {what} are not at '{source}': {remedy}")
    content = _download(str(source), what, remedy, progress) if is_url else local.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if sha256 and not found.startswith(sha256):
        raise ValueError(
            f"'{source}' is not the published file of {what}: its SHA-256 begins with {found[: len(sha256)]}, "
            f"not with {sha256}; download it again"
        )
    state = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    state = {name: tensor.clone() for name, tensor in state.items()}
    if keeps:
        save_whole(state, cached, {"sha256": found})
    return state


def save_whole(state: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None):
    """Write a file that another process sees as a whole or not at all."""
    part = path.with_suffix(f".{os.getpid()}.part")
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, part, metadata)
    part.replace(path)


def _download(url: str, what: str, remedy: str, progress: bool) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            total = int(answer.headers.get("Content-Length", 0)) or None
            bar = tqdm(total=total, unit="B", unit_scale=True, desc=what, disable=not progress, leave=False)
            with bar:
                parts = []
                while part := answer.read(1 << 20):
                    parts.append(part)
                    bar.update(len(part))
    except (URLError, TimeoutError, ConnectionError) as error:
        raise OSError(f"the weights of {what} cannot be downloaded from {url} ({error}): {remedy}") from error
    return b"".join(parts)
