"""Results of a study: one record per cell, as tables, figures, findings and the page read them."""

__all__ = ["CellResult", "CellState", "StudyResults"]

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from ..models.base import GAEPreTrainedModel
    from ..samplers.base import GAESampler

CellState = Literal["done", "running", "failed", "waiting", "skipped"]


@dataclass(frozen=True, repr=False)
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
        facts: `train_seconds`, `num_epochs`, `num_parameters`, `device`, `extractor`; `trained_together`, the number
            of models that share the time of the training; `divergences`, how often the training diverged and was set
            back; `skipped_steps`, why steps were left out; `duplicate_of` for a configuration whose values equal an
            earlier one's.
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

    def __repr__(self) -> str:
        fields = "".join(f", {name} {value}" for name, value in self.fields.items())
        place = f"{self.dataset}, {self.network}, {self.latent_dim} dimensions, seed {self.seed}"
        name = f"{self.method} {self.configuration}{fields}"
        return f"CellResult({name}: {place}, {self.state}, {len(self.numbers)} numbers)"

    def load_model(self) -> "GAEPreTrainedModel":
        """The trained model, on the CPU and in evaluation mode.

        Raises:
            ValueError: if the cell is not trained.
        """
        from ..auto import AutoGAE

        return AutoGAE.from_pretrained(self._find_folder("config.json", "is not trained")).eval()

    def load_sampler(self, name: str) -> "GAESampler":
        """A sampler that was fitted to the latents of the cell.

        Args:
            name: name of the sampler in the study, "gmm".

        Raises:
            ValueError: if the cell does not have it.
        """
        from ..auto import AutoSampler

        known = sorted(path.name for path in (self.folder or Path("?")).glob("samplers/*/"))
        problem = f"has no sampler '{name}'; it has {', '.join(known) or 'none'}"
        folder = self._find_folder(f"samplers/{name}/config.json" if name in known else "?", problem)
        return AutoSampler.from_pretrained(folder, subfolder=f"samplers/{name}")

    def _find_folder(self, file: str, problem: str) -> Path:
        """The folder of the cell, which has a file."""
        if self.folder is None or not (self.folder / file).is_file():
            raise ValueError(f"{self!r} {problem}")
        return self.folder


@dataclass(frozen=True, repr=False)
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
            10000, "test": 10000}}), `shapes` (of an example, by data set), `omitted` (tasks that a data set cannot
            have, and why: {"digits": {"classification": "the data have no labels"}}), `hardware` and `versions`.
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

    def method_training(self) -> dict[str, dict[str, Any]]:
        """Training arguments of methods that have their own, by name. They replace those of the data sets."""
        return {name: method["training"] for name, method in self.methods.items() if method.get("training")}

    def __repr__(self) -> str:
        counts = Counter(cell.state for cell in self.cells)
        states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        return f"StudyResults({self.name!r}: {len(self.methods)} methods, {len(self.cells)} cells: {states or 'none'})"

    @property
    def is_paper_grid(self) -> bool:
        """Whether all methods are configured as in the paper, so that its tables and figures show the same methods."""
        return all(
            method.get("table") or "baseline" in (method.get("groups") or []) for method in self.methods.values()
        ) and any(method.get("table") for method in self.methods.values())

    @property
    def measured_tasks(self) -> list[str]:
        """Names of the tasks that at least one data set has."""
        return [task for task in self.tasks if any(self.omitted(task, dataset) is None for dataset in self.datasets)]

    def omitted(self, task: str, dataset: str) -> str | None:
        """Why a data set cannot have a task, such as "classification" or "reconstruction/fid"; None if it can."""
        return self.settings.get("omitted", {}).get(dataset, {}).get(task)

    def has_images(self, dataset: str) -> bool:
        """Whether the examples of a data set are images."""
        shape = self.settings.get("shapes", {}).get(dataset)
        return shape is None or len(shape) == 3
