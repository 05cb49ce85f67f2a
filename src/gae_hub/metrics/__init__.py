"""Measures of a trained model: plain functions of arrays, and names for them in a registry."""

from .clustering import clustering_accuracy
from .energy import energy_distance
from .evaluation import METRICS, evaluate_model
from .reconstruction import reconstruction_mse

__all__ = ["METRICS", "clustering_accuracy", "energy_distance", "evaluate_model", "reconstruction_mse"]
