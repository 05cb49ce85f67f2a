"""The engine: a measure takes predictions and references a batch at a time, and gives numbers with their passports."""

__all__ = ["MEASURES", "Measure", "Rows"]

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import disentanglement as dis
from .clustering import clustering
from .energy import energy_distance
from .estimate import Estimate
from .extractors import Extractor, load_extractor
from .fingerprint import Fingerprint
from .frechet import frechet_distance, frechet_estimate, frechet_infinity
from .images import as_float, as_uint8
from .inception_score import inception_score
from .interpolation import interpolation_quality
from .kernel import kernel_distance, kernel_distance_of_subsets
from .likelihood import latent_usage, log_likelihood
from .lpips import LPIPS
from .moments import Moments
from .neighbours import density_coverage, precision_recall
from .passport import Measurement, Passport
from .probe import linear_probe
from .processes import gather_rows
from .reconstruction import PIXELWISE

MEASURES: dict[str, type["Measure"]] = {}
"""Name to class, of every measure that is published as a metric of `evaluate`."""

SIDES = ("predictions", "references")
COUNTS = ("num_samples", "num_references")
_DTYPES = (torch.float32, torch.float64, torch.int64)


class Rows:
    """Rows that arrive in batches and are kept: what a measure needs that no running sum can stand for."""

    def __init__(self, rows: Tensor | None = None):
        self.parts: list[Tensor] = [] if rows is None else [rows]

    @property
    def count(self) -> int:
        return sum(map(len, self.parts))

    def add(self, rows: Tensor) -> "Rows":
        if self.parts and rows.shape[1:] != self.parts[0].shape[1:]:
            raise ValueError(f"rows of shape {tuple(rows.shape[1:])} follow some of {tuple(self.parts[0].shape[1:])}")
        self.parts.append(rows.detach())
        return self

    def merge(self, other: "Rows") -> "Rows":
        for rows in other.parts:
            self.add(rows)
        return self

    def reduce(self) -> "Rows":
        """The rows of all processes, on each of them."""
        own = self.tensor()
        known = torch.tensor([[own.dim(), _DTYPES.index(own.dtype)]] if self.parts else [[0, 0]])
        axes, dtype = gather_rows(known).amax(0).tolist()
        if not axes:
            return self
        empty = torch.zeros(0, *[0] * (axes - 1), dtype=_DTYPES[dtype])
        return Rows(gather_rows(own if self.parts else empty))

    def tensor(self) -> Tensor:
        """(num, ...); (0,) if there are none."""
        return torch.cat(self.parts) if self.parts else torch.zeros(0)


