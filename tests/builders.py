"""Builders of data and weights for the tests of several folders."""

import json
import zlib
from pathlib import Path

import datasets
import numpy as np
import torch
from cases import generator
from PIL import Image

ORACLE = json.loads((Path(__file__).parent / "metrics" / "inception_oracle.json").read_text())


def pixels(num, shape=(6, 5), seed=0):
    """(num, *shape) random uint8."""
    return np.random.default_rng(seed).integers(0, 256, (num, *shape), dtype=np.uint8)


def hub_folder(folder, num=30, arrays=None):
    """Write a parquet file of PNG images and labels into a folder. Returns the folder and the images as a tensor."""
    arrays = pixels(num) if arrays is None else arrays
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(num_classes=3)})
    rows = {"image": [Image.fromarray(a) for a in arrays], "label": [i % 3 for i in range(len(arrays))]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(folder / "train-00000-of-00001.parquet")
    return folder, torch.from_numpy(arrays).unsqueeze(1)


def recipe(key, shape):
    """The weight of the Inception network that inception_oracle.json was computed with: random, seeded by its name."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.long)
    r = torch.randn(shape, generator=generator(zlib.crc32(key.encode())), dtype=torch.float64)
    if key.endswith("running_var"):
        r = 1 + 0.1 * r.abs()
    elif key.endswith("bn.weight"):
        r = 1 + 0.1 * r
    elif key.endswith(("bn.bias", "running_mean", "fc.bias")):
        r = 0.1 * r
    else:
        r = r * (2 / r[0].numel()) ** 0.5
    return r.float()


def gaussian_rows(num, dim, seed=0):
    """(num, dim) float64 rows of N(0, I)."""
    return torch.randn(num, dim, generator=generator(seed), dtype=torch.float64)


def correlated_rows(num, dim, seed=0):
    """(num, dim) float64 Gaussian rows with correlated dimensions and mean `seed`."""
    mix = gaussian_rows(dim, dim, seed + 100)
    return gaussian_rows(num, dim, seed) @ mix + seed


def mnist_stand_in(hub, folder):
    """Create a repository with the name and layout of MNIST, and 60 random images of 28 x 28 pixels."""
    arrays = np.random.default_rng(0).integers(0, 256, (60, 28, 28), dtype=np.uint8)
    hub_folder(folder, arrays=arrays)
    file = next(folder.glob("*.parquet"))
    hub.create_repo("ylecun/mnist", "dataset")
    hub.commit("ylecun/mnist", {f"mnist/{file.name}": file.read_bytes()}, repo_type="dataset")
