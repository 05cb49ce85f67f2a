"""The models of a study as Hub repositories: which are published, under which names, and with which files."""

__all__ = [
    "CHOICES",
    "Choice",
    "StudyModel",
    "build_model",
    "choose_models",
    "describe_numbers",
    "describe_study",
    "model_digest",
]

import hashlib
import math
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile, copytree
from typing import Any, Literal

import torch
from torch import Tensor

from .._version import __version__
from ..hub.cards.facts import load_facts
from ..images.examples import draw_reconstructions, draw_rows
from ..images.grids import save_picture
from ..images.reading import open_image, read_image
from ..pipelines.generation import GenerationPipeline
from .digests import digest
from .results import CellResult, StudyResults
from .selection import CRITERIA, Selector
from .status import describe_cell
from .store import CELL_FILE, Cell, hash_file

Choice = Literal["chosen", "all", "none"]
CHOICES: tuple[Choice, ...] = ("chosen", "all", "none")

FORMAT = 1  # of the repositories: increase it when they must be published again
_MAX_NAME = 96  # characters of a repository's name on the Hub
_MODEL_FILES = ("*.json", "*.safetensors", "*.py")


@dataclass(frozen=True)
class StudyModel:
    """A model of a study that is published.

    Args:
        cell: its result.
        repo_id: its repository.
        chosen_for: tasks for which its configuration was chosen on validation.
        samplers: names of its fitted samplers, that with the lowest FID on validation first.
    """

    cell: CellResult
    repo_id: str
    chosen_for: tuple[str, ...]
    samplers: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """The folder of its cell."""
        assert self.cell.folder is not None  # the cell is done
        return self.cell.folder

    def find_changed_file(self) -> str | None:
        """A file that differs from the one that was measured, or None."""
        return Cell(self.folder).find_changed_file(thorough=True)


def choose_models(results: StudyResults, choice: Choice, repo_id: str) -> list[StudyModel]:
    """The models to publish, each once, in the order of the plan.

    Args:
        results: results of the study.
        choice: "chosen" for the configuration of each method that is best on validation, for each task, data set,
            network and latent dimension, trained with the first seed; "all" for all cells that are done; or "none".
        repo_id: `user/name`, with which the names of the models begin.
    """
    tasks: dict[Path, list[str]] = defaultdict(list)
    for cell, task in _find_chosen(results):
        if cell.folder is not None and task not in tasks[cell.folder]:
            tasks[cell.folder].append(task)
    cells: dict[Path, CellResult] = {}
    for cell in results.cells:
        is_wanted = choice == "all" or (choice == "chosen" and cell.folder in tasks)
        if is_wanted and cell.state == "done" and cell.folder is not None:
            cells.setdefault(cell.folder, cell)
    names = _name_models(results, list(cells.values()), repo_id)
    return [
        StudyModel(cell, name, tuple(tasks.get(folder, ())), _sort_samplers(results, cell))
        for (folder, cell), name in zip(cells.items(), names, strict=True)
    ]


def _find_chosen(results: StudyResults) -> list[tuple[CellResult, str]]:
    """Cells whose configuration was chosen, of the first seed, each with the task."""
    selector = Selector(results)
    found = []
    for method in results.methods:
        for setup in selector.setups:
            for task in results.tasks:
                if task not in CRITERIA:
                    continue
                is_generation = task == "generation"
                selection = (
                    selector.best_sampler(method, setup) if is_generation else selector.select(task, method, setup)
                )
                if selection.configuration is not None:
                    found.append((selection.configuration.cells[0], task))
    return found


def _sort_samplers(results: StudyResults, cell: CellResult) -> tuple[str, ...]:
    """Names of the samplers that were fitted, by their FID, or energy distance, on validation."""
    names = results.methods[cell.method].get("samplers") or results.samplers
    skipped = cell.facts.get("skipped_steps", {})

    def read_criterion(name: str) -> float:
        numbers = (cell.numbers.get(number.format(sampler=name)) for number in CRITERIA["generation"][0])
        return next((value for value in numbers if value is not None and not math.isnan(value)), math.inf)

    fitted = [name for name in names if f"sampler/{name}" not in skipped and _sampler_folder(cell, name).is_dir()]
    return tuple(sorted(fitted, key=read_criterion))


def _sampler_folder(cell: CellResult, name: str) -> Path:
    return (cell.folder or Path()) / "samplers" / name


# Names


def _name_models(results: StudyResults, cells: list[CellResult], repo_id: str) -> list[str]:
    """A repository for each cell: `user/name-method-configuration`, with what else the study varies in between.

    Equal and too long names get the digest of their cell instead of their end.
    """
    user, _, prefix = repo_id.partition("/")
    names = [_slug(prefix, *_name_parts(results, cell)) for cell in cells]
    counts = Counter(name.lower() for name in names)
    found = []
    for name, cell in zip(names, cells, strict=True):
        if counts[name.lower()] > 1 or len(name) > _MAX_NAME:
            folder = cell.folder.name if cell.folder is not None else ""
            end = "-" + hashlib.sha256(folder.encode()).hexdigest()[:8]
            name = name[: _MAX_NAME - len(end)].rstrip("-._") + end
        found.append(f"{user}/{name}")
    return found