class Measure:
    """Base of every measure: `add` batches, `merge` what others have seen, `compute`.

    Under `torch.distributed`, `compute` measures the batches of all processes together, on each of them.

    Args:
        **options: what the measure's function takes besides the two sides; `compute` takes them too.

    Raises:
        ValueError: for an option that it does not have.
    """

    name = ""
    predictions = ""  # what they are, for people
    references: str | None = None  # the same; None if the measure needs no other side
    function: Callable[..., dict[str, Estimate]]
    seed: int | None = None  # of what its inputs were drawn by, where the caller knows

    def __init_subclass__(cls):
        if cls.name:
            MEASURES[cls.name] = cls

    def __init__(self, **options):
        self.options = self._known(options)
        self.reset()

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Options and their defaults."""
        parameters = inspect.signature(cls.function).parameters.values()
        return {p.name: p.default for p in parameters if p.default is not p.empty}

    def _known(self, options: dict[str, Any]) -> dict[str, Any]:
        for name in options:
            if name not in self.defaults():
                known = ", ".join(self.defaults()) or "none"
                raise ValueError(f"the metric '{self.name}' has no option '{name}'; its options are {known}")
        return options

    def reset(self):
        """Forget all batches."""
        self.sides = {side: Rows() for side in SIDES}
        self.fingerprint = Fingerprint()  # of the references

    def add(self, predictions=None, references=None):
        """Add a batch of one side or of both; the two may have unlike sizes, unless the measure compares pairs."""
        for side, batch in zip(SIDES, (predictions, references), strict=True):
            if batch is not None and (side == "predictions" or self.references):
                self.sides[side].add(self.rows(side, batch))
                if side == "references":
                    self.identify(batch)

    def identify(self, references):
        """Take a batch of references into their fingerprint."""
        self.fingerprint.add(self.rows("references", references))

    def rows(self, side: str, batch) -> Tensor:
        """(num, ...) rows from a batch as people give it."""
        if isinstance(batch, (list, tuple)) and any(isinstance(row, Tensor) for row in batch):
            batch = torch.stack([torch.as_tensor(row) for row in batch])
        rows = torch.as_tensor(batch).detach()
        if not rows.dim():
            raise ValueError(f"{side} must be a batch, (num, ...), got a single number")
        return rows.to(torch.int64 if not rows.is_floating_point() else torch.promote_types(rows.dtype, torch.float32))

    def merge(self, other: "Measure"):
        """Add what another object of the same measure has seen."""
        for side in SIDES:
            self.sides[side].merge(other.sides[side])
        self.fingerprint.merge(other.fingerprint)

    def compute(self, **options) -> dict[str, Measurement]:
        """Named numbers, each with its passport.

        Raises:
            ValueError: if a side is empty, or too small for the measure.
        """
        options = {**self.defaults(), **self.options, **self._known(options)}
        sides, fingerprint = [self.sides[side].reduce() for side in SIDES], self.fingerprint.reduce()
        for side, rows, what in zip(SIDES, sides, (self.predictions, self.references), strict=True):
            if what and not what.startswith("optional") and not rows.count:
                raise ValueError(f"'{self.name}' was given no {side}: {what}")
        settings = {name: value for name, value in options.items() if name != "seed" and _is_plain(value)}
        return {
            name: Measurement(
                estimate.value,
                Passport(
                    metric=name,
                    settings=settings | self.settings(),
                    num_samples=sides[0].count,
                    num_references=sides[1].count or None,
                    biased_by=self.biased_by(name, **options),
                    references_fingerprint=fingerprint.hex() if fingerprint.total else None,
                    seed=options.get("seed", self.seed),
                    standard_error=estimate.error,
                    interval=estimate.interval,
                    interval_method=estimate.method,
                    details=estimate.details,
                    **self.origin(),
                ),
            )
            for name, estimate in self.estimate(*sides, **options).items()
        }

    def estimate(self, predictions, references, **options) -> dict[str, Estimate]:
        both = [predictions.tensor()] + ([references.tensor()] if self.references else [])
        return type(self).function(*both, **options)

    def biased_by(self, number: str, **options) -> tuple[str, ...]:
        """The counts, of `COUNTS`, that the expectation of a number depends on."""
        return ()

    def settings(self) -> dict[str, Any]:
        """What a passport says of the measure besides its options."""
        return {}

    def origin(self) -> dict[str, Any]:
        """Extractor fields of the passport."""
        return {}


def _is_plain(value) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


# Features


class FeatureMeasure(Measure):
    """Base of the measures on features of images.

    Args:
        feature_extractor: a name that [`load_extractor`] knows, or an [`Extractor`]; "features" if the batches are
            (num, dim) features already.
        weights: for "inception", the published file or its URL.
        resize: for "inception", "tensorflow" or "pytorch".
        **options: of the measure.
    """

    predictions = "images, uint8 or floats in [0, 1], of any size"
    references = predictions

    def __init__(
        self, feature_extractor: str | Extractor = "inception", weights=None, resize: str | None = None, **options
    ):
        self._source = (feature_extractor, {"weights": weights} | ({"resize": resize} if resize else {}))
        self._extractor = None
        super().__init__(**options)

    @property
    def extractor(self) -> Extractor | None:
        """It is loaded when the first images come."""
        name, kwargs = self._source
        if self._extractor is None and name != "features":
            self._extractor = load_extractor(name, **kwargs)
        return self._extractor

    def identify(self, references):
        """By their 8-bit images, which are the same on every machine, as features are not."""
        if self.extractor is None:
            super().identify(references)
        else:
            for batch in [[image] for image in references] if isinstance(references, (list, tuple)) else [references]:
                self.fingerprint.add(as_uint8(batch))

    def rows(self, side: str, batch) -> Tensor:
        if self.extractor is not None:
            return self.extractor(batch)
        features = super().rows(side, batch)
        if features.dim() != 2 or not features.is_floating_point():
            raise ValueError(f"features must be floats of shape (num, dim), got {tuple(features.shape)}")
        return features

    def origin(self) -> dict[str, Any]:
        if self.extractor is None:
            return {"extractor": "features"}
        e = self.extractor
        return {"extractor": e.name, "extractor_sha256": e.sha256, "resize": e.resize}


class FID(FeatureMeasure):
    """Frechet Inception distance (Heusel et al., 2017, arXiv:1706.08500): 0 for equal moments of the features.

    Only moments are kept, unless `extrapolate` asks for `fid_infinity`, the value for infinitely many predictions.
    """

    name = "fid"

    @staticmethod
    def function(predictions, references, interval: bool = True, extrapolate: bool = False, seed: int = 0):
        moments = [side if isinstance(side, Moments) else Moments(side.tensor()) for side in (predictions, references)]
        found = {"fid": frechet_estimate(*moments) if interval else Estimate(frechet_distance(*moments))}
        if extrapolate:
            if isinstance(predictions, Moments):
                raise ValueError("fid_infinity needs the features themselves: give extrapolate=True before any batch")
            found["fid_infinity"] = Estimate(frechet_infinity(predictions.tensor(), moments[1], seed=seed))
        return found

    def reset(self):
        super().reset()
        self.sides = {"predictions": Rows() if self.options.get("extrapolate") else Moments(), "references": Moments()}

    def estimate(self, predictions, references, **options):
        return self.function(predictions, references, **options)

    def biased_by(self, number, **options):
        return COUNTS[1:] if number == "fid_infinity" else COUNTS


class KID(FeatureMeasure):
    """Kernel Inception distance (Bińkowski et al., 2018, arXiv:1801.01401): unbiased, from all pairs.

    With `num_subsets` it is the mean over random subsets, as it is mostly published.
    """

    name = "kid"

    @staticmethod
    def function(
        predictions, references, num_subsets: int = 0, subset_size: int = 1000, degree: int = 3, seed: int = 0
    ):
        if not num_subsets:
            return {"kid": kernel_distance(predictions, references, degree)}
        return {"kid": kernel_distance_of_subsets(predictions, references, subset_size, num_subsets, seed, degree)}

    def biased_by(self, number, num_subsets, **options):
        return COUNTS if num_subsets else ()  # subsets of few images share most of them: their spread is another


class InceptionScore(FeatureMeasure):
    """Inception Score (Salimans et al., 2016, arXiv:1606.03498), from all images or as the mean over parts of them."""

    name = "inception_score"
    references = None

    @staticmethod
    def function(logits, num_splits: int = 1):
        return {"inception_score": inception_score(logits, num_splits)}

    def estimate(self, predictions, references, **options):
        features = predictions.tensor()
        return self.function(features if self.extractor is None else self.extractor.logits(features), **options)

    def biased_by(self, number, **options):
        return COUNTS[:1]


class PRDC(FeatureMeasure):
    """Precision and recall (arXiv:1904.06991), density and coverage (arXiv:2002.09797), by nearest neighbours."""

    name = "prdc"

    @staticmethod
    def function(predictions, references, num_neighbors: int = 3, num_neighbors_density: int = 5):
        return precision_recall(predictions, references, num_neighbors) | density_coverage(
            predictions, references, num_neighbors_density
        )

    def biased_by(self, number, **options):
        return COUNTS


# Pairs of images


class PairMeasure(Measure):
    """Base of the measures that compare each prediction with its reference. Either side may come first: batches are
    joined in the order in which they arrive."""

    predictions = "images, uint8 or floats in [0, 1]"
    references = "the images that they should be, in the same order and of the same size"

    def reset(self):
        super().reset()
        self.waiting: dict[str, list[Tensor]] = {side: [] for side in SIDES}

    def identify(self, references):
        self.fingerprint.add(as_float(references).float())

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        """(batch,) from two batches of images in [0, 1]."""
        return PIXELWISE[self.name](x, y)

    def add(self, predictions=None, references=None):
        for side, batch in zip(SIDES, (predictions, references), strict=True):
            if batch is not None:
                self.waiting[side].append(as_float(batch))
                if side == "references":
                    self.identify(batch)
        while all(self.waiting.values()):
            pair = [self.waiting[side].pop(0) for side in SIDES]
            num = min(map(len, pair))
            for side, images in zip(SIDES, pair, strict=True):
                if len(images) > num:
                    self.waiting[side].insert(0, images[num:])
            x, y = (images[:num] for images in pair)
            if x.shape != y.shape:
                raise ValueError(
                    f"'{self.name}' compares images of one shape, got {(*x.shape[1:],)} and {(*y.shape[1:],)}"
                )
            for side in SIDES:  # so that both sides count
                self.sides[side].add(self.compare(x, y))

    def merge(self, other):
        if any(self.waiting.values()) or any(other.waiting.values()):
            raise ValueError(f"'{self.name}' cannot be merged while images wait for their other side")
        super().merge(other)

    def compute(self, **options):
        for side, images in self.waiting.items():
            if images:
                paired = self.sides[side].count
                counts = {other: paired for other in SIDES} | {side: paired + sum(map(len, images))}
                raise ValueError(
                    f"'{self.name}' compares pairs, but there are {counts['predictions']} predictions "
                    f"and {counts['references']} references"
                )
        return super().compute(**options)

    @staticmethod
    def function(values, same):
        raise NotImplementedError

    def estimate(self, predictions, references, **options):
        return {self.name: Estimate.mean(predictions.tensor())}


class MSE(PairMeasure):
    """Mean squared error per pixel for images in [0, 1], and times 1000 as the paper's tables show it."""

    name = "mse"

    def estimate(self, predictions, references, **options):
        values = predictions.tensor()
        return {"mse": Estimate.mean(values, least=0.0), "mse_x1000": Estimate.mean(1000 * values, least=0.0)}


