"""Makes the plan of a study: checks every configuration, and computes the digests of its cells."""

__all__ = ["find_density_class", "make_plan"]

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from .._version import __version__
from ..auto import AutoGAE, AutoSampler
from ..models.base import GAEConfig
from ..samplers.base import GAESampler
from ..samplers.learned import LearnedSampler
from ..samplers.per_class import PerClassSampler
from ..training.arguments import RECIPES, GAETrainingArguments
from ..training.model_checks import check_data
from .declaration import Study
from .digests import digest
from .method_grids import Configuration, GridMethod, check_configuration
from .plan import CellPlan, StudyPlan
from .settings import NORMAL, DataSettings, SamplerSettings
from .stacking import can_stack_arguments, stack_key
from .store import hash_file
from .study_data import StudyData

MAX_STACK = 16  # cells that train together
FORMAT = 1  # of results: increase it when cells of an older library must not be used
SAMPLER_FORMAT = 2  # of fitted samplers: the same. Since 2, they are fitted to samples of the posteriors
# training arguments that do not change the trained model
_WITHOUT_EFFECT = {"disable_tqdm", "keep_freed_memory", "logging_steps", "logging_strategy", "report_to", "run_name"}
_SEED_STEP = 1000  # between the seeds of a study, for configurations that have seeds of their own
_SET_BY_STUDY = {"output_dir", "overwrite_output_dir", "seed", "resume_from_checkpoint", "push_to_hub"}


def make_plan(study: Study, data: Mapping[str, StudyData]) -> StudyPlan:
    """The plan of a study on its data.

    Args:
        study: the declaration.
        data: its data sets by name.

    Raises:
        ValueError: for a configuration, a training argument or a network that does not fit, or labels of the data that
            do not fit `num_classes` of a method or a sampler, before anything runs.
    """
    used = {sampler.name for method in study.methods.values() for sampler in samplers_of(study, method)}
    for sampler in study.samplers.values():
        _check_training(training_of_sampler(sampler), f"samplers.{sampler.name}.training")
        if sampler.name in used:
            _check_classes(sampler, data)
    omitted = {name: find_omitted_tasks(study, data[name]) for name in study.data}
    dimensions = {name: list(study.latent_dims or (one.latent_dim,)) for name, one in study.data.items()}
    cells = [
        cell
        for dataset in study.data.values()
        for network in study.networks
        for latent_dim in dimensions[dataset.name]
        for method in study.methods.values()
        for cell in _plan_method(study, data[dataset.name], network, latent_dim, method, omitted[dataset.name])
    ]
    return StudyPlan(
        name=study.name,
        title=study.title,
        methods={
            name: {
                "model": method.model,
                "groups": list(method.groups),
                "samplers": [sampler.name for sampler in samplers_of(study, method)],
                "table": method.table,
                **({"training": method.training} if method.training else {}),
            }
            for name, method in study.methods.items()
        },
        datasets=list(study.data),
        networks=list(study.networks),
        samplers=list(study.samplers),
        latent_dims=dimensions,
        tasks={name: asdict(task) for name, task in study.tasks.items()},
        omitted=omitted,
        settings={
            "training": {name: _describe_training(study, one) for name, one in study.data.items()},
            "data": {name: asdict(one) for name, one in study.data.items()},
            "sizes": {name: data[name].sizes for name in study.data},
            "networks": study.networks,
            "extractor": study.extractor,
            "samplers": {name: asdict(one) for name, one in study.samplers.items()},
            "seeds": list(study.seeds),
            "versions": versions(),
        },
        cells=_divide_groups(_mark_duplicates(cells)),
    )


def versions() -> dict[str, str]:
    """The versions that results depend on."""
    return {"gae_hub": __version__, "torch": ".".join(torch.__version__.split(".")[:2])}


def training_of(study: Study, data: DataSettings, method: GridMethod | None = None) -> dict[str, Any]:
    """The training arguments for a data set, and for a method if one is given, with the values of recipes."""
    found: dict[str, Any] = {}
    for given in (study.training, data.training, method.training if method is not None else {}):
        rest = dict(given)
        recipe = rest.pop("recipe", None)
        found |= {**(RECIPES[recipe] if recipe is not None else {}), **rest}
    return found


def _describe_training(study: Study, data: DataSettings) -> dict[str, Any]:
    """The training arguments for a data set, with the name of the recipe, for reports."""
    return {"recipe": data.training.get("recipe", study.training.get("recipe")), **training_of(study, data)}


def samplers_of(study: Study, method: GridMethod) -> list[SamplerSettings]:
    """The study's samplers that a method is sampled with: those that its grid names, or all."""
    return [one for name, one in study.samplers.items() if not method.samplers or name in method.samplers]


