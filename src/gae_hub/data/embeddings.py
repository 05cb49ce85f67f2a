"""TODO docstring."""

__all__ = ["embed_dataset"]

import os
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Literal

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from ..core.distributed import all_agree, gather_batch, is_distributed, num_processes, process_index
from .datasets import DecodedOnDemand, ImageDataset
from .loading import as_image_dataset, iterate_batches


@torch.no_grad()
def embed_dataset(
    model,
    dataset,
    batch_size: int = 500,
    progress: bool = True,
    what: Literal["latents", "codes"] = "latents",
    cache: bool | str | Path = True,
) -> Tensor:
    """(num, *latent_shape) posterior means of a data set, in its order, on the model's device.

    Several processes embed a part each, and all get the whole. What was embedded once by the same weights is read from
    disk: the file's name is a digest of weights, config and data.

    Args:
        model: a model of gae_hub; it is used in eval mode and left as it was.
        dataset: what [`load_images`] gives, or anything it takes as an object.
        batch_size: images at a time. It does not change the result, up to rounding.
        progress: show a progress bar.
        what: "latents", or the "codes" of a model with a quantizer.
        cache: whether to read and write files of `$HF_HOME/gae_hub/embeddings`, or another folder to use. Data sets
            that are neither in memory nor of `datasets` have no digest, and are embedded each time.
    """
    dataset = as_image_dataset(dataset)
    path = _cache_file(model, dataset, what, cache) if cache else None
    if path is not None and all_agree(path.is_file()):
        return load_file(path)["embeddings"].to(model.device)
    embed = model.embed if what == "latents" else model.encode_codes
    num = len(dataset) if hasattr(dataset, "__len__") else None
    share = -(-num // num_processes()) if num is not None else 0
    start = min(process_index() * share, num or 0)
    stop = min(start + share, num) if num is not None else None
    bar = "embedding" if progress and process_index() == 0 else None
    batches = iterate_batches(dataset, batch_size, bar, start, stop if is_distributed() and num is not None else None)
    found = [embed(batch.to(model.device)) for batch in batches]
    if is_distributed() and num is not None:
        embeddings = _gather_shares(found, share, num, embed, dataset, model.device)
    else:
        embeddings = torch.cat(found)
    if path is not None and process_index() == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(save({"embeddings": embeddings.cpu().contiguous()}))
        os.replace(file.name, path)  # at once: nobody reads half a file
    return embeddings


def _gather_shares(found: list[Tensor], share: int, num: int, embed, dataset, device) -> Tensor:
    """The parts of all processes in order; the last ones may be shorter, or empty."""
    if not found:  # more processes than shares: an example tells the shape
        found = [embed(next(iterate_batches(dataset, 1, stop=1)).to(device))[:0]]
    own = torch.cat(found).to(device)
    padded = torch.cat([own, own.new_zeros(share - len(own), *own.shape[1:])])
    return gather_batch(padded)[:num]


def _cache_file(model, dataset, what: str, cache: bool | str | Path) -> Path | None:
    """Where the embeddings of these weights and data lie; None for data that have no digest."""
    from huggingface_hub.constants import HF_HOME

    from .._version import __version__

    digest = sha256()
    if isinstance(dataset, ImageDataset):
        _add(digest, dataset.pixel_values)
    elif isinstance(dataset, DecodedOnDemand):
        reader = dataset.reader
        described = (dataset.rows._fingerprint, reader.column, reader.channels, reader.size, reader.input_shape)
        digest.update(repr(described).encode())
    else:
        return None
    config = {name: value for name, value in model.config.to_dict().items() if not name.startswith("_")}
    digest.update(repr((__version__, what, type(model), str(model), model.device.type, config)).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        _add(digest, tensor)
    folder = Path(HF_HOME) / "gae_hub" / "embeddings" if cache is True else Path(cache)
    return folder / f"{digest.hexdigest()[:40]}.safetensors"


def _add(digest, tensor: Tensor):
    digest.update(repr((tuple(tensor.shape), tensor.dtype)).encode())
    digest.update(memoryview(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()))