class PSNR(PairMeasure):
    """Peak signal-to-noise ratio in decibels, the mean over images; equal images have 100."""

    name = "psnr"


class SSIM(PairMeasure):
    """Structural similarity (Wang et al., 2004, doi:10.1109/TIP.2003.819861), the mean over images; 1 at most."""

    name = "ssim"


class MSSSIM(PairMeasure):
    """Multiscale structural similarity (Wang et al., 2003, doi:10.1109/ACSSC.2003.1292216), the mean over images."""

    name = "ms_ssim"


class LPIPSMeasure(PairMeasure):
    """Learned perceptual distance (Zhang et al., 2018, arXiv:1801.03924), version 0.1, the mean over images.

    Args:
        network: an [`LPIPS`], in place of the next three.
        backbone: "alex" or "vgg".
        weights, heads: files or URLs of the backbone and of the linear layers.
    """

    name = "lpips"

    def __init__(self, network: LPIPS | None = None, backbone: str = "alex", weights=None, heads=None, **options):
        self._network, self._source = network, (backbone, weights, heads)
        super().__init__(**options)

    @property
    def network(self) -> LPIPS:
        if self._network is None:
            self._network = LPIPS(*self._source)
        return self._network

    def compare(self, x, y):
        device = self.network.head0.device
        return self.network(x.float().to(device), y.float().to(device))

    def origin(self):
        return {"extractor": self.network.name, "extractor_sha256": self.network.sha256}


# Latents


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
