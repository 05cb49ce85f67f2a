"""Saving and loading a VAE with the paper's ConvNet, and importing each library in a process of its own."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from pythae.models import AutoModel

from gae_hub import AutoGAE

from .comparison import Comparison
from .steps import our_model, peer_model

TITLE, PEER = "files and imports", "Pythae"


def comparisons():
    with TemporaryDirectory() as folder:
        ours, theirs = our_model("vae", "paper_conv"), peer_model("vae", "paper_conv")
        own, peer = str(Path(folder) / "ours"), str(Path(folder) / "theirs")
        yield Comparison("save a ConvNet's VAE", lambda: ours.save_pretrained(own), lambda: theirs.save(peer))
        ours.save_pretrained(own)
        theirs.save(peer)
        yield Comparison("load it", lambda: AutoGAE.from_pretrained(own), lambda: AutoModel.load_from_folder(peer))
    for name, line, peer_line in (
        ("import the library", "import gae_hub", "import pythae"),
        ("import its VAE and trainer", "from gae_hub import GAETrainer, VAEModel",
         "from pythae.models import VAE; from pythae.trainers import BaseTrainer"),
    ):  # fmt: skip
        yield Comparison(name, *(lambda code=code: run(code) for code in (line, peer_line)))


def run(code: str):
    subprocess.run([sys.executable, "-c", code], check=True)
