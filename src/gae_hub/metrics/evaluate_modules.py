"""The metrics as modules of `evaluate`: where they are, and how to load them."""

__all__ = ["combine", "load", "path"]

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .measures import MEASURES

if TYPE_CHECKING:
    from .evaluate_metric import CombinedMetrics, GAEMetric


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
    fid.compute()  # {"fid": ..., "passport": {...}}
    ```
    """
    import evaluate

    metric: Any = evaluate.load(path(name), **kwargs)
    return metric


def combine(
    metrics: "list[str | GAEMetric] | dict[str, str | GAEMetric]", force_prefix: bool = False
) -> "CombinedMetrics":
    """Combine metrics that receive the same batches, as `evaluate.combine` does.

    Unlike there, nothing changes if one of the metrics raises: the corrected call counts no batch twice.

    Args:
        metrics: names of metrics, or metrics that `load` returned; a dict sets the prefixes of their numbers.
        force_prefix: prefix all numbers, and not only those of the same name.

    Raises:
        ValueError: for an unknown metric, or one that is not of gae_hub.

    Example:

    ```python
    metrics = gae_hub.metrics.combine(["fid", "kid"])
    metrics.add_batch(predictions=model.generate(10_000), references=images)
    metrics.compute()  # {"fid": ..., "kid": ..., "fid_passport": {...}, "kid_passport": {...}, ...}
    ```
    """
    from .evaluate_metric import CombinedMetrics

    if isinstance(metrics, dict):
        return CombinedMetrics({prefix: _load_if_name(metric) for prefix, metric in metrics.items()}, force_prefix)
    return CombinedMetrics([_load_if_name(metric) for metric in metrics], force_prefix)


def _load_if_name(metric: "str | GAEMetric") -> "GAEMetric":
    return load(metric) if isinstance(metric, str) else metric
