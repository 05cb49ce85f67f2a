"""`Study`: what a study file declares - data, networks, methods with grids, recipe, samplers and tasks."""

__all__ = [
    "BUILTIN_STUDIES",
    "Study",
    "find_study_file",
    "load_study",
    "read_study",
    "read_with_base",
]

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from math import inf, isfinite
from pathlib import Path
from typing import Any, TypeVar

from ..core.argument_checks import describe, suggest
from ..core.configuration import one_error
from ..core.yaml_files import read_yaml_file
from ..metrics.networks.classifier import FeatureClassifierConfig
from ..training.arguments import RECIPES, GAETrainingArguments
from .method_grids import GridMethod, load_grid, read_methods
from .settings import NORMAL, DataSettings, SamplerSettings
from .tasks import TASKS, Task

T = TypeVar("T")

STUDIES_FOLDER = Path(__file__).parent / "data" / "studies"
BUILTIN_STUDIES = tuple(sorted(path.stem for path in STUDIES_FOLDER.glob("*.yaml")))
"""Names of the studies that come with the library."""


@dataclass(frozen=True)
class Study:
    """A study, as its file declares it.

    Args:
        name: letters, digits, "-" and "_"; names its folder.
        title: one line for people.
        data, networks, methods, samplers, tasks: by name, in the order of the file.
        training: fields of `GAETrainingArguments`, with the values of a recipe filled in.
        seeds: each configuration is trained once with each seed.
        latent_dims: numbers of latent dimensions to vary; empty for each data set's own.
        extractor: "trained" for a classifier trained on each data set, or a name of `load_extractor`.
        extractor_training: arguments of `train_extractor`.
        train_together: whether small models of one architecture are trained together.
        hours: time after which no further cell is started.
    """

    name: str
    title: str
    data: dict[str, DataSettings]
    networks: dict[str, dict[str, Any]]
    methods: dict[str, GridMethod]
    training: dict[str, Any]
    seeds: tuple[int, ...]
    latent_dims: tuple[int, ...]
    samplers: dict[str, SamplerSettings]
    tasks: dict[str, Task]
    extractor: str
    extractor_training: dict[str, Any]
    train_together: bool
    hours: float

    @property
    def uses_extractor(self) -> bool:
        """Whether a task compares features."""
        return any(task.uses_extractor for task in self.tasks.values())


def load_study(source: str | Path) -> Study:
    """A built-in study by name, or a study from a YAML file.

    Raises:
        ValueError: if there is no such study or file, or a setting is unknown or has a wrong value. The message names
            the file, the setting, and the nearest right name.
    """
    path = find_study_file(source)
    return read_study(read_with_base(path), str(source))


def find_study_file(source: str | Path) -> Path:
    """The file of a built-in study or of a path."""
    if str(source) in BUILTIN_STUDIES:
        return STUDIES_FOLDER / f"{source}.yaml"
    path = Path(source)
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        raise ValueError(f"there is no study file '{source}'")
    raise ValueError(f"there is no study '{source}'; {suggest(str(source), BUILTIN_STUDIES, 'built-in studies are')}")