def _name_parts(results: StudyResults, cell: CellResult) -> list[str]:
    parts = [cell.dataset] if len(results.datasets) > 1 else []
    parts += [cell.network] if len(results.networks) > 1 else []
    parts += [str(cell.latent_dim)] if any(len(dims) > 1 for dims in results.latent_dims.values()) else []
    parts += [cell.method, f"{cell.configuration:02d}"]
    return [*parts, f"seed{cell.seed}"] if len(results.settings.get("seeds") or [0]) > 1 else parts


def _slug(prefix: str, *parts: str) -> str:
    """Lower-case letters and digits with single dashes, after a prefix that stays as it is."""
    words = (re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts)
    return "-".join([prefix, *filter(None, words)])


# Content


def model_digest(model: StudyModel, study: dict[str, Any], license: str | None) -> str:
    """Digest of everything that the repository of a model depends on.

    Args:
        model: the model.
        study: the fact "study" of its card.
        license: license for the card.
    """
    hashes = {name: hash_file(path) for name, path in _list_sources(model).items()}
    return digest([FORMAT, __version__, hashes, study, license, model.repo_id])


def describe_study(results: StudyResults, model: StudyModel, results_repo: str, page_repo: str) -> dict[str, Any]:
    """The fact "study" of a model's card."""
    folders = {"sampler" if i == 0 else f"samplers/{name}": name for i, name in enumerate(model.samplers)}
    return {
        "name": results.name,
        "title": results.title,
        "cell": describe_cell(model.cell),
        "chosen_for": list(model.chosen_for),
        "samplers": folders,
        "results": results_repo,
        "page": page_repo,
    }


def build_model(model: StudyModel, study: dict[str, Any], license: str | None, folder: Path):
    """Write the content of a model's repository into a folder: model, samplers, pictures and card.

    Args:
        model: the model.
        study: the fact "study" of its card.
        license: license for the card; None keeps that of the card in the folder or the cell.
        folder: empty, or with the README.md of the repository.
    """
    if not (folder / "README.md").is_file() and (model.folder / "README.md").is_file():
        copyfile(model.folder / "README.md", folder / "README.md")
    for name, path in _list_sources(model).items():
        if not name.startswith(("pictures/", "samplers/")):
            copyfile(path, folder / name)
    for place, name in study["samplers"].items():
        copytree(_sampler_folder(model.cell, name), folder / place)
    pipe = GenerationPipeline.from_pretrained(folder)
    _draw_pictures(model, pipe, folder / "assets")
    pipe.model.license = license
    pipe.model.add_model_tags(["gae-hub-study"])
    pipe.model.facts = {**load_facts(pipe.model), "study": study}
    pipe.save_sampler(folder, model.repo_id)


def _list_sources(model: StudyModel) -> dict[str, Path]:
    """The files of a cell that are published, by their path in it."""
    paths = [path for pattern in _MODEL_FILES for path in model.folder.glob(pattern) if path.name != CELL_FILE]
    paths += (model.folder / "pictures").glob("*.png")
    paths += [path for name in model.samplers for path in _sampler_folder(model.cell, name).rglob("*")]
    return {path.relative_to(model.folder).as_posix(): path for path in sorted(paths) if path.is_file()}


def _draw_pictures(model: StudyModel, pipe: GenerationPipeline, assets: Path):
    """Pictures of the card, from the tiles that the tasks drew."""
    shape = tuple(pipe.model.config.input_shape)
    reconstructions = _read_tiles(model.folder / "pictures" / "reconstructions.png", shape)
    if reconstructions is not None and len(reconstructions) == 2:
        save_picture(draw_reconstructions(reconstructions[0], reconstructions[1]), assets / "reconstructions.png")
    paths = _read_tiles(model.folder / "pictures" / "interpolations.png", shape)
    if paths is not None:
        title = "From one test image to another, through the latent space"
        save_picture(draw_rows(paths, title), assets / "interpolations.png")


def _read_tiles(path: Path, shape: tuple[int, ...]) -> Tensor | None:
    """(rows, columns, *shape) in [0, 1] from a picture of tiles without gaps, or None without such a picture."""
    if not path.is_file() or len(shape) != 3 or shape[0] not in (1, 3):
        return None
    channels, height, width = shape
    values = torch.tensor(read_image(open_image(path), channels)).float() / 255
    return values.unfold(1, height, height).unfold(2, width, width).permute(1, 2, 0, 3, 4)


def describe_numbers(model: StudyModel) -> str:
    """The main numbers of a model on test, in one line."""
    cell, numbers = model.cell, model.cell.numbers
    best = model.samplers[0] if model.samplers else ""
    found = {
        "reconstruction MSE": numbers.get("reconstruction/mse/test"),
        f"FID {best}": numbers.get(f"generation/{best}/fid/test"),
        f"energy distance {best}": numbers.get(f"generation/{best}/energy_distance/test"),
        "classification accuracy": numbers.get("classification/accuracy/test"),
        "clustering accuracy": numbers.get("clustering/accuracy/train"),
        "log-likelihood": numbers.get("likelihood/log_likelihood/test"),
    }
    shown = [f"{name} {value:.4g}" for name, value in found.items() if value is not None]
    return f"{describe_cell(cell)}: {', '.join(shown)}" if shown else describe_cell(cell)
