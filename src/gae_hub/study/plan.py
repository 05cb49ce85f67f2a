"""The plan of a study: its cells, and for each of their steps a digest of everything that the step depends on."""

__all__ = ["PLAN_FILE", "STUDY_FILE", "CellPlan", "StudyPlan", "read_plan"]

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..core.json_files import read_json_object
from .digests import digest

PLAN_FILE, STUDY_FILE = "plan.json", "study.yaml"
MAX_BYTES = 1 << 26


@dataclass(frozen=True)
class CellPlan:
    """A cell: one configuration of a method, with its network, data set, latent dimension and seed.

    Args:
        id: name of its folder: the model and a digest of the settings, whatever the method is called.
        method, configuration, fields: name of the method, number of the configuration, and what it sets.
        dataset, network, latent_dim, seed: what it is trained with.
        settings: everything that the trained model depends on.
        steps: digest of each step by name, in their order: "train", "sampler/gmm", "generation/gmm", "clustering"...
        group: cells of equal groups can be trained together; None trains alone.
        skipped: why the cell is not run, or None.
        duplicate_of: number of the configuration with equal values, whose cell this one shares, or None.
    """

    id: str
    method: str
    configuration: int
    fields: dict[str, Any]
    dataset: str
    network: str
    latent_dim: int
    seed: int
    settings: dict[str, Any]
    steps: dict[str, str]
    group: str | None = None
    skipped: str | None = None
    duplicate_of: int | None = None


@dataclass(frozen=True)
class StudyPlan:
    """The cells of a study, and what reports need to know of it without loading data or torch.

    Args:
        name, title: of the study.
        methods: name to `model`, `groups`, `samplers` and `table`, in the order of the tables.
        datasets, networks, samplers: names in the order of the study.
        latent_dims: the latent dimensions of each data set.
        tasks: settings by task.
        omitted: for each data set, tasks that it cannot have, and why.
        settings: training, extractor, seeds, sizes of splits, versions.
        cells: the cells.
    """

    name: str
    title: str
    methods: dict[str, dict[str, Any]]
    datasets: list[str]
    networks: list[str]
    samplers: list[str]
    latent_dims: dict[str, list[int]]
    tasks: dict[str, dict[str, Any]]
    omitted: dict[str, dict[str, str]]
    settings: dict[str, Any]
    cells: list[CellPlan] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """Digest of the whole plan."""
        return digest(asdict(self))

    def runnable(self) -> list[CellPlan]:
        """The cells to run, each folder once, with the steps of all cells that share it."""
        found: dict[str, CellPlan] = {}
        for cell in self.cells:
            if cell.skipped is None:
                known = found.get(cell.id)
                found[cell.id] = cell if known is None else replace(known, steps={**known.steps, **cell.steps})
        return list(found.values())

    def write(self, folder: Path):
        """Write plan.json into the folder of the study."""
        from ..core.files import write_json  # imports torch, which is slow

        write_json(folder / PLAN_FILE, asdict(self))


def read_plan(folder: Path) -> StudyPlan:
    """The plan in the folder of a study.

    Raises:
        ValueError: if there is none, or it is damaged.
    """
    path = folder / PLAN_FILE
    if not path.is_file():
        raise ValueError(f"'{folder}' has no {PLAN_FILE}: start the study with gae-hub study run")
    content = read_json_object(path, MAX_BYTES, any_depth=True)
    try:
        cells = [CellPlan(**cell) for cell in content.pop("cells")]
        return StudyPlan(**content, cells=cells)
    except (TypeError, KeyError) as error:
        raise ValueError(f"'{path}' is damaged ({error}): run the study again to write it anew") from error