def read_with_base(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The settings of a file, on top of those of the study that it extends. Paths of grids become absolute.

    Raises:
        ValueError: if a file is not valid, or the files extend each other in a circle.
    """
    if path.resolve() in seen:
        raise ValueError(f"{path}: the study extends itself: {' -> '.join(one.name for one in (*seen, path))}")
    content = read_yaml_file(path)
    grids = content.get("methods")
    if isinstance(grids, str) and (path.parent / grids).is_file():
        content["methods"] = str((path.parent / grids).resolve())
    elif isinstance(grids, dict) and (path.parent / str(grids.get("grids"))).is_file():
        content["methods"] = {**grids, "grids": str((path.parent / grids["grids"]).resolve())}
    base = content.pop("extends", None)
    if base is None:
        return content
    if not isinstance(base, str):
        raise ValueError(f"{path}: extends: expected the name or path of a study, got {describe(base)}")
    beside = path.parent / base
    try:
        found = beside if beside.is_file() else find_study_file(base)
    except ValueError as error:
        raise ValueError(f"{path}: extends: {error}") from error
    inherited = read_with_base(found, (*seen, path.resolve()))
    return {**inherited, **content}


MAX_SEED = 10**6  # torch accepts seeds below 2**32, and configurations have seeds of their own
_SETTINGS = (
    *("name", "title", "data", "networks", "methods", "only", "training", "seeds", "latent_dims", "samplers"),
    *("tasks", "extractor", "train_together", "budget"),
)


def read_study(content: Mapping[str, Any], where: str) -> Study:
    """The study that the content of a file declares.

    Args:
        content: settings by name.
        where: name of the file, for errors.
    """
    _check_texts(content, where)
    read = _Reader(content, where)
    read.check_names(_SETTINGS)
    name = read.get("name", str)
    _check_part_name(name, where, "name")
    extractor, extractor_training = _read_extractor(content.get("extractor", "trained"), read.at("extractor"))
    methods, names = _read_methods(content.get("methods"), read.at("methods"))
    study = Study(
        name=name,
        title=read.get("title", str, name),
        data=read.parts("data", _read_data),
        networks=read.parts("networks", _read_networks),
        methods=methods,
        training=_read_training(read),
        seeds=tuple(read.integers("seeds", [0], 0, MAX_SEED)),
        latent_dims=tuple(read.integers("latent_dims", [], 1)),
        samplers=read.parts("samplers", _read_sampler, {}),
        tasks=read.parts("tasks", _read_task),
        extractor=extractor,
        extractor_training=extractor_training,
        train_together=read.get("train_together", bool, True),
        hours=_read_budget(content.get("budget"), read.at("budget")),
    )
    for part in ("data", "networks", "methods", "samplers"):
        _check_case(getattr(study, part), f"{where}: {part}")
    _check_references(study, names, content.get("methods"), where)
    if "only" in content:
        study = _select(study, content["only"], read.at("only"))
    for part in ("data", "networks", "methods", "seeds", "tasks"):
        if not getattr(study, part):
            raise ValueError(f"{where}: {part} is empty")
    return study


def _check_texts(content: Any, where: str):
    """Raise ValueError for a text, anywhere in a study, that cannot be written into files and pages."""
    if isinstance(content, str) and any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in content):
        raise ValueError(f"{where}: expected text without control characters, got {describe(content)}")
    if isinstance(content, Mapping):
        for name, value in content.items():
            _check_texts(name, where)
            _check_texts(value, f"{where}: {name}")
    elif isinstance(content, list | tuple):
        for value in content:
            _check_texts(value, where)


class _Reader:
    """Reads the settings of a mapping. Errors name the file and the setting."""

    def __init__(self, content: Any, where: str):
        if not isinstance(content, Mapping):
            raise ValueError(f"{where}: expected settings by name, got {describe(content)}")
        self.content, self.where = content, where

    def at(self, name: str) -> str:
        return f"{self.where}: {name}"

    def check_names(self, known: Collection[str]):
        for name in self.content:
            if name not in known:
                hint = suggest(str(name), known, "settings are")
                raise ValueError(f"{self.where}: unknown setting '{name}'; {hint}")

    def get(self, name: str, kind: type | tuple[type, ...], default: Any = MISSING) -> Any:
        value = self.content.get(name, default)
        if value is MISSING:
            raise ValueError(f"{self.where}: {name} is missing")
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if value is default or (isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))):
            return value
        words = {str: "a text", int: "an integer", float: "a number", bool: "true or false", dict: "settings by name"}
        expected = words[kinds[-1]]
        raise ValueError(f"{self.at(name)}: expected {expected}, got {describe(value)}")

    def count(self, name: str, default: Any = MISSING) -> Any:
        value = self.get(name, int, default)
        if value is not default and value < 1:
            raise ValueError(f"{self.at(name)}: must be 1 or more, got {value}")
        return value

    def mapping(self, name: str, default: Any = MISSING) -> dict[str, Any]:
        found = self.get(name, dict, default)
        return {str(key): value for key, value in found.items()}

    def parts(self, name: str, read: Callable[[str, Any, str], T], default: Any = MISSING) -> dict[str, T]:
        """Each entry of a mapping, read by `read` from its name, its content, and the place of the mapping."""
        for key in self.mapping(name, default):
            _check_part_name(key, self.at(name), "a name")
        return {key: read(key, value, self.at(name)) for key, value in self.mapping(name, default).items()}

    def integers(self, name: str, default: list[int], minimum: int, maximum: float = inf) -> list[int]:
        found = self.content.get(name, default)
        if not isinstance(found, list) or any(type(one) is not int or not minimum <= one <= maximum for one in found):
            limits = f"of {minimum} or more" if maximum == inf else f"from {minimum} to {maximum:,}"
            raise ValueError(f"{self.at(name)}: expected a list of integers {limits}, got {found!r}")
        if len(set(found)) < len(found):
            raise ValueError(f"{self.at(name)}: a number occurs twice in {found}")
        return found


def _check_case(names: Iterable[str], where: str):
    """Raise ValueError for names that differ only by case: some file systems take them for one."""
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(name.lower(), name)
        if other != name:
            raise ValueError(f"{where}: '{other}' and '{name}' differ only by upper and lower case; rename one")


def _check_part_name(name: str, where: str, what: str):
    """Raise ValueError for a name that cannot be the name of a folder, or a part of the name of a number."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name):
        raise ValueError(
            f"{where}: {what} must have 1 to 80 letters (a to z), digits, '-' and '_', got {describe(name)}"
        )


_DATA_NUMBERS = ("num_train", "num_validation", "num_test")


def _read_data(name: str, content: Any, where: str) -> DataSettings:
    from ..data.options import DataOptions, LoadingOptions

    read = _Reader(content, f"{where}.{name}")
    own = ("dataset", "latent_dim", *_DATA_NUMBERS, "training", "load")
    read.check_names((*own, *DataOptions.names()))
    given = {key: value for key, value in read.content.items() if key in DataOptions.names()}
    of_load_dataset = sorted(LoadingOptions.__annotations__.keys() - {*DataOptions.names(), "token"})
    _Reader(read.mapping("load", {}), read.at("load")).check_names(of_load_dataset)
    try:
        DataOptions(**given)
    except ValueError as error:
        raise ValueError(f"{read.where}: {error}") from error
    return DataSettings(
        name,
        read.get("dataset", str),
        read.count("latent_dim", 16),
        {**given, **read.mapping("load", {})},
        **{key: read.count(key, None) for key in _DATA_NUMBERS},
        training=_read_training(read),
    )


def _read_networks(name: str, content: Any, where: str) -> dict[str, Any]:
    read = _Reader(content, f"{where}.{name}")
    read.check_names(("encoder_config", "decoder_config", "fields"))
    for role in ("encoder_config", "decoder_config"):
        if not isinstance(read.content.get(role), (str, dict)):
            raise ValueError(
                f"{read.at(role)}: expected a name or a network's config, got {describe(content.get(role))}"
            )
    of_methods = _Reader(read.mapping("fields", {}), read.at("fields"))
    for method in of_methods.content:
        of_methods.get(method, dict)
    return dict(read.content)


def _read_training(read: _Reader) -> dict[str, Any]:
    """The training arguments of a study, a data set or a sampler. `make_plan` checks their values."""
    found = read.mapping("training", {})
    _Reader(found, read.at("training")).check_names(("recipe", *(item.name for item in fields(GAETrainingArguments))))
    for name, value in found.items():
        if isinstance(value, float) and not isfinite(value):
            raise ValueError(f"{read.at('training')}: {name}: expected a finite number, got {value}")
    if found.get("recipe") is not None and found["recipe"] not in RECIPES:
        hint = suggest(str(found["recipe"]), RECIPES, "recipes are")
        raise ValueError(f"{read.at('training')}: there is no recipe '{found['recipe']}'; {hint}")
    return found


_EXTRACTOR_TRAINING = {"num_train_epochs": (int, float), "learning_rate": (int, float), "batch_size": int, "seed": int}
_EXTRACTOR_FIELDS = ("channels", "feature_dim")


def _read_extractor(content: Any, where: str) -> tuple[str, dict[str, Any]]:
    """Name of the extractor, and the arguments of `train_extractor`."""
    if isinstance(content, str) and content:
        return content, {}
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{where}: expected 'trained', 'inception', the name of a model, or arguments of train_extractor by name, "
            f"got {describe(content)}"
        )
    read = _Reader(content, where)
    read.check_names((*_EXTRACTOR_TRAINING, *_EXTRACTOR_FIELDS))
    for name, kind in _EXTRACTOR_TRAINING.items():
        value = read.get(name, kind, 1)
        if name == "seed" and not 0 <= value < 2**32:
            raise ValueError(f"{read.at(name)}: expected a number from 0 to 2**32 - 1, got {value}")
        if name != "seed" and not 0 < value < inf:
            raise ValueError(f"{read.at(name)}: must be above 0 and finite, got {value}")
    try:
        with one_error("fields"):
            FeatureClassifierConfig(**{name: value for name, value in content.items() if name in _EXTRACTOR_FIELDS})
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return "trained", dict(content)


