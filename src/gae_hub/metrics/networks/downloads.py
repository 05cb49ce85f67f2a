"""Published weights: downloaded once, verified by SHA-256, and cached as safetensors."""

__all__ = ["load_published_weights"]

import hashlib
import urllib.request
from io import BytesIO
from pathlib import Path
from urllib.error import URLError

import torch
from safetensors import safe_open
from torch import Tensor
from tqdm.auto import tqdm

from ...core.files import load_cached_tensors, save_tensors
from ...data.caches import cache_folder


def load_published_weights(
    source: str | Path, sha256: str | None, what: str, remedy: str, progress: bool = True
) -> dict[str, Tensor]:
    """The state dict in a published PyTorch file, read with `weights_only=True`.

    The first load writes a safetensors file to the cache; later loads read that file. Its name contains the SHA-256 if
    it is known, otherwise a hash of the URL. A local file with unknown SHA-256 may change, so it is not cached.

    Args:
        source: URL or local file.
        sha256: first digits of the file's SHA-256; None if no hash was published.
        what: name of the weights, for messages.
        remedy: how to use a downloaded file, as the end of the sentence "download it on another machine, then ...".
        progress: show a progress bar while downloading.

    Raises:
        OSError: if the file does not exist or cannot be downloaded.
        ValueError: if its SHA-256 is not the expected one.
    """
    local = Path(source)
    is_url = str(source).startswith(("http://", "https://"))
    remedy = f"download it on another machine, then {remedy}"
    key = sha256 or hashlib.sha256(str(source).encode()).hexdigest()[:16]
    cached = cache_folder("weights") / f"{local.stem}-{key}.safetensors"
    may_cache = bool(is_url or sha256)
    tensors = load_cached_tensors(cached) if may_cache else None
    if tensors is not None and _published_sha256(cached).startswith(sha256 or ""):
        return tensors
    if not is_url and not local.is_file():
        raise OSError(f"the weights file of {what} does not exist: '{source}'; {remedy}")
    content = _download(str(source), what, remedy, progress) if is_url else local.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if sha256 and not found.startswith(sha256):
        raise ValueError(
            f"'{source}' is not the published file of {what}: its SHA-256 starts with {found[: len(sha256)]}, "
            f"expected {sha256}; download it again"
        )
    state = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    state = {name: tensor.clone() for name, tensor in state.items()}
    if may_cache:
        save_tensors(cached, state, {"sha256": found})
    return state


def _published_sha256(cached: Path) -> str:
    """SHA-256 of the published file, as the cache file records it."""
    with safe_open(cached, "pt") as file:
        return (file.metadata() or {}).get("sha256", "")


def _download(url: str, what: str, remedy: str, progress: bool) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            total = int(response.headers.get("Content-Length", 0)) or None
            parts = []
            with tqdm(total=total, unit="B", unit_scale=True, desc=what, disable=not progress, leave=False) as bar:
                while part := response.read(1 << 20):
                    parts.append(part)
                    bar.update(len(part))
    except (URLError, TimeoutError, ConnectionError) as error:
        raise OSError(f"cannot download the weights of {what} from {url} ({error}); {remedy}") from error
    return b"".join(parts)
