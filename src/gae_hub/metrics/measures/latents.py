"""Measures on latents, factors of variation, log-likelihoods, interpolation paths and sets of points."""

__all__ = [
    "DCI",
    "MIG",
    "SAP",
    "BetaVAEScore",
    "Clustering",
    "Energy",
    "FactorMeasure",
    "FactorVAEScore",
    "Interpolation",
    "LatentUsage",
    "LogLikelihood",
    "Probe",
]

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..functional.clustering import clustering_scores
from ..functional.disentanglement import beta_vae_score, dci, factor_vae_score, mutual_information_gap, sap_score
from ..functional.energy import energy_distance
from ..functional.interpolation import interpolation_quality
from ..functional.likelihood import latent_usage, summarize_log_likelihoods
from ..functional.probe import linear_probe
from ..results import Estimate
from .base import COUNTS, Measure
from .fingerprint import Fingerprint


class LogLikelihood(Measure):
    """Log-likelihood in nats with its standard error over images, and bits per dimension if `num_dims` is given.

    Bits per dimension are defined for probabilities of binary pixels (`discrete=True`), and for densities of 8-bit
    pixels with uniform dequantisation, (k + u) / 256 (Theis et al., 2016, arXiv:1511.01844). The metric
    `bits_per_dimension` of `gae-hub evaluate` dequantises and checks the pixels.

    Example:

        >>> import gae_hub.metrics
        >>> log_likelihood = gae_hub.metrics.load("log_likelihood", num_dims=784, discrete=True)
        >>> found = log_likelihood.compute(predictions=[-90.0, -88.0])
        >>> found["log_likelihood"], round(found["bits_per_dimension"], 4)
        (-89.0, 0.1638)
    """

    name = "log_likelihood"
    predictions_help = "log p(x) of each image, in nats"
    function = staticmethod(summarize_log_likelihoods)


class LatentUsage(Measure):
    """Active units (Burda et al., 2016, arXiv:1509.00519), KL divergence and KL per dimension of the posteriors.

    Example:

        >>> import gae_hub.metrics
        >>> latent_usage = gae_hub.metrics.load("latent_usage")
        >>> means, divergences = [[0.0, 1.0], [0.0, -1.0]], [[0.0, 2.0], [0.0, 3.0]]
        >>> found = latent_usage.compute(predictions=means, references=divergences)
        >>> found["active_units"], found["kl"]
        (1.0, 2.5)
    """

    name = "latent_usage"
    predictions_help = "posterior means, (num, latent_dim)"
    references_help = "optional: KL divergences from the prior, (num, latent_dim)"
    num_axes = {"predictions": (2, None), "references": (2, None)}
    references_optional = True

    def fingerprint_of(self, references: Any) -> Fingerprint:
        """An empty fingerprint: the divergences come from the model, not from the data."""
        return Fingerprint()

    @staticmethod
    def function(means: Tensor, kl: Tensor, threshold: float = 0.01) -> dict[str, Estimate]:
        return latent_usage(means, kl if len(kl) else None, threshold)


class Clustering(Measure):
    """Agreement of k-means on latents with classes: the paper's accuracy, Hungarian accuracy, NMI and ARI.

    For the paper's accuracy, each cluster predicts its most frequent class.

    Example:

        >>> import gae_hub.metrics
        >>> clustering = gae_hub.metrics.load("clustering")
        >>> latents, classes = [[0.0], [0.1], [5.0], [5.1]], [0, 0, 1, 1]
        >>> clustering.compute(predictions=latents, references=classes)["clustering_accuracy"]
        1.0
    """

    name = "clustering"
    predictions_help = "latents, (num, latent_dim)"
    references_help = "classes, (num,) integers"
    num_axes = {"predictions": (2, None), "references": (1, 1)}
    function = staticmethod(clustering_scores)


