"""Methods with their grids of hyperparameters, read from YAML files.

The grid "paper" has Tables 8 to 21 of the Pythae paper, arXiv:2206.08309. Its header explains the format. Reading a
grid does not import torch.
"""

__all__ = ["Configuration", "Grid", "GridMethod", "built_in_grids", "check_configuration", "load_grid", "read_methods"]

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.yaml_files import read_yaml_file

if TYPE_CHECKING:  # slow to import: `check_configuration` imports what it needs
    from ..models.base import GAEConfig

_FOLDER = Path(__file__).parent / "data" / "grids"
_SCALED = "times_num_values"
_ENTRY_KEYS = ("set", "printed", "seed", "skip", "duplicate_of", "note")
_METHOD_KEYS = ("model", "table", "groups", "samplers", "symbols", "fields", "grid")
_CHOICE_KEYS = ("grids", "only", "configurations", "fields")


@dataclass(frozen=True)
class Configuration:
    """One configuration of a method.

    Args:
        number: its place in the grid, from 1.
        fields: what it sets in the method's config. `GridMethod.resolve_fields` adds the method's fields, and computes
            values that depend on the data.
        printed: its hyperparameters by the names, and with the values, of the paper's table; for reports.
        seed: training seed of this configuration, where a method has no hyperparameters; None for the study's seed.
        skip: why it cannot run, or None.
        duplicate_of: number of an earlier configuration with the same fields, whose results are also its own.
        note: what to know about it, or None.
    """

    number: int
    fields: Mapping[str, Any]
    printed: Mapping[str, Any]
    seed: int | None = None
    skip: str | None = None
    duplicate_of: int | None = None
    note: str | None = None


@dataclass(frozen=True)
class GridMethod:
    """A method and its configurations.

    Args:
        name: name in tables, such as "beta-VAE".
        model: short name of `AutoGAE`, such as "beta_vae".
        table: number of the paper's table with the grid, or None.
        groups: groups for findings; in the grid "paper", the first is "autoencoder" or "variational".
        samplers: keys of the study's samplers that generate with this method, or None for all.
        fields: fields of the config, of every configuration.
        configurations: the selected configurations, in the order of their numbers.
    """

    name: str
    model: str
    table: int | None
    groups: tuple[str, ...]
    samplers: tuple[str, ...] | None
    fields: Mapping[str, Any]
    configurations: tuple[Configuration, ...]

    def resolve_fields(self, configuration: Configuration, input_shape: Sequence[int]) -> dict[str, Any]:
        """All fields that the method and a configuration set.

        Args:
            configuration: one of `configurations`.
            input_shape: shape of one example, by which values written as {times_num_values: b} are multiplied.
        """
        fields = {**self.fields, **configuration.fields}
        return {name: _scale(value, prod(input_shape)) for name, value in fields.items()}


