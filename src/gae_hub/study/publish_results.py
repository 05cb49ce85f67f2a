"""The results of a study as a data set: Parquet files with one row per number and per cell, tables, and a card."""

__all__ = ["CELL_COLUMNS", "COLUMNS", "build_results", "count_states", "number_rows"]

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..core.files import write_atomically
from ..hub.cards.escaping import clean, code, escape
from ..hub.cards.front_matter import dump_metadata
from ..hub.cards.license import DEFAULT_LICENSE
from ..hub.cards.merging import BEGIN, END, write_merged
from .results import CellResult, StudyResults
from .table_parquet import parquet_bytes
from .tables import build_tables

Columns = dict[str, tuple[str, str]]

_CELL_COLUMNS: Columns = {
    "study": ("string", "name of the study"),
    "method": ("string", "name of the method"),
    "model": ("string", "short name of the method in `AutoGAE`"),
    "configuration": ("int64", "number of the configuration in the grid of its method, from 1"),
    "fields": ("string", "what the configuration sets, as JSON"),
    "dataset": ("string", "name of the data set in the study"),
    "network": ("string", "name of the networks in the study"),
    "latent_dim": ("int64", "number of latent dimensions"),
    "seed": ("int64", "seed of the training"),
}
COLUMNS: Columns = {
    **_CELL_COLUMNS,
    "task": ("string", "what was measured: reconstruction, generation, ..."),
    "sampler": ("string", "sampler of the generated images"),
    "metric": ("string", "name of the number; MSE is per pixel value, accuracies are proportions"),
    "split": ("string", "split that was measured; configurations are chosen on validation"),
    "value": ("float64", "the number"),
    "unit": ("string", "nats or seconds, where the number has a unit"),
    "interval_low": ("float64", "lower end of the 95 % interval"),
    "interval_high": ("float64", "upper end of the 95 % interval"),
    "interval_of": (
        "string",
        "`population`: of the value for infinitely many images; `same_count`: of its expectation for as many images",
    ),
    "num_samples": ("int64", "number of measured samples"),
    "num_references": ("int64", "number of references that they were compared with"),
    "extractor": ("string", "network whose features were compared"),
    "extractor_sha256": ("string", "SHA-256 of its tensors: values of different extractors cannot be compared"),
    "library": ("string", "library that measured, and its version"),
    "model_repo": ("string", "repository of the model, if it is published"),
    "passport": ("string", "the complete record of the measurement, as JSON"),
}
"""Type and description of each column of the results."""

CELL_COLUMNS: Columns = {
    **_CELL_COLUMNS,
    "state": ("string", "done, failed, skipped, running or waiting"),
    "reason": ("string", "why the cell failed or was skipped"),
    "duplicate_of": ("int64", "configuration with equal values, whose model this one shares"),
    "num_parameters": ("int64", "number of parameters"),
    "num_epochs": ("int64", "number of epochs"),
    "train_seconds": ("float64", "duration of the training"),
    "device": ("string", "device of the training"),
    "model_repo": ("string", "repository of the model, if it is published"),
}
"""Type and description of each column of the cells."""

_SPLITS = ("train", "validation", "test")
_UNITS = {"log_likelihood": "nats", "seconds": "s"}
_INTERVALS = {"interval": "population", "same_count_interval": "same_count"}


def build_results(
    results: StudyResults, repos: Mapping[Path, str], repo_id: str, page_repo: str, license: str | None, folder: Path
):
    """Write the content of the data set into a folder.

    Args:
        results: results of the study.
        repos: folder of each published cell to the repository of its model.
        repo_id: repository of the data set.
        page_repo: the Space with the page.
        license: license for the card.
        folder: empty, or with the README.md of the repository.
    """
    _write_parquet(folder / "data" / "results.parquet", COLUMNS, number_rows(results, repos))
    _write_parquet(folder / "data" / "cells.parquet", CELL_COLUMNS, _cell_rows(results, repos))
    files = {"results": "data/results.parquet", "cells": "data/cells.parquet"}
    for table in build_tables(results):
        files[table.name] = f"tables/{table.name}.parquet"
        with write_atomically(folder / files[table.name], durable=False) as temporary:
            temporary.write_bytes(parquet_bytes(table))
    write_merged(folder / "README.md", _render_card(results, files, repos, repo_id, page_repo, license))


