"""A study that runs in seconds, for tests: four cells on 200 digits, with all tasks."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from gae_hub.core.yaml_files import dump_yaml, load_yaml
from gae_hub.data.datasets import InMemoryDataset
from gae_hub.study.collect import load_results
from gae_hub.study.declaration import Study, read_study
from gae_hub.study.folder import StudyFolder
from gae_hub.study.runner import run_study
from gae_hub.study.store import Cell

TINY = """
name: tiny
data:
  digits: {dataset: digits, latent_dim: 3, num_train: 120, num_validation: 40, num_test: 40}
networks:
  mlp: {encoder_config: {model_type: mlp, hidden_sizes: [8]}, decoder_config: {model_type: mlp, hidden_sizes: [8]}}
methods:
  AE: {model: ae, grid: [{seed: 0}]}
  VAE: {model: beta_vae, grid: [{beta: 0.1}, {beta: 1}]}
  VQVAE: {model: vq_vae, grid: [{num_embeddings: 8}]}
training: {num_train_epochs: 1}
samplers:
  normal: {sampler: normal}
  gmm: {sampler: gaussian_mixture, num_components: 2}
tasks:
  reconstruction: {}
  generation: {num_samples: 40, metrics: [fid, inception_score, kid, prdc]}
  classification: {num_probes: 2}
  clustering: {num_fits: 2}
  interpolation: {num_pairs: 3, num_steps: 6}
  likelihood: {num_samples: 3, num_images: 7}
extractor: {num_train_epochs: 1}
"""


def tiny(**changes: Any) -> dict[str, Any]:
    """Settings of the study, with whole settings replaced; None removes one."""
    settings = {**deepcopy(load_yaml(TINY)), **changes}
    return {name: value for name, value in settings.items() if value is not None}


def quick(**changes: Any) -> dict[str, Any]:
    """The study without features and samplers: four cells of less than a second."""
    return tiny(**{"tasks": {"clustering": {"num_fits": 1}}, "samplers": None, "extractor": None, **changes})


def write_study(folder: Path, settings: dict[str, Any], name: str = "study.yaml") -> Path:
    """A study file in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(dump_yaml(settings), encoding="utf-8")
    return path


def declare(settings: dict[str, Any]) -> Study:
    """The study that settings declare."""
    return read_study(settings, "s.yaml")


def run(settings: dict[str, Any], folder: Path, **options: Any) -> dict[str, int]:
    """Run a study in a folder, without progress bars."""
    path = write_study(folder.parent / f"{folder.name}-declaration", settings)
    return run_study(path, folder, progress=False, **options)


def read_cells(root: Path, name: str = "tiny") -> dict[str, Cell]:
    """Record by "method number", such as "VAE 2"."""
    folder = StudyFolder(root, name)
    return {f"{cell.method} {cell.configuration}": Cell(folder.cell(cell)) for cell in folder.read_plan().cells}


def read_states(root: Path, name: str = "tiny") -> dict[str, str]:
    """State by "method number"."""
    return {f"{cell.method} {cell.configuration}": cell.state for cell in load_results(StudyFolder(root, name)).cells}


def make_split(
    num: int, shape: tuple[int, ...] = (1, 8, 8), classes: int | None = 4, seed: int = 0, maximum: float = 1.0
):
    """Random examples in [0, maximum], with labels unless `classes` is None."""
    generator = torch.Generator().manual_seed(seed)
    labels = None if classes is None else torch.arange(num) % classes
    return InMemoryDataset(maximum * torch.rand(num, *shape, generator=generator), labels=labels)
