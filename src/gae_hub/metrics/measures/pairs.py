"""Measures on pairs of images: how close each reconstruction is to its original."""

__all__ = ["MSE", "MSSSIM", "PSNR", "SSIM", "LPIPSMeasure", "PairMeasure"]

from pathlib import Path
from typing import Any, Self, cast

from torch import Tensor

from ..functional.image_batches import as_float
from ..functional.reconstruction import multiscale_similarity, psnr, squared_error, structural_similarity
from ..networks.lpips import LPIPS
from ..results import Estimate
from .base import SIDES, Measure
from .fingerprint import Fingerprint
from .rows import Rows, RowStore


class PairMeasure(Measure):
    """Base of the measures that compare each prediction with its reference.

    The two sides can arrive in separate batches of different sizes: images are paired in the order of their arrival.
    A subclass implements `compare`.
    """

    predictions_help = "images, uint8 or floats in [0, 1]"
    references_help = "the originals, in the same order and of the same size"

    @classmethod
    def default_options(cls) -> dict[str, Any]:
        return {}

    def reset(self):
        super().reset()
        self.waiting: dict[str, list[Tensor]] = {side: [] for side in SIDES}

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        """(batch,) values for two batches of images in [0, 1]."""
        raise NotImplementedError

    def fingerprint_of(self, references: Any) -> Fingerprint:
        return Fingerprint().add(as_float(references).float())

    def add(self, predictions: Any = None, references: Any = None):
        waiting = {side: list(images) for side, images in self.waiting.items()}
        for side, batch in zip(SIDES, (predictions, references), strict=True):
            if batch is not None:
                num_before = self.sides[side].count + sum(map(len, waiting[side]))
                waiting[side].append(as_float(batch, f"{side} of '{self.name}'", num_before))
        fingerprint = Fingerprint() if references is None else self.fingerprint_of(references)
        values = []
        while all(waiting.values()):
            pair = [waiting[side].pop(0) for side in SIDES]
            num = min(map(len, pair))
            for side, images in zip(SIDES, pair, strict=True):
                if len(images) > num:
                    waiting[side].insert(0, images[num:])
            x, y = (images[:num] for images in pair)
            if x.shape != y.shape:
                raise ValueError(
                    f"'{self.name}' compares images of one shape, got {(*x.shape[1:],)} and {(*y.shape[1:],)}"
                )
            values.append(self.compare(x, y))
        self.waiting = waiting
        self.fingerprint.merge(fingerprint)
        for compared in values:
            self.add_values(compared)

    def add_values(self, values: Tensor):
        """Add the (num,) values of compared pairs."""
        for side in SIDES:  # both, so that the counts of both sides are right
            self.sides[side].add(values)

    def copy(self) -> Self:
        other = super().copy()
        other.waiting = {side: list(images) for side, images in self.waiting.items()}
        return other

    def merge(self, other: Measure):
        if any(self.waiting.values()) or any(cast(PairMeasure, other).waiting.values()):
            raise ValueError(f"'{self.name}' cannot be merged yet: add the missing partners of its images")
        super().merge(other)

    def compute(self, **options: Any):
        for side, images in self.waiting.items():
            if images:
                num_pairs = self.sides[side].count
                counts = dict.fromkeys(SIDES, num_pairs) | {side: num_pairs + sum(map(len, images))}
                raise ValueError(
                    f"'{self.name}' compares pairs, but there are {counts['predictions']} predictions "
                    f"and {counts['references']} references"
                )
        return super().compute(**options)

    def estimate(self, predictions: RowStore, references: RowStore, **options: Any) -> dict[str, Estimate]:
        return {self.name: Estimate.mean(cast(Rows, predictions).to_tensor())}


class MSE(PairMeasure):
    """Mean squared error per pixel, for images in [0, 1]; `mse_x1000` is 1000 times that, as in the paper's tables.

    Example:

        >>> import gae_hub.metrics
        >>> mse = gae_hub.metrics.load("mse")
        >>> image, reconstruction = [[0.0, 0.5], [1.0, 0.5]], [[0.0, 0.5], [1.0, 0.0]]
        >>> mse.compute(predictions=[reconstruction], references=[image])["mse"]
        0.0625
    """

    name = "mse"

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        return squared_error(x, y)

    def estimate(self, predictions: RowStore, references: RowStore, **options: Any) -> dict[str, Estimate]:
        values = cast(Rows, predictions).to_tensor()
        return {
            "mse": Estimate.mean(values, lower_bound=0.0),
            "mse_x1000": Estimate.mean(1000 * values, lower_bound=0.0),
        }


class PSNR(PairMeasure):
    """Peak signal-to-noise ratio in decibels, mean over images; 100 for equal images.

    Example:

        >>> import gae_hub.metrics
        >>> psnr = gae_hub.metrics.load("psnr")
        >>> image, reconstruction = [[0.0, 0.5], [1.0, 0.5]], [[0.0, 0.5], [1.0, 0.0]]
        >>> round(psnr.compute(predictions=[reconstruction], references=[image])["psnr"], 2)
        12.04
    """

    name = "psnr"

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        return psnr(x, y)


class SSIM(PairMeasure):
    """Structural similarity (Wang et al., 2004, doi:10.1109/TIP.2003.819861), mean over images; 1 for equal images.

    Example:

        >>> import gae_hub.metrics
        >>> ssim = gae_hub.metrics.load("ssim")
        >>> image, reconstruction = [[0.0, 0.5], [1.0, 0.5]], [[0.0, 0.5], [1.0, 0.0]]
        >>> round(ssim.compute(predictions=[reconstruction], references=[image])["ssim"], 2)
        0.75
    """

    name = "ssim"

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        return structural_similarity(x, y)


class MSSSIM(PairMeasure):
    """Multiscale structural similarity (Wang et al., 2003, doi:10.1109/ACSSC.2003.1292216), mean over images.

    Example:

        >>> import numpy
        >>> import gae_hub.metrics
        >>> ms_ssim = gae_hub.metrics.load("ms_ssim")
        >>> image = numpy.eye(8)
        >>> round(ms_ssim.compute(predictions=[image], references=[image])["ms_ssim"], 2)
        1.0
    """

    name = "ms_ssim"

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        return multiscale_similarity(x, y)


class LPIPSMeasure(PairMeasure):
    """Learned perceptual distance (Zhang et al., 2018, arXiv:1801.03924), version 0.1, mean over images.

    Args:
        network: an [`LPIPS`], instead of the following arguments.
        backbone: "alex" or "vgg".
        weights, heads: files or URLs of the backbone's and the linear layers' weights.

    Example:

        >>> import numpy
        >>> import gae_hub.metrics
        >>> lpips = gae_hub.metrics.load("lpips")
        >>> image = numpy.eye(64)
        >>> # the published weights are downloaded when the first images arrive
        >>> lpips.compute(predictions=[image], references=[image])["lpips"]  # doctest: +SKIP
        0.0
    """

    name = "lpips"

    def __init__(
        self,
        network: LPIPS | None = None,
        backbone: str = "alex",
        weights: str | Path | None = None,
        heads: str | Path | None = None,
        **options: Any,
    ):
        self._network, self._source = network, (backbone, weights, heads)
        super().__init__(**options)

    @property
    def network(self) -> LPIPS:
        """The network, loaded when the first images arrive."""
        if self._network is None:
            self._network = LPIPS(*self._source)
        return self._network

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        device = self.network.head0.device
        return self.network(x.float().to(device), y.float().to(device))

    def describe_extractor(self) -> dict[str, Any]:
        return {"extractor": self.network.name, "extractor_sha256": self.network.sha256}
