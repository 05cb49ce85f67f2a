"""Checkpoints of Pythae, and altered copies of them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> Path:
    """A folder with a checkpoint of each case and Pythae's outputs, made by Pythae in a separate process."""
    folder = tmp_path_factory.mktemp("pythae")
    script = Path(__file__).parents[2] / "pythae_checkpoints.py"
    subprocess.run([sys.executable, "-W", "ignore", script, folder], check=True, capture_output=True)
    return folder


@pytest.fixture
def altered(checkpoints, tmp_path) -> Callable[..., Path]:
    """`altered(case, settings, weights)`: a copy of a checkpoint with other settings or tensors.

    A tensor of None is removed.
    """
    folders = (tmp_path / f"altered-{number}" for number in range(100))

    def copy(case: str, settings: dict | None = None, weights: dict | None = None) -> Path:
        folder = next(folders)
        folder.mkdir()
        content = torch.load(checkpoints / case / "model.pt", weights_only=True)
        tensors = {**content["model_state_dict"], **(weights or {})}
        content["model_state_dict"] = {name: tensor for name, tensor in tensors.items() if tensor is not None}
        torch.save(content, folder / "model.pt")
        config = json.loads((checkpoints / case / "model_config.json").read_text())
        (folder / "model_config.json").write_text(json.dumps({**config, **(settings or {})}))
        return folder

    return copy