def _read_methods(content: Any, where: str) -> tuple[dict[str, GridMethod], Collection[str]]:
    """The chosen methods by name, and the names of all methods of the grid."""
    if isinstance(content, str):
        methods = load_grid(content).methods
        return methods, methods
    if isinstance(content, Mapping) and "grids" in content:
        read = _Reader(content, where)
        read.check_names(("grids", "only", "configurations", "training"))
        methods = load_grid(read.get("grids", str)).methods
        only = {"methods": content["only"]} if "only" in content else {}
        chosen = {"configurations": content["configurations"]} if "configurations" in content else {}
        trained = _set_training(methods, read)
        return _select_methods(trained, {**only, **chosen}, where), methods
    if content is None:
        raise ValueError(f"{where} is missing: the name of a grid file, such as 'paper', or methods by name")
    if not isinstance(content, Mapping):
        raise ValueError(f"{where}: expected the name of a grid file, or methods by name, got {describe(content)}")
    methods = read_methods(content, where)
    for name, method in methods.items():
        _read_training(_Reader({"training": method.training}, f"{where}.{name}"))
    return methods, methods


def _set_training(methods: dict[str, GridMethod], read: _Reader) -> dict[str, GridMethod]:
    """The methods of a grid with the training arguments that a study gives them by name."""
    given = _Reader(read.mapping("training", {}), read.at("training"))
    given.check_names(methods)
    found = dict(methods)
    for name in given.content:
        training = _read_training(_Reader({"training": given.content[name]}, given.at(name)))
        found[name] = replace(methods[name], training={**methods[name].training, **training})
    return found