class Probe(Measure):
    """The paper's classifier: accuracy of a logistic regression on standardised latents, fitted to convergence.

    It is trained on a random half and measured on the other half, unless `compute` gets `train_latents` and
    `train_labels`. The interval varies the measured rows, not the training rows.

    Example:

        >>> import gae_hub.metrics
        >>> probe = gae_hub.metrics.load("probe")
        >>> latents, classes = [[0.0], [5.0]] * 10, [0, 1] * 10
        >>> probe.compute(predictions=latents, references=classes)["probe_accuracy"]
        1.0
    """

    name = "probe"
    predictions_help = Clustering.predictions_help
    references_help = Clustering.references_help
    num_axes = Clustering.num_axes

    @staticmethod
    def function(
        latents: Tensor,
        labels: Tensor,
        train_latents: Tensor | None = None,
        train_labels: Tensor | None = None,
        l2_weight: float = 1.0,
        seed: int = 0,
    ) -> dict[str, Estimate]:
        if len(latents) != len(labels):
            raise ValueError(f"there are {len(latents)} latents but {len(labels)} labels")
        if train_latents is None and train_labels is None:
            order = torch.randperm(len(latents), generator=torch.Generator().manual_seed(seed))
            fit, test = order[: len(order) // 2], order[len(order) // 2 :]
            train_latents, train_labels, latents, labels = latents[fit], labels[fit], latents[test], labels[test]
        if train_latents is None or train_labels is None:
            raise ValueError("pass train_latents and train_labels together, or neither")
        return linear_probe(train_latents, train_labels, latents, labels, l2_weight)


class FactorMeasure(Measure):
    """Base of the measures of disentanglement: each is a function of latents and factors."""

    predictions_help = "latents, (num, latent_dim)"
    references_help = "factors of variation, (num, num_factors) integers"
    num_axes = {"predictions": (2, None), "references": (2, 2)}

    def __init_subclass__(cls, name: str, function: Callable[..., dict[str, Estimate]]):
        cls.name, cls.function = name, staticmethod(function)
        super().__init_subclass__()

    def biased_by(self, number: str, **options: Any) -> tuple[str, ...]:
        return COUNTS[:1]  # few rows inflate mutual information, and leave classifiers undertrained


class MIG(FactorMeasure, name="mig", function=mutual_information_gap):
    """Mutual information gap (Chen et al., 2018, arXiv:1802.04942), with 20 bins for each latent.

    Example:

        >>> import gae_hub.metrics
        >>> mig = gae_hub.metrics.load("mig")
        >>> latents, factors = [[0.0, 3.0], [1.0, 3.0]], [[0], [1]]  # the second latent is constant
        >>> round(mig.compute(predictions=latents, references=factors)["mig"], 4)
        1.0
    """


class DCI(FactorMeasure, name="dci", function=dci):
    """Disentanglement, completeness and informativeness (Eastwood & Williams, 2018, openreview:By-7dz-AZ).

    Example:

        >>> import gae_hub.metrics
        >>> dci = gae_hub.metrics.load("dci")
        >>> factors = [[0, 0], [0, 1], [1, 0], [1, 1]] * 10
        >>> latents = [[2.0 * shape, 3.0 * size] for shape, size in factors]
        >>> round(dci.compute(predictions=latents, references=factors)["dci_disentanglement"], 4)
        1.0
    """


class SAP(FactorMeasure, name="sap", function=sap_score):
    """Separated attribute predictability (Kumar et al., 2018, arXiv:1711.00848).

    Example:

        >>> import gae_hub.metrics
        >>> sap = gae_hub.metrics.load("sap")
        >>> latents, factors = [[-1.0, 3.0], [1.0, 3.0]] * 10, [[0], [1]] * 10  # the second latent is constant
        >>> sap.compute(predictions=latents, references=factors)["sap"]
        1.0
    """


class FactorVAEScore(FactorMeasure, name="factor_vae_score", function=factor_vae_score):
    """The FactorVAE score (Kim & Mnih, 2018, arXiv:1802.05983): majority vote of the latents that vary least.

    Example:

        >>> import gae_hub.metrics
        >>> factor_vae_score = gae_hub.metrics.load("factor_vae_score")
        >>> factors = [[0, 0], [0, 1], [1, 0], [1, 1]] * 10
        >>> latents = [[2.0 * shape, 3.0 * size] for shape, size in factors]
        >>> factor_vae_score.compute(predictions=latents, references=factors)["factor_vae_score"]
        1.0
    """


class BetaVAEScore(FactorMeasure, name="beta_vae_score", function=beta_vae_score):
    """The beta-VAE score (Higgins et al., 2017, openreview:Sy2fzU9gl): linear prediction of the fixed factor.

    Example:

        >>> import gae_hub.metrics
        >>> beta_vae_score = gae_hub.metrics.load("beta_vae_score", num_votes=100)
        >>> factors = [[0, 0], [0, 1], [1, 0], [1, 1]] * 10
        >>> latents = [[2.0 * shape, 3.0 * size] for shape, size in factors]
        >>> beta_vae_score.compute(predictions=latents, references=factors)["beta_vae_score"]
        1.0
    """


class Interpolation(Measure):
    """Fidelity of the ends, evenness of the steps and straightness of paths between images.

    Example:

        >>> import gae_hub.metrics
        >>> interpolation = gae_hub.metrics.load("interpolation")
        >>> path, ends = [[0.0], [0.5], [1.0]], [[0.0], [1.0]]  # images of one pixel
        >>> found = interpolation.compute(predictions=[path], references=[ends])
        >>> found["end_point_mse"], found["path_smoothness"], found["path_straightness"]
        (0.0, 1.0, 1.0)
    """

    name = "interpolation"
    predictions_help = "paths, (num, steps, *input_shape)"
    references_help = "images at the ends of the paths, (num, 2, *input_shape)"
    num_axes = {"predictions": (3, None), "references": (3, None)}
    function = staticmethod(interpolation_quality)


class Energy(Measure):
    """Energy distance (Székely & Rizzo, 2013, doi:10.1016/j.jspi.2013.03.018) of two sets of points or images.

    Example:

        >>> import gae_hub.metrics
        >>> energy = gae_hub.metrics.load("energy")
        >>> found = energy.compute(predictions=[[0.0], [1.0]], references=[[4.0], [5.0]])
        >>> found["energy_distance"]
        6.0
    """

    name = "energy"
    predictions_help = "points or images, (num, ...) floats"
    references_help = predictions_help
    num_axes = {"predictions": (2, None), "references": (2, None)}

    @staticmethod
    def function(predictions: Tensor, references: Tensor) -> dict[str, Estimate]:
        if predictions.shape[1:].numel() != references.shape[1:].numel():
            raise ValueError(
                "'energy' compares points of one size, got predictions of shape "
                f"{tuple(predictions.shape[1:])} and references of shape {tuple(references.shape[1:])}"
            )
        return {"energy_distance": Estimate(energy_distance(predictions, references))}
