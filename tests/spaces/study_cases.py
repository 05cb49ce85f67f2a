"""What tests know of the Space of a small study: its setup, its methods, and how images are compared."""

import base64
import io

import numpy as np
from PIL import Image

from gae_hub import AutoGAE, GAEImageProcessor
from gae_hub.study.selection import Setup

PLACE = ("digits", "mlp", 3)
SETUP = Setup("mlp", "digits", 3)
METHODS = ["AE", "VAE", "VQVAE"]
TASKS = {"reconstruction": {"fid": False}, "generation": {"num_samples": 10}, "interpolation": {"num_pairs": 2}}


def decode(uri):
    """The pixels of a data URI."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def pixels(images):
    return [np.asarray(image).tolist() for image in images]


def load(views, method, task="reconstruction"):
    """Folder, model and processor of a method's chosen configuration, without the Space's own loading."""
    folder = views.compared.select(task, method, SETUP).configuration.cells[0].folder
    return folder, AutoGAE.from_pretrained(folder), GAEImageProcessor.from_pretrained(folder)
