"""The metrics as modules of `evaluate`: where they are, and how to load them."""

__all__ = ["load", "path"]

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .measures import MEASURES

if TYPE_CHECKING:
    from .evaluate_metric import GAEMetric


def path(name: str) -> str:
    """Folder of a metric, laid out like a Space on the Hub, for `evaluate.load(gae_hub.metrics.path("fid"))`.

    Raises:
        ValueError: for an unknown metric.
    """
    if name not in MEASURES:
        raise ValueError(f"unknown metric '{name}': expected one of {', '.join(sorted(MEASURES))}")
    return str(Path(__file__).parent / "spaces" / name)


def load(name: str, **kwargs: Any) -> "GAEMetric":
    """Load a metric of `evaluate`.

    Args:
        name: name of the metric, as for `path`.
        **kwargs: options of the metric, such as `feature_extractor="facebook/dinov2-small"`, and of `evaluate.load`.

    Raises:
        ValueError: for an unknown metric or option.

    Example:

    ```python
    fid = gae_hub.metrics.load("fid")
    fid.add_batch(references=images)
    fid.add_batch(predictions=model.generate(10_000))
    fid.compute()  # {"fid": ..., "fid_interval": ..., "passport": {...}}
    ```
    """
    import evaluate

    metric: Any = evaluate.load(path(name), **kwargs)
    return metric
