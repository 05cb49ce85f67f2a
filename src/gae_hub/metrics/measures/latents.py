"""Measures on latents, likelihoods and paths: what a model has learnt, beyond its images."""

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

import torch

from ..estimate import Estimate
from ..functional import disentanglement as dis
from ..functional.clustering import clustering
from ..functional.energy import energy_distance
from ..functional.interpolation import interpolation_quality
from ..functional.likelihood import latent_usage, log_likelihood
from ..functional.probe import linear_probe
from .base import COUNTS, Measure


class LogLikelihood(Measure):
    """Log-likelihood in nats with its standard error over images, and bits per dimension where `num_dims` is given."""

    name = "log_likelihood"
    predictions = "log p(x) of each image, in nats"
    function = staticmethod(log_likelihood)


class LatentUsage(Measure):
    """Active units (Burda et al., 2016, arXiv:1509.00519), KL divergence and KL per dimension of the posteriors."""

    name = "latent_usage"
    predictions = "posterior means, (num, latent_dim)"
    references = "optional: divergences from the prior, (num, latent_dim)"

    def identify(self, references):
        """They are the model's own, and say nothing of the data."""

    @staticmethod
    def function(means, kl, threshold: float = 0.01):
        return latent_usage(means, kl if len(kl) else None, threshold)


class Clustering(Measure):
    """The paper's k-means on latents: accuracy with the prevalent class per cluster, Hungarian accuracy, NMI, ARI."""

    name = "clustering"
    predictions = "latents, (num, latent_dim)"
    references = "classes, (num,) integers"
    function = staticmethod(clustering)


class Probe(Measure):
    """The paper's classifier: accuracy of one linear layer on latents, over 20 runs that are trained together.

    Trained on one random half and measured on the other; or give `train_latents` and `train_labels` to `compute`.
    """

    name = "probe"
    predictions = Clustering.predictions
    references = Clustering.references

    @staticmethod
    def function(
        latents,
        labels,
        train_latents=None,
        train_labels=None,
        num_runs: int = 20,
        num_epochs: int = 50,
        batch_size: int = 256,
        learning_rate: float = 1e-2,
        seed: int = 0,
    ):
        if len(latents) != len(labels):
            raise ValueError(f"there are {len(latents)} latents but {len(labels)} labels")
        if (train_latents is None) != (train_labels is None):
            raise ValueError("train_latents and train_labels go together: only one of them is given")
        if train_latents is None:
            order = torch.randperm(len(latents), generator=torch.Generator().manual_seed(seed))
            fit, test = order[: len(order) // 2], order[len(order) // 2 :]
            train_latents, train_labels, latents, labels = latents[fit], labels[fit], latents[test], labels[test]
        fitting = {"num_epochs": num_epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
        return linear_probe(train_latents, train_labels, latents, labels, num_runs, **fitting)


class FactorMeasure(Measure):
    """Base of the measures of disentanglement: each is a function of latents and factors, under a name."""

    predictions = "latents, (num, latent_dim)"
    references = "factors of variation, (num, num_factors) integers"

    def __init_subclass__(cls, name: str, function: Callable[..., dict[str, Estimate]]):
        cls.name, cls.function = name, staticmethod(function)
        super().__init_subclass__()

    def biased_by(self, number, **options):
        return COUNTS[:1]  # of few rows, counts overestimate what latents know, and classifiers learn less


class MIG(FactorMeasure, name="mig", function=dis.mutual_information_gap):
    """Mutual information gap (Chen et al., 2018, arXiv:1802.04942), with 20 bins for each latent."""


class DCI(FactorMeasure, name="dci", function=dis.dci):
    """Disentanglement, completeness and informativeness (Eastwood & Williams, 2018, openreview:By-7dz-AZ)."""


class SAP(FactorMeasure, name="sap", function=dis.sap_score):
    """Separated attribute predictability (Kumar et al., 2018, arXiv:1711.00848)."""


class FactorVAEScore(FactorMeasure, name="factor_vae_score", function=dis.factor_vae_score):
    """The FactorVAE score (Kim & Mnih, 2018, arXiv:1802.05983): a majority vote by the latent that varies least."""


class BetaVAEScore(FactorMeasure, name="beta_vae_score", function=dis.beta_vae_score):
    """The beta-VAE score (Higgins et al., 2017, openreview:Sy2fzU9gl): which factor was fixed, told linearly."""


class Interpolation(Measure):
    """Fidelity of the ends, evenness of the steps and straightness of paths between images."""

    name = "interpolation"
    predictions = "paths, (num, steps, *input_shape)"
    references = "the images at their ends, (num, 2, *input_shape)"
    function = staticmethod(interpolation_quality)


class Energy(Measure):
    """Energy distance (Székely & Rizzo, 2013, doi:10.1016/j.jspi.2013.03.018) of two sets of points or images."""

    name = "energy"
    predictions = "points or images, (num, ...) floats"
    references = predictions

    @staticmethod
    def function(predictions, references):
        return {"energy_distance": Estimate(energy_distance(predictions, references))}
