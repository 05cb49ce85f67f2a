"""Measures on features of images: how near generated images are to those of the data."""

__all__ = ["FID", "KID", "PRDC", "FeatureMeasure", "InceptionScore"]

from typing import Any

from torch import Tensor

from ..estimate import Estimate
from ..functional.frechet import frechet_distance, frechet_estimate, frechet_infinity
from ..functional.inception_score import inception_score
from ..functional.kernel import kernel_distance, kernel_distance_of_subsets
from ..functional.moments import Moments
from ..functional.neighbours import density_coverage, precision_recall
from ..images import as_uint8
from ..networks.extractors import Extractor, load_extractor
from .base import COUNTS, Measure, Rows


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
