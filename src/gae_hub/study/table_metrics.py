"""Metrics of the tables: their numbers, headings, units and directions."""

__all__ = [
    "CLASSIFICATION",
    "CLUSTERING",
    "CRITERIA_METRICS",
    "ENERGY_DISTANCE",
    "FID",
    "INCEPTION_SCORE",
    "INTERPOLATION",
    "LOG_LIKELIHOOD",
    "MSE",
    "NUM_PARAMETERS",
    "NUM_TOGETHER",
    "QUALITY",
    "RECONSTRUCTION_FID",
    "SECONDS",
    "Metric",
    "display",
]

import math
from dataclasses import dataclass
from typing import Literal

from .selection import Setup
from .table import Column

NAMES = {
    "convnet": "ConvNet",
    "resnet": "ResNet",
    "mlp": "MLP",
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "celeba": "CELEBA",
    "gmm": "GMM",
    "vamp": "VAMP",
    "two_stage_vae": "two-stage VAE",
    "maf": "MAF",
}


def display(name: str) -> str:
    """Name of networks, a data set or a sampler for people."""
    return NAMES.get(name, name)


@dataclass(frozen=True)
class Metric:
    """What a column of a table shows.

    Args:
        name: name of the metric.
        label: heading.
        number: name of the number in the results, with "{sampler}" for the sampler.
        better: "lower" or "higher"; None if neither is better.
        unit: unit of a printed value.
        scale: factor between a number and what is printed.
        digits: digits after the decimal point.
        std_number: name of the number that is printed after ±.
        bounds: smallest and largest possible value, not scaled.
    """

    name: str
    label: str
    number: str
    better: Literal["lower", "higher"] | None
    unit: str | None = None
    scale: float = 1.0
    digits: int = 2
    std_number: str | None = None
    bounds: tuple[float, float] = (-math.inf, math.inf)

    def column(self, setup: Setup, metric_first: bool = False) -> Column:
        """Column of the metric in one setup.

        Args:
            metric_first: make the metric the outermost heading, not the innermost.
        """
        suffix = {1000.0: "_x1000", 100.0: "_percent"}.get(self.scale, "")
        headers = (display(setup.network), f"{display(setup.dataset)} ({setup.latent_dim})")
        return Column(
            key=f"{setup.network}_{setup.dataset}_{setup.latent_dim}_{self.name}{suffix}",
            headers=(self.label, *headers) if metric_first else (*headers, self.label),
            metric=self.name,
            unit=self.unit,
            better=self.better,
            scale=self.scale,
            digits=self.digits,
            bounds=self.bounds,
            number=self.number,
            setup=setup,
        )

    def plain_column(self) -> Column:
        """Column of the metric where each row has its own setup."""
        return Column(
            key=self.number.replace("/", "_"),
            headers=(self.label,),
            metric=self.name,
            unit=self.unit,
            better=self.better,
            scale=self.scale,
            digits=self.digits,
            bounds=self.bounds,
            number=self.number,
        )


POSITIVE, PROPORTION = (0.0, math.inf), (0.0, 1.0)

MSE = Metric("mse", "MSE", "reconstruction/mse/test", "lower", "x 1000", 1000.0, bounds=POSITIVE)
RECONSTRUCTION_FID = Metric("fid", "FID", "reconstruction/fid/test", "lower", bounds=POSITIVE)
CLASSIFICATION = Metric(
    "classification_accuracy",
    "classification",
    "classification/accuracy/test",
    "higher",
    "%",
    100.0,
    std_number="classification/accuracy_std/test",
    bounds=PROPORTION,
)
CLUSTERING = Metric(
    "clustering_accuracy",
    "clustering",
    "clustering/accuracy/train",
    "higher",
    "%",
    100.0,
    std_number="clustering/accuracy_std/train",
    bounds=PROPORTION,
)
FID = Metric("fid", "FID", "generation/{sampler}/fid/test", "lower", digits=1, bounds=POSITIVE)
INCEPTION_SCORE = Metric(
    "inception_score",
    "IS",
    "generation/{sampler}/inception_score/test",
    "higher",
    digits=1,
    bounds=(1.0, math.inf),
)
ENERGY_DISTANCE = Metric(
    "energy_distance", "energy distance", "generation/{sampler}/energy_distance/test", "lower", digits=4
)
QUALITY = (
    Metric("kid", "KID", "generation/{sampler}/kid/test", "lower", "x 1000", 1000.0),
    Metric("precision", "precision", "generation/{sampler}/precision/test", "higher", digits=3, bounds=PROPORTION),
    Metric("recall", "recall", "generation/{sampler}/recall/test", "higher", digits=3, bounds=PROPORTION),
    Metric("density", "density", "generation/{sampler}/density/test", "higher", digits=3, bounds=POSITIVE),
    Metric("coverage", "coverage", "generation/{sampler}/coverage/test", "higher", digits=3, bounds=PROPORTION),
)
LOG_LIKELIHOOD = Metric("log_likelihood", "log-likelihood", "likelihood/log_likelihood/test", "higher", "nats")
INTERPOLATION = (
    Metric(
        "end_point_mse",
        "error of the ends",
        "interpolation/end_point_mse/test",
        "lower",
        "x 1000",
        1000.0,
        bounds=POSITIVE,
    ),
    Metric(
        "path_smoothness", "smoothness", "interpolation/path_smoothness/test", "higher", digits=3, bounds=PROPORTION
    ),
    Metric(
        "path_straightness", "straightness", "interpolation/path_straightness/test", None, digits=3, bounds=PROPORTION
    ),
)
SECONDS = Metric("seconds", "time", "training/seconds", "lower", "s", digits=1, bounds=POSITIVE)
NUM_TOGETHER = Metric("trained_together", "trained together", "trained_together", None, digits=0)
NUM_PARAMETERS = Metric("num_parameters", "parameters", "num_parameters", None, digits=0)

CRITERIA_METRICS = {"mse": MSE, "fid": FID, "energy_distance": ENERGY_DISTANCE, "accuracy": CLASSIFICATION}
"""Metrics that choose configurations, by the last part but one of the number's name."""
