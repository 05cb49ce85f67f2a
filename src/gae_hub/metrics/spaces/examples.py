"""Example files for the pages of the metrics."""

__all__ = ["write_example"]

from pathlib import Path

import numpy as np

from ...core.files import write_atomically
from ..measures import MEASURES, ClassAccuracy, FeatureMeasure, InceptionScore, PairMeasure
from ..measures.latents import FactorMeasure

NUM = 64


def write_example(name: str, folder: Path) -> tuple[list[str], list[str] | None]:
    """Write a .npy file for each side of a measure, and return the paths. The same files each time.

    Measures on features get features, so that the example runs without an extractor.

    Args:
        name: name of the measure.
        folder: an existing folder.
    """
    paths = []
    for side, array in zip(("predictions", "references"), _example_arrays(name), strict=True):
        with write_atomically(folder / f"{name}_{side}.npy", durable=False) as temporary:
            np.save(temporary, array)
        paths.append([str(folder / f"{name}_{side}.npy")])
    return paths[0], paths[1] if MEASURES[name].references_help else None


def _example_arrays(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and references."""
    random, measure = np.random.default_rng(0), MEASURES[name]
    noise = random.normal(size=(NUM, 8)).astype(np.float32)
    classes = np.arange(NUM) % 4
    if issubclass(measure, InceptionScore):
        return (5 * np.eye(8, dtype=np.float32)[np.arange(NUM) % 8] + noise), noise
    if issubclass(measure, ClassAccuracy):
        return 2 * np.eye(8, dtype=np.float32)[classes] + noise, classes
    if issubclass(measure, FeatureMeasure):
        return noise + 0.5, random.normal(size=(NUM, 8)).astype(np.float32)
    if issubclass(measure, PairMeasure):
        images = _draw_gradients(classes)
        return (images + 0.05 * random.normal(size=images.shape)).clip(0, 1).astype(np.float32), images
    if issubclass(measure, FactorMeasure):
        factors = np.stack([classes, np.arange(NUM) // 4 % 4], 1)
        return np.concatenate([factors + 0.1 * noise[:, :2], noise[:, 2:4]], 1).astype(np.float32), factors
    if name in ("clustering", "probe"):
        return (4 * np.eye(8, dtype=np.float32)[classes] + noise), classes
    if name == "latent_usage":
        return noise * np.array([1, 1, 1, 1, 0.01, 0.01, 0.01, 0.01], np.float32), noise**2 / 2
    if name == "log_likelihood":
        return -90 + noise[:, 0], noise
    ends = _draw_gradients(np.arange(8)).reshape(4, 2, 1, 32, 32)
    if name == "interpolation":
        steps = np.linspace(0, 1, 7, dtype=np.float32)[:, None, None, None]
        return (1 - steps) * ends[:, :1] + steps * ends[:, 1:], ends
    return noise + 0.5, random.normal(size=(NUM, 8)).astype(np.float32)  # points, for the energy distance


def _draw_gradients(kinds: np.ndarray) -> np.ndarray:
    """(num, 1, 32, 32) images in [0, 1] that brighten in the directions of these kinds."""
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    angles = np.pi / 4 * kinds[:, None, None, None]
    return (0.5 + 0.35 * (np.cos(angles) * x + np.sin(angles) * y)).astype(np.float32)
