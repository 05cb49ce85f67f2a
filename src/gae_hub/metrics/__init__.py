"""Measures of trained models: plain functions of arrays, an engine that streams, and metrics of `evaluate` over it."""

from pathlib import Path

from .evaluation import METRICS, evaluate_model, to_results
from .functional.clustering import clustering, clustering_accuracy, kmeans
from .functional.disentanglement import beta_vae_score, dci, factor_vae_score, mutual_information_gap, sap_score
from .functional.energy import energy_distance
from .functional.frechet import frechet_distance, frechet_estimate, frechet_infinity
from .functional.inception_score import inception_score
from .functional.interpolation import interpolation_quality
from .functional.kernel import kernel_distance
from .functional.likelihood import active_units, log_likelihood
from .functional.moments import Moments
from .functional.neighbours import density_coverage, precision_recall
from .functional.probe import linear_probe
from .functional.reconstruction import psnr, reconstruction_mse, structural_similarity
from .measures import MEASURES
from .networks.extractors import Extractor, load_extractor
from .networks.lpips import LPIPS
from .passport import Measurement, Passport

__all__ = [
    "LPIPS",
    "MEASURES",
    "METRICS",
    "Extractor",
    "Measurement",
    "Moments",
    "Passport",
    "active_units",
    "beta_vae_score",
    "clustering",
    "clustering_accuracy",
    "dci",
    "density_coverage",
    "energy_distance",
    "evaluate_model",
    "factor_vae_score",
    "frechet_distance",
    "frechet_estimate",
    "frechet_infinity",
    "inception_score",
    "interpolation_quality",
    "kernel_distance",
    "kmeans",
    "linear_probe",
    "load",
    "load_extractor",
    "log_likelihood",
    "mutual_information_gap",
    "path",
    "precision_recall",
    "psnr",
    "reconstruction_mse",
    "sap_score",
    "structural_similarity",
    "to_results",
]


def path(name: str) -> str:
    """The folder of a metric, laid out as a Space of the Hub, for `evaluate.load(gae_hub.metrics.path("fid"))`.

    Raises:
        ValueError: for a metric that does not exist.
    """
    if name not in MEASURES:
        raise ValueError(f"no metric is called '{name}'; known are {', '.join(sorted(MEASURES))}")
    return str(Path(__file__).parent / "spaces" / name)


def load(name: str, **kwargs):
    """A metric of `evaluate`.

    Args:
        name: as `path` takes it.
        **kwargs: options of the metric, such as `feature_extractor="facebook/dinov2-small"`, and those of
            `evaluate.load`.

    Example:

    ```python
    fid = gae_hub.metrics.load("fid")
    fid.add_batch(references=images)
    fid.add_batch(predictions=model.generate(10_000))
    fid.compute()  # {"fid": ..., "fid_interval": ..., "passport": {...}}
    ```
    """
    import evaluate

    return evaluate.load(path(name), **kwargs)
