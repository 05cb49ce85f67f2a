"""Measures on features of images: how close generated images are to the data."""

__all__ = ["FID", "KID", "PRDC", "ClassAccuracy", "FeatureMeasure", "InceptionScore"]

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from ...core.class_labels import check_class_labels
from ..functional.frechet import frechet_distance, frechet_infinity
from ..functional.image_batches import as_uint8
from ..functional.inception_score import inception_score
from ..functional.kernel import kernel_distance, kernel_distance_of_subsets
from ..functional.moments import Moments
from ..functional.neighbors import density_coverage, precision_recall
from ..networks.extractors import Extractor, ExtractorSource, load_extractor
from ..results import Estimate
from .base import COUNTS, SIDES, Measure
from .fingerprint import Fingerprint
from .rows import Rows, RowStore


class FeatureMeasure(Measure):
    """Base of the measures on features of images.

    Args:
        feature_extractor: an extractor, or what [`load_extractor`] makes one of; "features" if the batches are already
            (num, dim) features, or logits for the Inception Score.
        weights: for "inception", the published file or its URL.
        resize: for "inception", "tensorflow" or "pytorch".
        **options: options of the measure.
    """

    predictions_help = "images, uint8 or floats in [0, 1], of any size"
    references_help = predictions_help

    def __init__(
        self,
        feature_extractor: ExtractorSource = "inception",
        weights: str | Path | None = None,
        resize: str | None = None,
        **options: Any,
    ):
        self._source = (feature_extractor, {"weights": weights} | ({"resize": resize} if resize else {}))
        self._extractor: Extractor | None = None
        super().__init__(**options)

    @property
    def extractor(self) -> Extractor | None:
        """The extractor, loaded when the first images arrive; None if the batches are features."""
        name, kwargs = self._source
        if self._extractor is None and name != "features":
            self._extractor = load_extractor(name, **kwargs)
        return self._extractor

    def fingerprint_of(self, references: Any) -> Fingerprint:
        """Fingerprint of the 8-bit images, which are the same on every machine; features are not."""
        if self.extractor is None:
            return super().fingerprint_of(references)
        found = Fingerprint()
        for batch in [[image] for image in references] if isinstance(references, (list, tuple)) else [references]:
            found.add(as_uint8(batch))
        return found

    def to_rows(self, side: str, batch: Any) -> Tensor:
        if self.extractor is not None:
            return self.extractor(batch, f"{side} of '{self.name}'", self.sides[side].count)
        features = super().to_rows(side, batch)
        if features.dim() != 2 or not features.is_floating_point():
            raise ValueError(f"features must be floats of shape (num, dim), got {tuple(features.shape)}")
        return features

    def describe_extractor(self) -> dict[str, Any]:
        if self.extractor is None:
            return {"extractor": "features"}
        e = self.extractor
        return {
            "extractor": e.name,
            "extractor_sha256": e.sha256,
            "extractor_training": e.training_record,
            "resize": e.resize,
        }


class FID(FeatureMeasure):
    """Frechet Inception distance (Heusel et al., 2017, arXiv:1706.08500): 0 for equal moments of the features.

    With few images it is too large. `extrapolate` adds `fid_infinity`, the value for infinitely many images, with its
    interval. All features are then stored, and otherwise only their moments.

    Example:

        >>> import gae_hub.metrics
        >>> fid = gae_hub.metrics.load("fid", feature_extractor="features")
        >>> fid.add_batch(references=[[3.0], [5.0]])
        >>> fid.add_batch(predictions=[[0.0], [2.0]])
        >>> round(fid.compute()["fid"], 4)
        9.0
    """

    name = "fid"

    @staticmethod
    def function(
        predictions: Rows | Moments, references: Rows | Moments, extrapolate: bool = False, seed: int = 0
    ) -> dict[str, Estimate]:
        found = {"fid": Estimate(frechet_distance(_as_moments(predictions), _as_moments(references)))}
        if extrapolate:
            if isinstance(predictions, Moments) or isinstance(references, Moments):
                raise ValueError("fid_infinity needs all features: pass extrapolate=True before the first batch")
            found["fid_infinity"] = frechet_infinity(predictions.to_tensor(), references.to_tensor(), seed=seed)
        return found

    def reset(self):
        super().reset()
        self.sides = {side: Rows() if self.options.get("extrapolate") else Moments() for side in SIDES}

    def estimate(self, predictions: RowStore, references: RowStore, **options: Any) -> dict[str, Estimate]:
        return self.function(cast(Rows | Moments, predictions), cast(Rows | Moments, references), **options)

    def biased_by(self, number: str, **options: Any) -> tuple[str, ...]:
        return () if number == "fid_infinity" else COUNTS


def _as_moments(side: Rows | Moments) -> Moments:
    return side if isinstance(side, Moments) else Moments(side.to_tensor())


