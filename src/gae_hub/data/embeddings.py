"""Embeds data sets with a model, and keeps the embeddings on disk."""

__all__ = ["embed_dataset"]

from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor

from ..core.argument_checks import check_seed
from ..core.distributed import all_agree, gather_rows, is_distributed, num_processes, process_index
from ..core.files import load_cached_tensors, save_tensors
from .batches import move
from .caches import cache_folder, hash_network
from .class_labels import with_conditions
from .fingerprints import fingerprint_data
from .loading import iterate_examples

if TYPE_CHECKING:
    from ..models.base import GAEPreTrainedModel
    from ..models.quantized import QuantizedModel


@torch.no_grad()
def embed_dataset(
    model: "GAEPreTrainedModel",
    dataset: Any,
    batch_size: int = 500,
    progress: bool = True,
    output: Literal["latents", "codes"] = "latents",
    cache: bool | str | Path = True,
    sample: bool = False,
    seed: int = 0,
) -> Tensor:
    """(num, *latent_shape) embeddings of a data set by `model.embed`, in its order, on the model's device.

    By default, these are the means of the posteriors. With `sample=True` there is one sample of each posterior, as the
    decoder saw in training; together they follow the aggregated posterior, to which samplers are fitted.

    Each of several processes embeds a part, and all return the whole. A second call with the same model and data reads
    the result from disk: the file is named by a hash of weights, buffers, attributes, config, versions and data.

    Args:
        model: an autoencoder. It runs in eval mode, and returns to its mode afterwards.
        dataset: a data set from [`load_images`] or [`load_data`], or another source that they accept, except names.
        batch_size: images per batch. It changes the result by rounding errors only.
        progress: whether to show a progress bar.
        output: "latents", or "codes" for the indices of a model with a quantizer.
        cache: whether to read and write files in `$HF_HOME/gae_hub/embeddings`; or another folder for them. Data sets
            that are neither in memory nor a `datasets.Dataset` cannot be hashed, and are embedded each time. So are
            all data by a model with custom code: a module whose class is not from torch, transformers or gae_hub, a
            forward hook, or an attribute that replaces a method.
        sample: whether to draw from the posteriors. Autoencoders without noise return the same as without.
        seed: seed of these draws. They also depend on `batch_size` and on the number of processes.

    Raises:
        ValueError: for `sample=True` with codes.
    """
    if sample and output == "codes":
        raise ValueError('codes have no posterior to sample from: pass sample=False, or output="latents"')
    check_seed(seed)
    dataset = with_conditions(model, dataset)
    drawn = (seed, batch_size, num_processes()) if sample else ()
    file = _cache_file(model, dataset, (output, *drawn), cache) if cache else None
    if file is not None:
        cached = _read_cache(file, len(dataset), output)
        if all_agree(cached is not None):
            return cast(Tensor, cached).to(model.device)
    if sample:
        generator = torch.Generator(model.device).manual_seed(seed + process_index())
        embed = partial(model.embed, sample=True, generator=generator)
    else:
        embed = model.embed if output == "latents" else cast("QuantizedModel", model).encode_codes
    shared = is_distributed() and hasattr(dataset, "__len__")
    start, stop = _share_of_process(len(dataset)) if shared else (0, None)
    desc = "embedding" if progress and process_index() == 0 else None
    batches = iterate_examples(dataset, batch_size, desc, start, stop)
    parts = [embed(**move(batch, model.device)) for batch in batches]
    if shared and not parts:  # `gather_rows` needs a tensor of 0 rows with the dtype and axes of the others
        parts = [embed(**move(next(iterate_examples(dataset, 1, stop=1)), model.device))[:0]]
    embeddings = torch.cat(parts)
    if shared:
        embeddings = gather_rows(embeddings)
    if file is not None and process_index() == 0:
        save_tensors(file, {"embeddings": embeddings})
    return embeddings


def _share_of_process(num: int) -> tuple[int, int]:
    """Start and stop of the rows that this process embeds. The last processes may have fewer, or none."""
    size = -(-num // num_processes())
    start = min(process_index() * size, num)
    return start, min(start + size, num)


def _cache_file(
    model: "GAEPreTrainedModel", dataset: Any, output: tuple[Any, ...], cache: bool | str | Path
) -> Path | None:
    """File for the embeddings of this data by this model; None if one of them cannot be hashed."""
    data = fingerprint_data(dataset)
    if data is None:
        return None
    network = hash_network(model)
    if network is None:
        return None
    folder = cache_folder("embeddings") if isinstance(cache, bool) else Path(cache)
    return folder / f"{sha256(repr((data, network, *output)).encode()).hexdigest()[:40]}.safetensors"


def _read_cache(file: Path, num: int, output: str) -> Tensor | None:
    """The `num` embeddings in a file, or None if there is no such file or it is damaged."""
    embeddings = (load_cached_tensors(file, ["embeddings"]) or {}).get("embeddings")
    if embeddings is None or embeddings.shape[:1] != (num,) or embeddings.is_floating_point() != (output == "latents"):
        return None
    return embeddings
