"""Figure of the losses of a training run."""

__all__ = ["plot_losses"]

from typing import TYPE_CHECKING, Any

from ..images.curves import plot_loss_curves
from ..models.base import GAEPreTrainedModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_losses(log: GAEPreTrainedModel | list[dict[str, Any]]) -> "Figure":
    """The loss and each of its terms over the epochs: training as a solid line, validation as a dashed one.

    Args:
        log: `trainer.state.log_history`, or a model that was trained in this session.

    Raises:
        ValueError: if there are no losses.
    """
    entries = (log.facts or {}).get("log") or [] if isinstance(log, GAEPreTrainedModel) else log
    if not any("loss" in entry for entry in entries):
        raise ValueError(
            "there are no losses: pass trainer.state.log_history, or a model that was trained in this session"
        )
    return plot_loss_curves(entries)