class KID(FeatureMeasure):
    """Kernel Inception distance (Bińkowski et al., 2018, arXiv:1801.01401): unbiased, from all pairs.

    With `num_subsets` it is the mean over random subsets, as in most publications.

    Example:

        >>> import gae_hub.metrics
        >>> kid = gae_hub.metrics.load("kid", feature_extractor="features")
        >>> found = kid.compute(predictions=[[0.0], [0.0]], references=[[1.0], [1.0]])
        >>> round(found["kid"], 4)
        7.0
    """

    name = "kid"

    @staticmethod
    def function(
        predictions: Tensor,
        references: Tensor,
        num_subsets: int = 0,
        subset_size: int = 1000,
        degree: int = 3,
        seed: int = 0,
    ) -> dict[str, Estimate]:
        if not num_subsets:
            return {"kid": kernel_distance(predictions, references, degree)}
        return {"kid": kernel_distance_of_subsets(predictions, references, subset_size, num_subsets, seed, degree)}

    def biased_by(self, number: str, **options: Any) -> tuple[str, ...]:
        # subsets of fewer images overlap more, so their spread differs
        return COUNTS if options["num_subsets"] else ()


class InceptionScore(FeatureMeasure):
    """Inception Score (Salimans et al., 2016, arXiv:1606.03498), of all images together or as a mean over splits.

    Example:

        >>> import gae_hub.metrics
        >>> inception_score = gae_hub.metrics.load("inception_score", feature_extractor="features")
        >>> logits_of_two_classes = [[40.0, 0.0], [0.0, 40.0]]
        >>> round(inception_score.compute(predictions=logits_of_two_classes)["inception_score"], 4)
        2.0
    """

    name = "inception_score"
    references_help = None

    @staticmethod
    def function(logits: Tensor, num_splits: int = 1) -> dict[str, Estimate]:
        return {"inception_score": inception_score(logits, num_splits)}

    def estimate(self, predictions: RowStore, references: RowStore, **options: Any) -> dict[str, Estimate]:
        features = cast(Rows, predictions).to_tensor()
        logits = features if self.extractor is None else self.extractor.compute_logits(features)
        return self.function(logits, **options)

    def biased_by(self, number: str, **options: Any) -> tuple[str, ...]:
        return COUNTS[:1]


class ClassAccuracy(FeatureMeasure):
    """Share of generated images that a classifier recognises as their class (Shmelkov et al., 2018, arXiv:1807.09499).

    The classifier is trained on real images. `details` of the passport have the share of each class.

    Example:

        >>> import gae_hub.metrics
        >>> class_accuracy = gae_hub.metrics.load("class_accuracy", feature_extractor="features")
        >>> logits_of_two_classes = [[2.0, 0.0], [0.0, 2.0], [1.0, 0.0], [3.0, 1.0]]
        >>> class_accuracy.compute(predictions=logits_of_two_classes, references=[0, 1, 0, 1])["class_accuracy"]
        0.75
    """

    name = "class_accuracy"
    references_help = "classes, (num,) integers"

    @staticmethod
    def function(logits: Tensor, labels: Tensor) -> dict[str, Estimate]:
        if len(logits) != len(labels):
            raise ValueError(f"there are {len(logits)} images but {len(labels)} classes")
        if labels.is_floating_point() and torch.equal(labels, labels.round()):  # integers from a file of floats
            labels = labels.long()
        labels = check_class_labels(labels, logits.shape[1], len(logits), logits.device, name="classes")
        is_right = (logits.argmax(1) == labels).double()
        shares = {str(int(label)): float(is_right[labels == label].mean()) for label in labels.unique()}
        return {"class_accuracy": Estimate.mean(is_right, accuracy_of_classes=shares)}

    def to_rows(self, side: str, batch: Any) -> Tensor:
        return super().to_rows(side, batch) if side == "predictions" else Measure.to_rows(self, side, batch)

    def fingerprint_of(self, references: Any) -> Fingerprint:
        return Measure.fingerprint_of(self, references)

    def estimate(self, predictions: RowStore, references: RowStore, **options: Any) -> dict[str, Estimate]:
        features, labels = cast(Rows, predictions).to_tensor(), cast(Rows, references).to_tensor()
        logits = features if self.extractor is None else self.extractor.compute_logits(features)
        return self.function(logits, labels, **options)


class PRDC(FeatureMeasure):
    """Precision and recall (arXiv:1904.06991), density and coverage (arXiv:2002.09797), from nearest neighbours.

    Example:

        >>> import gae_hub.metrics
        >>> prdc = gae_hub.metrics.load("prdc", feature_extractor="features")
        >>> data = [[0.0], [1.0], [2.0], [3.0], [4.0], [5.0], [6.0], [7.0]]
        >>> found = prdc.compute(predictions=data[:4], references=data)
        >>> found["precision"], found["recall"]
        (1.0, 0.875)
    """

    name = "prdc"

    @staticmethod
    def function(
        predictions: Tensor, references: Tensor, num_neighbors: int = 3, num_neighbors_density: int = 5
    ) -> dict[str, Estimate]:
        return precision_recall(predictions, references, num_neighbors) | density_coverage(
            predictions, references, num_neighbors_density
        )

    def biased_by(self, number: str, **options: Any) -> tuple[str, ...]:
        return COUNTS
