"""Measures on pairs of images: how near each reconstruction is to its original."""

__all__ = ["MSE", "MSSSIM", "PSNR", "SSIM", "LPIPSMeasure", "PairMeasure"]

from torch import Tensor

from ..estimate import Estimate
from ..functional.reconstruction import PIXELWISE
from ..images import as_float
from ..networks.lpips import LPIPS
from .base import SIDES, Measure


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
