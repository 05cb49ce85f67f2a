"""Reads the results of a study from its folder: plan and cells, without torch."""

__all__ = ["load_results"]

from pathlib import Path

from .folder import StudyFolder, cell_state
from .loaded_results import LoadedResults
from .method_groups import groups_of
from .plan import CellPlan, StudyPlan
from .results import CellResult
from .store import Cell

DEFAULT_EPOCHS = 20  # of `GAETrainingArguments`, which is slow to import


def load_results(folder: StudyFolder | str | Path, study: str | None = None) -> LoadedResults:
    """The results of the cells of a study, as far as they are done.

    Args:
        folder: the folder that `run_study` or `gae-hub study run` wrote to.
        study: name of the study, if the folder holds several.

    Raises:
        ValueError: if the folder holds no such study, or several and no name is given.
    """
    if not isinstance(folder, StudyFolder):
        folder = StudyFolder.find(folder, study)
    plan = folder.read_plan()
    records = {cell.id: Cell(folder.cell(cell)) for cell in plan.runnable()}
    return LoadedResults(
        name=plan.name,
        title=plan.title,
        methods={
            name: {**method, "groups": list(groups_of(method["model"], method["groups"]))}
            for name, method in plan.methods.items()
        },
        datasets=plan.datasets,
        networks=plan.networks,
        latent_dims=plan.latent_dims,
        samplers=plan.samplers,
        tasks=plan.tasks,
        cells=[_read_cell(folder, cell, records) for cell in plan.cells],
        settings=_describe_settings(plan, records),
    )


def _read_cell(folder: StudyFolder, plan: CellPlan, records: dict[str, Cell]) -> CellResult:
    """The result of a cell. Numbers of steps that are out of date are left out."""
    record = records.get(plan.id)
    common = {
        "method": plan.method,
        "configuration": plan.configuration,
        "fields": plan.fields,
        "dataset": plan.dataset,
        "network": plan.network,
        "latent_dim": plan.latent_dim,
        "seed": plan.seed,
    }
    if record is None or plan.skipped is not None:
        return CellResult(
            **common, state="skipped", numbers={}, passports={}, facts={}, folder=None, error=plan.skipped
        )
    state = cell_state(folder, plan, record)
    current = {name: step for name, step in record.steps.items() if plan.steps.get(name) == step.digest}
    trained = current.get("train")
    facts = {
        "num_epochs": plan.settings["training"].get("num_train_epochs", DEFAULT_EPOCHS),
        "config": plan.settings["config"],
    }
    if trained is not None:
        facts |= {**trained.facts, "train_seconds": trained.seconds}
    if plan.duplicate_of is not None:
        facts["duplicate_of"] = plan.duplicate_of
    facts["skipped_steps"] = {name: step.reason for name, step in current.items() if step.state == "skipped"}
    facts["step_seconds"] = {name: step.seconds for name, step in current.items()}
    failure = record.error if state == "failed" else None
    error = None if failure is None else f"{failure['step']}: {failure['message']}"
    return CellResult(
        **common,
        state=state,
        numbers={name: value for step in current.values() for name, value in step.numbers.items()},
        passports={name: value for step in current.values() for name, value in step.passports.items()},
        facts=facts,
        folder=record.folder,
        error=record.problem or error,
    )


def _describe_settings(plan: StudyPlan, records: dict[str, Cell]) -> dict[str, object]:
    """The settings of the plan, and the devices that cells were trained on."""
    devices = {str(cell.steps["train"].facts.get("device")) for cell in records.values() if "train" in cell.steps}
    shapes = {cell.dataset: cell.settings["config"]["input_shape"] for cell in plan.cells if cell.skipped is None}
    return {**plan.settings, "shapes": shapes, "hardware": ", ".join(sorted(devices)), "omitted": plan.omitted}