def _check_references(study: Study, methods: Collection[str], given: Any, where: str):
    """Raise ValueError if a part of the study names a method or a sampler that it does not have.

    Grid files may name samplers that a study leaves out; methods that the study itself declares may not.

    Args:
        study: the study.
        methods: names of all methods of its grid, also of those that it does not run.
        given: the setting `methods`.
        where: name of the file.
    """
    for name, network in study.networks.items():
        _Reader(network.get("fields", {}), f"{where}: networks.{name}.fields").check_names(methods)
    if isinstance(given, Mapping) and "grids" not in given:
        for method in study.methods.values():
            for name in method.samplers:
                if name not in study.samplers:
                    hint = suggest(name, study.samplers, "samplers of the study are")
                    raise ValueError(f"{where}: methods.{method.name}.samplers: there is no sampler '{name}'; {hint}")


def _read_sampler(name: str, content: Any, where: str) -> SamplerSettings:
    from ..auto import AutoSampler
    from ..samplers.base import GAESamplerConfig

    read = _Reader(content, f"{where}.{name}")
    kind = read.get("sampler", str)
    training = _read_training(read)
    if kind == NORMAL:
        read.check_names(("sampler",))
        return SamplerSettings(name, kind)
    try:
        config_class = AutoSampler.config_class(kind)
    except ValueError as error:
        raise ValueError(f"{read.at('sampler')}: {error}") from error
    own = set(config_class.own_fields()) - set(GAESamplerConfig.own_fields())
    read.check_names(("sampler", "training", *sorted(own)))
    given = {key: value for key, value in read.content.items() if key in own}
    try:
        with one_error("fields"):
            config_class(**given)
    except ValueError as error:
        reason: BaseException = error
        while reason.__cause__ is not None:  # validators of configs wrap their errors
            reason = reason.__cause__
        raise ValueError(f"{read.where}: {reason}") from error
    return SamplerSettings(name, kind, given, training)


