"""Figure of how often the codes of a codebook are used."""

__all__ = ["plot_codebook_usage"]

from typing import TYPE_CHECKING, Any

import torch

from ..data.batches import move
from ..data.class_labels import with_conditions
from ..data.loading import iterate_examples
from ..images.colours import MUTED, PALETTE
from ..models.base import GAEPreTrainedModel
from ..models.quantized import QuantizedModel
from .style import new_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = [PALETTE[name] for name in ("blue", "vermilion", "green", "orange", "purple", "sky", "black")]


def plot_codebook_usage(
    model: GAEPreTrainedModel, data: Any, batch_size: int = 500, title: str | None = "Use of the codebook"
) -> "Figure":
    """The share of tokens that each code stands for, largest first, with the number of used codes and the perplexity.

    The dashed line is even use, where the perplexity is the number of codes. A model with several codes per token, of
    groups or levels, has one line for each.

    Args:
        model: a model with a codebook, such as a VQ-VAE.
        data: (num, *input_shape) examples as the model sees them, or any data set of [`load_data`].
        batch_size: examples encoded at a time.
        title: a line of text above the picture.

    Raises:
        ValueError: if the model has no codebook.
    """
    if not isinstance(model, QuantizedModel):
        raise ValueError(f"{type(model).__name__} has no codebook: expected a model such as VQVAEModel")
    num_codes = model.config.num_embeddings
    num_per_token = model.num_codes_per_token
    counts = torch.zeros(num_per_token, num_codes, dtype=torch.int64)
    for batch in iterate_examples(with_conditions(model, data), batch_size):
        codes = model.encode_codes(**move(batch, model.device)).cpu()
        for place, column in enumerate(codes.reshape(-1, num_per_token).T):  # codes of a token are the last axis
            counts[place] += column.bincount(minlength=num_codes)
    shares = counts.double() / counts.sum(1, keepdim=True)
    perplexities = torch.special.entr(shares).sum(1).exp().tolist()
    used = (counts > 0).sum(1).tolist()
    notes = [f"{n:,} of {num_codes:,} codes used, perplexity {p:.1f}" for n, p in zip(used, perplexities, strict=True)]
    figure, axes = new_axes(4.6, 2.8, title, notes[0] if num_per_token == 1 else None)
    kind = "code" if getattr(model.config, "num_groups", 1) > 1 else "level"
    for place, row in enumerate(shares.sort(1, descending=True).values):
        label = f"{kind} {place + 1}: {notes[place]}"
        axes.stairs(
            100 * row.numpy(),
            range(num_codes + 1),
            fill=num_per_token == 1,
            baseline=0 if num_per_token == 1 else None,
            color=_COLOURS[place % len(_COLOURS)],
            linewidth=1.5,
            label=label,
        )
    axes.axhline(100 / num_codes, color=MUTED, linewidth=0.9, linestyle="--")
    at_right, style = (1, 100 / num_codes), {"ha": "right", "fontsize": 8, "color": MUTED}
    axes.annotate("even use", at_right, (0, 3), ("axes fraction", "data"), "offset points", **style)
    axes.set(xlabel="codes, most used first", ylabel="share of tokens, %", xlim=(0, num_codes), ylim=(0, None))
    if num_per_token > 1:
        axes.legend(frameon=False, fontsize=8)
    return figure
