"""What a study's Space stores: the numbers of the study, which models it shows, and its test images."""

__all__ = ["RESULTS_FILE", "SpaceModel", "StudyRecord", "examples_file", "read_record", "write_record"]

import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..core.files import write_atomically
from ..study.digests import digest
from ..study.results import CellResult, StudyResults

RESULTS_FILE = "results.json.gz"
MODELS = "models"
_FORMAT = 1


@dataclass(frozen=True)
class SpaceModel:
    """A model that a study's Space shows.

    Args:
        source: its folder relative to the Space's, or its repository on the Hub.
        is_published: whether `source` is a repository.
        samplers: subfolder of each of its samplers, by the study's name of the sampler.
    """

    source: str
    is_published: bool
    samplers: dict[str, str]

    def locate(self, root: Path) -> str:
        """The folder or repository, for `from_pretrained`."""
        return self.source if self.is_published else str(root / self.source)


@dataclass(frozen=True)
class StudyRecord:
    """The numbers of a study and the models that its Space shows.

    Args:
        results: results of the study. Cells with a model have the folder `models/NAME` of the Space.
        models: model by the name of its cell's folder.
        version: changes with the content.
    """

    results: StudyResults
    models: dict[str, SpaceModel]
    version: str = ""

    def model_of(self, cell: CellResult) -> SpaceModel | None:
        """The model of a cell, None if the Space does not have it."""
        return None if cell.folder is None else self.models.get(cell.folder.name)


def examples_file(root: Path, dataset: str) -> Path:
    """The file with the test images of a data set."""
    return root / "examples" / f"{digest([dataset])[:12]}.npz"


def write_record(record: StudyRecord, root: Path):
    """Write the results of a study and the places of its models. Equal passports are written once."""
    passports: dict[str, int] = {}
    content = asdict(record.results)
    for cell in content["cells"]:
        cell["folder"] = cell["folder"].name if cell["folder"] is not None else None
        cell["passports"] = {
            name: passports.setdefault(json.dumps(passport, sort_keys=True), len(passports))
            for name, passport in cell["passports"].items()
        }
    written: dict[str, Any] = {
        "format": _FORMAT,
        "results": content,
        "passports": [json.loads(text) for text in passports],
        "models": {name: asdict(model) for name, model in record.models.items()},
    }
    with write_atomically(root / RESULTS_FILE, durable=False) as temporary:
        temporary.write_bytes(gzip.compress(json.dumps(written, separators=(",", ":")).encode(), mtime=0))


def read_record(root: Path) -> StudyRecord:
    """The record in the folder of a Space.

    Raises:
        ValueError: if there is none, or it is damaged or of another version.
    """
    path = root / RESULTS_FILE
    if not path.is_file():
        raise ValueError(f"'{root}' holds no study's Space: write it with gae-hub space STUDY_FOLDER")
    try:
        content: Mapping[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
        if content["format"] != _FORMAT:
            raise ValueError(f"its format is {content['format']}, expected {_FORMAT}")
        models = {name: SpaceModel(**model) for name, model in content["models"].items()}
        cells = [_read_cell(cell, content["passports"], root / MODELS) for cell in content["results"]["cells"]]
        results = replace(StudyResults(**{**content["results"], "cells": []}), cells=cells)
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"'{path}' cannot be read: {error}; write the Space again") from error
    return StudyRecord(results, models, digest([content["results"], content["models"]]))


def _read_cell(cell: Mapping[str, Any], passports: list[dict[str, Any]], models: Path) -> CellResult:
    return CellResult(
        **{
            **cell,
            "folder": None if cell["folder"] is None else models / cell["folder"],
            "passports": {name: passports[index] for name, index in cell["passports"].items()},
        }
    )