def _read_task(name: str, content: Any, where: str) -> Task:
    if name not in TASKS:
        raise ValueError(f"{where}: unknown task '{name}'; {suggest(name, TASKS, 'tasks are')}")
    read = _Reader({} if content is None else content, f"{where}.{name}")
    read.check_names([item.name for item in fields(TASKS[name])])
    for key, value in read.content.items():
        if isinstance(getattr(TASKS[name], key), bool) and not isinstance(value, bool):
            raise ValueError(f"{read.at(key)}: expected true or false, got {describe(value)}")
    try:
        return TASKS[name](**read.content)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{read.where}: {error}") from error


def _read_budget(content: Any, where: str) -> float:
    if content is None:
        return inf
    read = _Reader(content, where)
    read.check_names(("hours",))
    hours = read.get("hours", (int, float))
    if not hours > 0:
        raise ValueError(f"{read.at('hours')}: must be above 0, got {hours}")
    return float(hours)


# Parts of a study


def _select(study: Study, content: Any, where: str) -> Study:
    """The part of a study that `only` names."""
    read = _Reader(content, where)
    read.check_names(("data", "networks", "methods", "configurations"))
    changes: dict[str, Any] = {}
    for part in ("data", "networks"):
        if part in read.content:
            changes[part] = _choose(getattr(study, part), read.content[part], read.at(part))
    chosen = {key: read.content[key] for key in ("methods", "configurations") if key in read.content}
    return replace(study, **changes, methods=_select_methods(study.methods, chosen, where))


def _choose(known: Mapping[str, Any], names: Any, where: str) -> dict[str, Any]:
    """The entries with these names, in the order of `known`."""
    if not isinstance(names, list):
        raise ValueError(f"{where}: expected a list of names, got {describe(names)}")
    for name in names:
        if str(name) not in known:
            raise ValueError(f"{where}: there is no '{name}'; {suggest(str(name), known, 'names are')}")
    chosen = {str(name) for name in names}
    return {name: value for name, value in known.items() if name in chosen}


def _select_methods(methods: dict[str, GridMethod], content: Mapping[str, Any], where: str) -> dict[str, GridMethod]:
    """Methods by name, with configurations by number: a list for all methods, or for some of them by name."""
    if "methods" in content:
        methods = _choose(methods, content["methods"], f"{where}: methods")
    chosen = content.get("configurations")
    if chosen is None:
        return methods
    place = f"{where}: configurations"
    if isinstance(chosen, Mapping):
        _choose(methods, list(chosen), place)
    elif not isinstance(chosen, list):
        raise ValueError(f"{place}: expected numbers, or a list of numbers for each method, got {describe(chosen)}")
    found = {}
    for name, method in methods.items():
        numbers = chosen.get(name) if isinstance(chosen, Mapping) else chosen
        found[name] = method if numbers is None else _select_configurations(method, numbers, place)
    return found


def _select_configurations(method: GridMethod, numbers: Any, where: str) -> GridMethod:
    """A method with some of its configurations. One that repeats a configuration that is left out takes its place."""
    known = [one.number for one in method.configurations]
    is_list = isinstance(numbers, list) and numbers and all(type(number) is int for number in numbers)
    if not is_list or set(numbers) - set(known):
        raise ValueError(
            f"{where}: {method.name}: expected numbers of its {len(known)} configurations, got {numbers!r}"
        )
    kept, originals = [], {}
    for one in method.configurations:
        if one.number in numbers:
            first = originals.setdefault(one.duplicate_of or one.number, one.number)
            kept.append(replace(one, duplicate_of=None if first == one.number else first))
    return replace(method, configurations=tuple(kept))
