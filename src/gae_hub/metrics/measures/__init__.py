"""Measures: classes that receive predictions and references in batches, and compute numbers with their passports.

Files here import `core`, `metrics.functional`, `metrics.networks` and `metrics.results`.
"""

__all__ = [
    "DCI",
    "FID",
    "KID",
    "MEASURES",
    "MIG",
    "MSE",
    "MSSSIM",
    "PRDC",
    "PSNR",
    "SAP",
    "SIDES",
    "SSIM",
    "BetaVAEScore",
    "ClassAccuracy",
    "Clustering",
    "Energy",
    "FactorVAEScore",
    "FeatureMeasure",
    "InceptionScore",
    "Interpolation",
    "LPIPSMeasure",
    "LatentUsage",
    "LogLikelihood",
    "Measure",
    "PairMeasure",
    "Probe",
    "Rows",
]

from .base import MEASURES, SIDES, Measure
from .features import FID, KID, PRDC, ClassAccuracy, FeatureMeasure, InceptionScore
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
from .rows import Rows
