"""Figure of how much each latent dimension carries."""

__all__ = ["plot_latent_usage"]

from typing import TYPE_CHECKING, Any

from ..data.latent_dimensions import measure_latents
from ..images.colours import PALETTE
from ..models.base import GAEPreTrainedModel
from .plot_inputs import read_first
from .style import new_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_LABELS = 32  # dimensions that are named on the axis


def plot_latent_usage(
    model: GAEPreTrainedModel, data: Any, num_examples: int = 500, title: str | None = "Use of latent dimensions"
) -> "Figure":
    """The KL of each latent dimension to the prior, in nats, largest first; or else the variance of its embeddings.

    A dimension near 0 is not used: the posterior has collapsed there. Active dimensions are those whose posterior mean
    has a variance above 0.01 over the examples.

    Args:
        model: a model with latent vectors.
        data: (num, *input_shape) examples as the model sees them, or any data set of [`load_data`].
        num_examples: how many of the first examples to measure.
        title: a line of text above the picture.

    Raises:
        ValueError: if the model's latents are maps.
    """
    if len(model.latent_shape) != 1:
        raise ValueError(
            f"{type(model).__name__} has latent maps of shape {model.latent_shape}: their dimensions have no KL"
        )
    batch = read_first(model, data, num_examples)
    usage = measure_latents(model, batch["pixel_values"], class_labels=batch.get("class_labels"))
    num, by_kl = len(usage["order"]), usage["by"] == "kl"
    subtitle = f"{usage['active_units']} of {num} are active, {usage['num_images']:,} examples"
    figure, axes = new_axes(max(3.4, min(6.5, 1 + 0.22 * num)), 2.6, title, subtitle)
    axes.bar(range(num), usage["values"], width=0.8 if num < 100 else 1, color=PALETTE["blue"])
    axes.set_ylabel("KL to the prior, nats" if by_kl else "variance of the embeddings")
    axes.set_xlabel("latent dimension")
    axes.set_xlim(-0.7, num - 0.3)
    if num <= _MAX_LABELS:
        axes.set_xticks(range(num), [str(dimension) for dimension in usage["order"]], fontsize=7)
    else:
        axes.set_xlabel("latent dimensions, by their rank")
    return figure