def find_omitted_tasks(study: Study, data: StudyData) -> dict[str, str]:
    """Tasks that a data set cannot have, and why."""
    found = {}
    for name, task in study.tasks.items():
        if task.needs_labels and not data.has_labels:
            found[name] = "the data have no labels"
        elif task.needs_labels and not data.has_classes:
            found[name] = "all examples have the same label"
        elif task.needs_sampler and not study.samplers:
            found[name] = "the study has no samplers"
        elif task.uses_extractor and not can_compare_features(study, data):
            reason = "an extractor needs images with 1 or 3 channels"
            if data.is_images:
                what = "no labels" if not data.has_labels else "only one label"
                reason = f"the data have {what} to train an extractor on: set extractor to 'inception' or a model"
            found[f"{name}/fid"] = reason
    return found


def can_compare_features(study: Study, data: StudyData) -> bool:
    """Whether the study's extractor accepts a data set, and can be trained on it if it has to be."""
    return data.is_images and (study.extractor != "trained" or data.has_classes)


def _plan_method(
    study: Study, data: StudyData, network: str, latent_dim: int, method: GridMethod, omitted: Mapping[str, str]
) -> list[CellPlan]:
    """The cells of a method on a data set, with a network and a latent dimension."""
    cells = []
    for configuration in method.configurations:
        own_seed = configuration.fields.get("seed")
        for seed in study.seeds:
            cell = _plan_cell(
                study,
                data,
                network,
                latent_dim,
                method,
                configuration,
                seed if own_seed is None else own_seed + _SEED_STEP * seed,
            )
            steps = {"train": cell.id} | _plan_steps(study, data, method, cell.id, omitted)
            cells.append(replace(cell, id=f"{method.model.replace('_', '-')}-{cell.id[:12]}", steps=steps))
    return cells


def _plan_cell(
    study: Study,
    data: StudyData,
    network: str,
    latent_dim: int,
    method: GridMethod,
    configuration: Configuration,
    seed: int,
) -> CellPlan:
    """A cell without steps, whose id is the digest of its settings."""
    networks = study.networks[network]
    network_fields = networks.get("fields", {}).get(method.name)
    values = {
        "input_shape": list(data.input_shape),
        "latent_dim": latent_dim,
        **{name: value for name, value in networks.items() if name != "fields"},
        **method.resolve_fields(configuration, data.input_shape, network_fields),
    }
    training, group = training_of(study, data.settings, method), None
    arguments = _check_training(training, f"methods.{method.name}.training" if method.training else "training")
    if configuration.skip is None:
        config = check_configuration(method, configuration, values)
        group = _group_of(study, data, method, config, arguments, seed)
        if seed == study.seeds[0] or "seed" in configuration.fields:
            place = f"methods.{method.name}.grid[{configuration.number}]"
            _check_fit(config, arguments, data, f"data.{data.settings.name}, networks.{network}, {place}")
    settings = {
        "format": FORMAT,
        "versions": versions(),
        "model": method.model,
        "config": values,
        "training": training,
        "seed": seed,
        "data": {name: data.fingerprints[name] for name in ("train", "validation")},
    }
    ignored = _WITHOUT_EFFECT - ({"logging_steps"} if arguments.eval_strategy == "steps" else set())  # see eval_steps
    results = {name: value for name, value in training.items() if name not in ignored}
    return CellPlan(
        id=digest({**settings, "training": results}),
        method=method.name,
        configuration=configuration.number,
        fields=configuration.printed,
        dataset=data.settings.name,
        network=network,
        latent_dim=latent_dim,
        seed=seed,
        settings=settings,
        steps={},
        group=group,
        skipped=configuration.skip,
        duplicate_of=configuration.duplicate_of,
    )


def _check_fit(config: GAEConfig, arguments: GAETrainingArguments, data: StudyData, place: str):
    """Raise ValueError if a model cannot be built, or not be trained on the data. It is built without memory."""
    try:
        with torch.device("meta"):
            model = AutoGAE.from_config(config)
        check_data(model, arguments, data.splits["train"], data.splits["validation"])
        if config.num_classes is not None:
            data.check_labels(config.num_classes, allow_missing=config.condition_dropout > 0)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def _check_classes(sampler: SamplerSettings, data: Mapping[str, StudyData]):
    """Raise ValueError if a sampler with classes has no number of them, or the labels of the data do not fit it."""
    num_classes, place = sampler.fields.get("num_classes"), f"samplers.{sampler.name}"
    if num_classes is None:
        if sampler.sampler != NORMAL and AutoSampler.model_class(sampler.sampler) is PerClassSampler:
            raise ValueError(f"{place}: num_classes is missing: set it to the number of classes in the data")
        return
    for name, one in data.items():
        try:
            one.check_labels(num_classes)
        except ValueError as error:
            raise ValueError(f"data.{name}, {place}: {error}") from error


