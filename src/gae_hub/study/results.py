"""Results of a study: one record per cell, as tables, figures, findings and the page read them."""

__all__ = ["CellResult", "CellState", "StudyResults"]

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

CellState = Literal["done", "running", "failed", "waiting", "skipped"]


@dataclass(frozen=True)
class CellResult:
    """What one cell of a study is, and what was measured in it.

    Args:
        method: name of the method, "beta-VAE".
        configuration: number of the configuration in the grid, from 1.
        fields: config fields that the configuration sets, {"beta": 0.001}.
        dataset: key of the data set in the study file.
        network: key of the networks in the study file.
        latent_dim: number of latent dimensions.
        seed: seed of the training.
        state: "done", "running", "failed", "waiting" or "skipped".
        numbers: measured values by name, `task/metric/split` or `generation/sampler/metric/split`. Empty unless the
            cell is done. MSE is per pixel value, accuracies are proportions, log-likelihoods nats, times seconds.
        passports: how each number was measured, by the same names.
        facts: `train_seconds`, `num_epochs`, `num_parameters`, `device`, `extractor`, and `duplicate_of` for a
            configuration whose values equal an earlier one's.
        folder: folder of the cell.
        error: why the cell failed or was skipped.
    """

    method: str
    configuration: int
    fields: dict[str, Any]
    dataset: str
    network: str
    latent_dim: int
    seed: int
    state: CellState
    numbers: dict[str, float]
    passports: dict[str, dict[str, Any]]
    facts: dict[str, Any]
    folder: Path | None
    error: str | None


@dataclass(frozen=True)
class StudyResults:
    """What a study declares, and the results of its cells so far.

    Args:
        name: name of the study.
        title: title for people.
        methods: name to `model` (short name of `AutoGAE`), `groups`, `samplers` and `table`, in the tables' order.
        datasets: names of the data sets.
        networks: names of the networks.
        latent_dims: numbers of latent dimensions by data set.
        samplers: names of the samplers.
        tasks: settings of each task by name.
        cells: results, one per cell of the plan.
        settings: how the study ran: `training` (by data set: recipe and its fields), `networks` (as declared),
            `extractor`, `seeds`, `sizes` (examples by data set and split: {"mnist": {"train": 50000, "validation":
            10000, "test": 10000}}), `hardware` and `versions`.
    """

    name: str
    title: str
    methods: dict[str, dict[str, Any]]
    datasets: list[str]
    networks: list[str]
    latent_dims: dict[str, list[int]]
    samplers: list[str]
    tasks: dict[str, dict[str, Any]]
    cells: list[CellResult]
    settings: dict[str, Any]

    def training(self, dataset: str) -> dict[str, Any]:
        """Training arguments for a data set."""
        return self.settings.get("training", {}).get(dataset, {})
