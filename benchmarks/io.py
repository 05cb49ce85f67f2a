"""Files and imports: saving and loading a VAE with the paper's ConvNet, and imports in a new process."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from pythae.models import AutoModel

from gae_hub import AutoGAE

from .comparison import Comparison
from .models import our_model, pythae_model

TITLE, SIDES = "files and imports", ("gae_hub", "Pythae")


def run_in_new_process(code: str) -> Callable[[], None]:
    """Return a function that runs Python code in a new process."""
    return partial(subprocess.run, [sys.executable, "-c", code], check=True)


def comparisons() -> Iterator[Comparison]:
    with TemporaryDirectory() as folder:
        our_folder, pythae_folder = str(Path(folder) / "gae_hub"), str(Path(folder) / "pythae")
        ours, baseline = our_model("vae", "paper_conv"), pythae_model("vae", "paper_conv")
        save_ours, save_baseline = partial(ours.save_pretrained, our_folder), partial(baseline.save, pythae_folder)
        yield Comparison("save a VAE with the paper's ConvNet", save_ours, save_baseline)
        save_ours()
        save_baseline()
        yield Comparison(
            "load it",
            partial(AutoGAE.from_pretrained, our_folder),
            partial(AutoModel.load_from_folder, pythae_folder),
        )
    yield Comparison("import the library", run_in_new_process("import gae_hub"), run_in_new_process("import pythae"))
    yield Comparison(
        "import its VAE and trainer",
        run_in_new_process("from gae_hub import GAETrainer, VAEModel"),
        run_in_new_process("from pythae.models import VAE; from pythae.trainers import BaseTrainer"),
    )
