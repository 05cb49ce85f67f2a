"""The engine: a measure takes predictions and references a batch at a time, and gives numbers with their passports."""

from .base import MEASURES, SIDES, Measure, Rows
from .features import FID, KID, PRDC, FeatureMeasure, InceptionScore
from .latents import (
    DCI,
    MIG,
    SAP,
    BetaVAEScore,
    Clustering,
    Energy,
    FactorVAEScore,
    Interpolation,
    LatentUsage,
    LogLikelihood,
    Probe,
)
from .pairs import MSE, MSSSIM, PSNR, SSIM, LPIPSMeasure, PairMeasure