def _check_training(training: Mapping[str, Any], where: str) -> GAETrainingArguments:
    """The training arguments; ValueError if one has a wrong value, or is set by the study."""
    taken = sorted(_SET_BY_STUDY & training.keys())
    if taken:
        raise ValueError(f"{where}: {taken[0]} is set by the study itself; remove it")
    try:
        return GAETrainingArguments("unused", **{**training, "report_to": "none"})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def _group_of(
    study: Study,
    data: StudyData,
    method: GridMethod,
    config: GAEConfig,
    arguments: GAETrainingArguments,
    seed: int,
) -> str | None:
    """Name of the group of cells that can be trained together with this one, or None."""
    key = stack_key(config) if study.train_together else None
    if key is None or can_stack_arguments(arguments) is not None:
        return None
    own = [method.training] if method.training else []
    return digest([repr(key), data.settings.name, data.fingerprints, seed, *own])[:12]


def _plan_steps(
    study: Study, data: StudyData, method: GridMethod, trained: str, omitted: Mapping[str, str]
) -> dict[str, str]:
    """Digest by step, of those after the training."""
    found: dict[str, str] = {}
    samplers = samplers_of(study, method)
    extractor = extractor_digest(study, data)
    fingerprints = data.fingerprints
    for name, task in study.tasks.items():
        if name in omitted:
            continue
        parts = [name, asdict(task), fingerprints, extractor if task.uses_extractor else None, FORMAT]
        if not task.needs_sampler:
            found[name] = digest([trained, *parts])
            continue
        for sampler in samplers:
            fitted = digest([trained, SAMPLER_FORMAT, sampler.sampler, sampler.fields, training_of_sampler(sampler)])
            found[f"sampler/{sampler.name}"] = fitted
            found[f"{name}/{sampler.name}"] = digest([fitted, *parts])
    return found


def find_density_class(sampler: SamplerSettings) -> type[GAESampler]:
    """The Python class of a sampler other than "normal". For `per_class`, that of the samplers inside it."""
    config = AutoSampler.config_class(sampler.sampler)(**sampler.fields)
    return AutoSampler.model_class(getattr(config, "sampler_config", config).model_type)


def training_of_sampler(sampler: SamplerSettings) -> dict[str, Any]:
    """The training arguments of a sampler, with its class's defaults."""
    if sampler.sampler == NORMAL:
        return {}
    sampler_class = find_density_class(sampler)
    if not issubclass(sampler_class, LearnedSampler):
        if sampler.training:
            raise ValueError(f"samplers.{sampler.name}: '{sampler.sampler}' is not trained, but it has `training`")
        return {}
    training = dict(sampler.training)
    recipe = training.pop("recipe", None)
    return {**sampler_class.default_arguments, **(RECIPES[recipe] if recipe is not None else {}), **training}


def extractor_digest(study: Study, data: StudyData) -> str | None:
    """Digest of what the extractor depends on; None if no task uses one, or it does not accept the data."""
    if not study.uses_extractor or not can_compare_features(study, data):
        return None
    if study.extractor != "trained":
        folder = Path(study.extractor)
        files = sorted(file for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []
        content = [[file.name, hash_file(file)] for file in files]
        return digest([study.extractor, *content] if content else study.extractor)
    return digest([data.fingerprints, study.extractor_training, versions(), FORMAT])


def _mark_duplicates(cells: list[CellPlan]) -> list[CellPlan]:
    """Give cells of equal settings one folder, whatever the names and numbers of their configurations.

    A cell whose steps differ, such as one that is measured on another test split, gets a folder of its own.
    """
    folders: dict[str, list[tuple[str, dict[str, str]]]] = {}
    found = []
    for cell in cells:
        known = folders.setdefault(cell.steps["train"], [])
        for shared, steps in known:
            if all(steps.get(name, own) == own for name, own in cell.steps.items()):
                folder = shared
                steps |= cell.steps
                break
        else:
            folder = f"{cell.id}-{len(known)}" if known else cell.id
            known.append((folder, dict(cell.steps)))
        found.append(replace(cell, id=folder))
    return found


def _divide_groups(cells: list[CellPlan]) -> list[CellPlan]:
    """Divide groups into parts of at most `MAX_STACK` cells, named after these. A cell alone has no group.

    Weights depend on the cells of a part by rounding, so that workers must not choose them.
    """
    members: dict[str, dict[str, None]] = {}
    for cell in cells:
        if cell.group is not None and cell.skipped is None:
            members.setdefault(cell.group, {})[cell.id] = None
    parts: dict[str, str] = {}
    for group in members.values():
        ids = list(group)
        for start in range(0, len(ids), MAX_STACK):
            part = ids[start : start + MAX_STACK]
            if len(part) > 1:
                parts |= dict.fromkeys(part, digest(part)[:12])
    return [replace(cell, group=parts.get(cell.id)) for cell in cells]
