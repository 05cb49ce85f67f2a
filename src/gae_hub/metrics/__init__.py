"""Metrics of trained models, from plain functions of arrays to `evaluate_model` and modules of `evaluate`.

`functional` holds plain functions, `networks` extractors and LPIPS, `measures` the streaming classes on top of both,
and `spaces` the generated modules of `evaluate`. Files here may import all folders before `metrics`.
"""

__all__ = [
    "LPIPS",
    "MEASURES",
    "METRICS",
    "Estimate",
    "Extractor",
    "Measurement",
    "Moments",
    "Passport",
    "active_units",
    "beta_vae_score",
    "clustering_scores",
    "combine",
    "dci",
    "density_coverage",
    "energy_distance",
    "evaluate_model",
    "factor_vae_score",
    "frechet_distance",
    "frechet_infinity",
    "inception_score",
    "interpolation_quality",
    "kernel_distance",
    "kmeans",
    "linear_probe",
    "load",
    "load_extractor",
    "mutual_information_gap",
    "path",
    "precision_recall",
    "psnr",
    "sap_score",
    "structural_similarity",
    "summarize_log_likelihoods",
    "to_results",
    "train_extractor",
]

from .evaluate_modules import combine, load, path
from .evaluation import evaluate_model, to_results
from .functional.clustering import clustering_scores
from .functional.disentanglement import beta_vae_score, dci, factor_vae_score, mutual_information_gap, sap_score
from .functional.energy import energy_distance
from .functional.frechet import frechet_distance, frechet_infinity
from .functional.inception_score import inception_score
from .functional.interpolation import interpolation_quality
from .functional.kernel import kernel_distance
from .functional.kmeans import kmeans
from .functional.likelihood import active_units, summarize_log_likelihoods
from .functional.moments import Moments
from .functional.neighbors import density_coverage, precision_recall
from .functional.probe import linear_probe
from .functional.reconstruction import psnr, structural_similarity
from .measures import MEASURES
from .model_metrics import METRICS
from .networks.classifier_training import train_extractor
from .networks.extractors import Extractor, load_extractor
from .networks.lpips import LPIPS
from .results import Estimate, Measurement, Passport