def number_rows(results: StudyResults, repos: Mapping[Path, str]) -> Iterator[dict[str, Any]]:
    """One row for each number of each cell that is done.

    Args:
        results: results of the study.
        repos: folder of each published cell to the repository of its model.
    """
    for cell in results.cells:
        if cell.state != "done":
            continue
        for name, value in cell.numbers.items():
            passport = cell.passports.get(name, {})
            kind = next((field for field in _INTERVALS if passport.get(field)), "")
            low, high = passport[kind] if kind else (None, None)
            kept = ("num_samples", "num_references", "extractor", "extractor_sha256", "library")
            named = _split_name(name)
            yield {
                **_describe(results, cell),
                **named,
                "value": value,
                "unit": _UNITS.get(str(named["metric"])),
                "interval_low": low,
                "interval_high": high,
                "interval_of": _INTERVALS.get(kind),
                **{field: passport.get(field) for field in kept},
                "model_repo": repos.get(cell.folder) if cell.folder is not None else None,
                "passport": json.dumps(passport, sort_keys=True) if passport else None,
            }


def _cell_rows(results: StudyResults, repos: Mapping[Path, str]) -> Iterator[dict[str, Any]]:
    for cell in results.cells:
        facts = ("duplicate_of", "num_parameters", "num_epochs", "train_seconds", "device")
        yield {
            **_describe(results, cell),
            "state": cell.state,
            "reason": cell.error,
            **{name: cell.facts.get(name) for name in facts},
            "model_repo": repos.get(cell.folder) if cell.folder is not None else None,
        }


def _describe(results: StudyResults, cell: CellResult) -> dict[str, Any]:
    return {
        "study": results.name,
        "method": cell.method,
        "model": results.methods[cell.method].get("model"),
        "configuration": cell.configuration,
        "fields": json.dumps(cell.fields, sort_keys=True),
        "dataset": cell.dataset,
        "network": cell.network,
        "latent_dim": cell.latent_dim,
        "seed": cell.seed,
    }


def _split_name(name: str) -> dict[str, str | None]:
    """Task, sampler, metric and split from "generation/gmm/fid/test" or "training/seconds"."""
    task, *parts = name.split("/")
    split = parts.pop() if parts[-1] in _SPLITS else None
    sampler = parts.pop(0) if task == "generation" else None
    return {"task": task, "sampler": sampler, "metric": "/".join(parts), "split": split}


def _write_parquet(path: Path, columns: Columns, rows: Iterator[dict[str, Any]]):
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, (kind, _) in columns.items()])
    with write_atomically(path, durable=False) as temporary:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema=schema), temporary)


def _render_card(
    results: StudyResults,
    files: dict[str, str],
    repos: Mapping[Path, str],
    repo_id: str,
    page_repo: str,
    license: str | None,
) -> str:
    """The data set's card."""
    configs = [{"config_name": name, "data_files": file} for name, file in files.items()]
    metadata = {
        "license": license or DEFAULT_LICENSE,
        "pretty_name": f"Results of {clean(results.title)}",
        "tags": ["gae-hub", "gae-hub-study"],
        "configs": [{**configs[0], "default": True}, *configs[1:]],
    }
    num_models = len(set(repos.values()))
    published = f"{num_models} of its models are published, see the column `model_repo`. " if num_models else ""
    lines = [
        "---",
        dump_metadata(metadata),
        "---",
        "",
        BEGIN,
        "",
        f"# {escape(results.title)}",
        "",
        f"Results of a study of generative autoencoders, {code(results.name)}, made with "
        "[gae_hub](https://github.com/gae-hub/gae_hub). "
        f"{published}Tables and figures: [{page_repo}](https://huggingface.co/spaces/{page_repo}).",
        "",
        "Cells (a configuration of a method with its data set, network, number of latent dimensions and seed): "
        f"{count_states(results)}.",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        f'results = load_dataset("{repo_id}", split="train").to_pandas()',
        f'cells = load_dataset("{repo_id}", "cells", split="train").to_pandas()',
        "```",
        "",
        "## Results",
        "",
        "`data/results.parquet` has one row for each number of each cell that is done:",
        "",
        *_describe_columns(COLUMNS),
        "",
        "## Cells",
        "",
        "`data/cells.parquet` has one row for each cell, also for those that are not done. Its other columns are:",
        "",
        *_describe_columns({name: CELL_COLUMNS[name] for name in CELL_COLUMNS if name not in _CELL_COLUMNS}),
        "",
        "## Tables",
        "",
        "The tables of the report, one row for each entry. Configurations are chosen on validation: "
        + ", ".join(f"`{name}`" for name in list(files)[2:])
        + ".",
        "",
        END,
        "",
    ]
    return "\n".join(lines)


def count_states(results: StudyResults) -> str:
    """Number of cells by state, in words."""
    counts = Counter(cell.state for cell in results.cells)
    states = ("done", "failed", "skipped", "running", "waiting")
    return ", ".join(f"{counts[state]} {state}" for state in states if counts[state])


def _describe_columns(columns: Columns) -> list[str]:
    rows = [f"| `{name}` | {kind} | {text} |" for name, (kind, text) in columns.items()]
    return ["| column | type | content |", "|---|---|---|", *rows]