@dataclass(frozen=True)
class Grid:
    """Methods by name, and where they come from."""

    source: str
    methods: Mapping[str, GridMethod]

    def select(
        self,
        only: Collection[str] | None = None,
        configurations: Collection[int] | Mapping[str, Collection[int]] | None = None,
        fields: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> "Grid":
        """A part of the grid, or the grid with other fields.

        Args:
            only: names of the methods to keep, in the order of the grid.
            configurations: numbers of the configurations to keep, for every method or by the method's name; methods
                without a name in it keep all. A duplicate of a configuration that is left out takes its place.
            fields: fields of the config by the method's name, added to those of all its configurations.

        Raises:
            ValueError: if a method or a configuration does not exist.
        """
        for place, names in (("only", only or ()), ("fields", fields or ())):
            _check_names(names, self.methods, place)
        if isinstance(configurations, Mapping):
            _check_names(configurations, self.methods, "configurations")
        methods = {}
        for name, method in self.methods.items():
            if only is not None and name not in only:
                continue
            numbers = configurations.get(name) if isinstance(configurations, Mapping) else configurations
            if numbers is not None:
                method = replace(method, configurations=_keep_numbers(method, numbers))
            added = (fields or {}).get(name, {})
            methods[name] = replace(method, fields={**method.fields, **added})
        return replace(self, methods=methods)


def built_in_grids() -> list[str]:
    """Names of the grids that come with the library."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load_grid(name_or_path: str | Path, folder: Path | None = None) -> Grid:
    """Read a grid.

    Args:
        name_or_path: name of a built-in grid, such as "paper", or path of a YAML file.
        folder: where relative paths begin. Default: the working directory.

    Raises:
        ValueError: if there is no such grid, or the file has an unknown key or a bad value; the message says where.
    """
    if str(name_or_path) in built_in_grids():
        path = _FOLDER / f"{name_or_path}.yaml"
    else:
        path = (folder or Path()) / Path(name_or_path).expanduser()
        if not path.is_file():
            raise ValueError(
                f"there is no grid '{name_or_path}': it is neither a file nor a built-in grid; "
                f"{_suggest(str(name_or_path), built_in_grids())}"
            )
    content = read_yaml_file(path)
    try:
        _check_keys(content, ("source", "methods"), "")
        source = _take(content, "source", str, "", default="")
        return Grid(source, _read_all_methods(_take(content, "methods", dict, "")))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_methods(value: Any, folder: Path | None = None) -> Grid:
    """The methods of a study file.

    Args:
        value: the value of its key `methods`: a name or path for `load_grid`; a dict with the key `grids`, and
            optionally `only`, `configurations` and `fields`, the arguments of `Grid.select`; or methods written out as
            in a grid file.
        folder: folder of the study file, where relative paths begin.

    Raises:
        ValueError: as from `load_grid` and `Grid.select`, or for an unknown key or a bad value.
    """
    if isinstance(value, str):
        return load_grid(value, folder)
    if not isinstance(value, dict) or not value:
        raise ValueError(f"methods: expected the name of a grid or a dict of methods, got {value!r}")
    if "grids" not in value:
        return Grid("", _read_all_methods(value))
    _check_keys(value, _CHOICE_KEYS, "methods")
    grid = load_grid(_take(value, "grids", str, "methods"), folder)
    chosen = value.get("configurations")
    if isinstance(chosen, dict):
        for name in chosen:
            _check_numbers(chosen[name], f"methods.configurations.{name}")
    elif chosen is not None:
        _check_numbers(chosen, "methods.configurations")
    only = None if value.get("only") is None else _take_names(value, "only", "methods")
    fields = _take(value, "fields", dict, "methods", default={})
    for name in fields:
        _check_fields(_take(fields, name, dict, "methods.fields"), f"methods.fields.{name}")
    try:
        return grid.select(only, chosen, fields)
    except ValueError as error:
        raise ValueError(f"methods.{error}") from error


def check_configuration(
    method: GridMethod,
    configuration: Configuration,
    input_shape: Sequence[int],
    latent_dim: int,
    networks: Mapping[str, Any] | None = None,
) -> "GAEConfig":
    """The config of a configuration, whose values are then known to be valid.

    Args:
        method, configuration: of a grid.
        input_shape: shape of one example.
        latent_dim: size of the latent vector.
        networks: `encoder_config` and `decoder_config`. Default: those of the model.

    Raises:
        ValueError: if the method, a field or a value is not valid; the message begins with its place in the grid.
    """
    from ..auto import AutoGAE
    from ..core.configuration import one_error

    fields = method.resolve_fields(configuration, input_shape)
    given = {"input_shape": tuple(input_shape), "latent_dim": latent_dim, **(networks or {})}
    place = f"methods.{method.name}"
    try:
        config_class = AutoGAE.config_class(method.model)
    except ValueError as error:
        raise ValueError(f"{place}.model: {error}") from error
    try:
        with one_error("fields"):
            return config_class(**{**given, **fields})
    except ValueError as error:
        reason: BaseException = error
        while reason.__cause__ is not None:  # the validators of a config wrap their errors
            reason = reason.__cause__
        raise ValueError(f"{place}.grid[{configuration.number}]: {reason}") from error


# Methods


def _read_all_methods(content: dict[str, Any]) -> dict[str, GridMethod]:
    if not content:
        raise ValueError("methods: expected at least one method, got none")
    return {str(name): _read_method(str(name), value) for name, value in content.items()}


def _read_method(name: str, content: Any) -> GridMethod:
    """A method of a grid file."""
    place = f"methods.{name}"
    if not isinstance(content, dict):
        raise ValueError(f"{place}: expected a dict with the keys {', '.join(_METHOD_KEYS)}, got {content!r}")
    _check_keys(content, _METHOD_KEYS, place)
    symbols = _take(content, "symbols", dict, place, default={})
    for field in symbols:
        _take(symbols, field, str, f"{place}.symbols")
    fields = _check_fields(_take(content, "fields", dict, place, default={}), f"{place}.fields")
    entries = _take(content, "grid", list, place, default=[{}])
    configurations: list[Configuration] = []
    for number, entry in enumerate(entries, start=1):
        configuration = _read_entry(number, entry, configurations, symbols, f"{place}.grid[{number}]")
        configurations.append(configuration)
    if not configurations:
        raise ValueError(f"{place}.grid: expected at least one configuration, got none")
    return GridMethod(
        name,
        model=_take(content, "model", str, place),
        table=_take(content, "table", int, place, default=None),
        groups=_take_names(content, "groups", place) if "groups" in content else (),
        samplers=_take_names(content, "samplers", place) if "samplers" in content else None,
        fields=fields,
        configurations=tuple(configurations),
    )


def _keep_numbers(method: GridMethod, numbers: Collection[int]) -> tuple[Configuration, ...]:
    """The configurations with these numbers."""
    known = [configuration.number for configuration in method.configurations]
    for number in numbers:
        if number not in known:
            raise ValueError(
                f"configurations: {method.name} has no configuration {number}; it has {', '.join(map(str, known))}"
            )
    kept, new_places = [], {}
    for configuration in method.configurations:
        if configuration.number not in numbers:
            continue
        original = configuration.duplicate_of
        if original is not None and original not in numbers:
            # the first duplicate of a configuration that is left out runs, and others refer to it
            first = new_places.setdefault(original, configuration.number)
            configuration = replace(configuration, duplicate_of=None if first == configuration.number else first)
        kept.append(configuration)
    return tuple(kept)


# Configurations


def _read_entry(
    number: int, entry: Any, earlier: list[Configuration], symbols: Mapping[str, str], place: str
) -> Configuration:
    """A configuration from an entry of a grid: a dict of fields, or a dict with some of `_ENTRY_KEYS`."""
    if not isinstance(entry, dict):
        raise ValueError(f"{place}: expected a dict of fields, got {entry!r}")
    is_long = any(key in entry for key in _ENTRY_KEYS)
    if is_long:
        _check_keys(entry, _ENTRY_KEYS, place)
    texts = {key: _take(entry, key, str, place, default=None) for key in ("skip", "note")} if is_long else {}
    original = _take(entry, "duplicate_of", int, place, default=None) if is_long else None
    if original is not None:
        return replace(_find_original(original, entry, earlier, place), number=number, duplicate_of=original, **texts)
    seed = _take(entry, "seed", int, place, default=None) if is_long else None
    fields = _check_fields(_take(entry, "set", dict, place, default={}) if is_long else entry, place)
    named = {symbols.get(field, field): _unscaled(value) for field, value in fields.items()}
    if seed is not None:
        named["seed"] = seed
    printed = _take(entry, "printed", dict, place, default=named) if is_long else named
    for configuration in earlier:
        if configuration.fields == fields and configuration.seed == seed:
            raise ValueError(
                f"{place}: it equals configuration {configuration.number}; write {{duplicate_of: "
                f"{configuration.number}}}, so that both share one result"
            )
    return Configuration(number, fields, printed, seed, **texts)


def _find_original(number: int, entry: dict[str, Any], earlier: list[Configuration], place: str) -> Configuration:
    """The configuration that an entry with `duplicate_of` repeats."""
    if not 1 <= number <= len(earlier):
        raise ValueError(f"{place}.duplicate_of: expected the number of an earlier configuration, got {number}")
    found = earlier[number - 1]
    if found.duplicate_of is not None or found.skip is not None:
        what = "skipped" if found.skip else f"a duplicate of {found.duplicate_of}"
        raise ValueError(f"{place}.duplicate_of: configuration {number} is itself {what}")
    given = sorted(entry.keys() - {"duplicate_of", "note"})
    if given:
        raise ValueError(f"{place}: a duplicate has the fields of its original; remove {', '.join(given)}")
    return replace(found, note=None)


def _check_fields(fields: dict[str, Any], place: str) -> dict[str, Any]:
    """Fields by name, whose scaled values are numbers. The config class checks the rest."""
    for name, value in fields.items():
        if isinstance(value, dict) and _SCALED in value:
            _check_keys(value, (_SCALED,), f"{place}.{name}")
            _take(value, _SCALED, float, f"{place}.{name}")
    return fields


def _unscaled(value: Any) -> Any:
    """b for {times_num_values: b}, any other value as it is."""
    return value[_SCALED] if isinstance(value, dict) and _SCALED in value else value


def _scale(value: Any, num_values: int) -> Any:
    """b times the number of values of an example, for {times_num_values: b}."""
    return num_values * value[_SCALED] if isinstance(value, dict) and _SCALED in value else value


# Checks of what YAML files hold

_WORDS = {str: "text", int: "an integer", float: "a number", list: "a list", dict: "a dict"}
_REQUIRED = object()


def _take(content: Mapping[str, Any], key: str, kind: type, place: str, default: Any = _REQUIRED) -> Any:
    """The value of a key, which must have a type. Integers are also floats; booleans are neither."""
    here = f"{place}.{key}" if place else key
    if key not in content:
        if default is _REQUIRED:
            raise ValueError(f"{here} is missing: expected {_WORDS[kind]}")
        return default
    value = content[key]
    fits = type(value) in (int, float) if kind is float else type(value) is kind
    if not fits:
        raise ValueError(f"{here}: expected {_WORDS[kind]}, got {value!r}")
    return value


def _take_names(content: Mapping[str, Any], key: str, place: str) -> tuple[str, ...]:
    """The value of a key, a list of texts without repetition."""
    names = _take(content, key, list, place)
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"{place}.{key}: expected a list of names, got {name!r} in it")
        if names.count(name) > 1:
            raise ValueError(f"{place}.{key}: it names '{name}' {names.count(name)} times; name it once")
    return tuple(names)


def _check_numbers(value: Any, place: str):
    """Raise ValueError unless a value is a list of integers."""
    if not isinstance(value, list) or not value or any(type(number) is not int for number in value):
        raise ValueError(f"{place}: expected a list of numbers of configurations, such as [1, 5], got {value!r}")


def _check_keys(content: Mapping[str, Any], known: Collection[str], place: str):
    """Raise ValueError for an unknown key, with the nearest known one."""
    for key in content:
        if key not in known:
            here = f"{place}: " if place else ""
            raise ValueError(f"{here}there is no key '{key}'; {_suggest(str(key), known)}")


def _check_names(names: Iterable[str], methods: Mapping[str, GridMethod], place: str):
    """Raise ValueError if a method does not exist."""
    for name in names:
        if name not in methods:
            raise ValueError(f"{place}: there is no method '{name}'; {_suggest(str(name), methods)}")


def _suggest(name: str, known: Iterable[str]) -> str:
    from ..core.argument_checks import suggest  # imports torch, which is slow

    return suggest(name, known, "expected one of")
