"""Methods with their grids of hyperparameters, read from YAML files.

The grid "paper" has Tables 8 to 21 of the Pythae paper, arXiv:2206.08309; its header explains the format. Reading a
grid does not import torch.
"""

__all__ = ["BUILTIN_GRIDS", "Configuration", "Grid", "GridMethod", "check_configuration", "load_grid", "read_methods"]

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.yaml_files import read_yaml_file
from .method_groups import groups_of

if TYPE_CHECKING:  # slow to import: `check_configuration` imports what it needs
    from ..models.base import GAEConfig

GRIDS_FOLDER = Path(__file__).parent / "data" / "grids"
BUILTIN_GRIDS = tuple(sorted(path.stem for path in GRIDS_FOLDER.glob("*.yaml")))
"""Names of the grids that come with the library."""

_SCALED = "times_num_values"
_METHOD_KEYS = ("model", "table", "groups", "samplers", "symbols", "fields", "training", "grid")
_ENTRY_KEYS = ("set", "printed", "skip", "duplicate_of", "note")


@dataclass(frozen=True)
class Configuration:
    """One configuration of a method.

    Args:
        number: its place in the grid, from 1.
        fields: fields of the method's config, and "seed" for the seed of the training. `GridMethod.resolve_fields`
            computes the values that depend on the data.
        printed: the hyperparameters with the names and values of the paper's table, for reports.
        skip: why it cannot run, or None.
        duplicate_of: number of an earlier configuration with the same fields, whose result it shares, or None.
        note: what to know about it, or None.
    """

    number: int
    fields: dict[str, Any]
    printed: dict[str, Any]
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
        groups: groups for findings and charts: those that are written out, and those of the model.
        samplers: keys of the study's samplers that generate with this method; empty for all.
        fields: fields of the config, of every configuration.
        configurations: the configurations, in the order of their numbers.
        training: training arguments of this method, which replace those of the study and of the data.
    """

    name: str
    model: str
    table: int | None
    groups: tuple[str, ...]
    samplers: tuple[str, ...]
    fields: dict[str, Any]
    configurations: tuple[Configuration, ...]
    training: dict[str, Any] = field(default_factory=dict)

    def resolve_fields(
        self,
        configuration: Configuration,
        input_shape: Sequence[int],
        network_fields: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The fields of the config for one configuration, without its seed.

        Args:
            configuration: one of `configurations`.
            input_shape: shape of one example, by whose size values written as {times_num_values: b} are multiplied.
            network_fields: fields that a study sets for this method with one of its networks. They replace those of
                the method; those of the configuration replace both.
        """
        fields = {**self.fields, **(network_fields or {}), **configuration.fields}
        fields.pop("seed", None)
        num_values = prod(input_shape)
        return {name: num_values * value[_SCALED] if _is_scaled(value) else value for name, value in fields.items()}


@dataclass(frozen=True)
class Grid:
    """Methods by name, in the order of the tables, and where their grids come from."""

    source: str
    methods: dict[str, GridMethod]


def load_grid(name_or_path: str | Path) -> Grid:
    """Read a grid.

    Args:
        name_or_path: name of a built-in grid, such as "paper", or path of a YAML file.

    Raises:
        ValueError: if there is no such grid, or it has an unknown key or a bad value; the message says where.
    """
    path = GRIDS_FOLDER / f"{name_or_path}.yaml" if str(name_or_path) in BUILTIN_GRIDS else Path(name_or_path)
    if not path.is_file():
        hint = _suggest(str(name_or_path), BUILTIN_GRIDS)
        raise ValueError(f"there is no grid '{name_or_path}', neither a file nor a built-in one; {hint}")
    content = read_yaml_file(path)
    _check_keys(content, ("source", "methods"), str(path))
    methods = read_methods(_take(content, "methods", dict, str(path)), f"{path}: methods")
    return Grid(_take(content, "source", str, str(path), default=""), methods)


def read_methods(content: Mapping[str, Any], where: str = "methods") -> dict[str, GridMethod]:
    """Methods by name, as they are written in grid files and in studies.

    Args:
        content: name of the method to its model, fields and grid.
        where: place of the content, with which errors begin.

    Raises:
        ValueError: for an unknown key, with the nearest right one, or for a value of another type.
    """
    if not content:
        raise ValueError(f"{where}: expected at least one method, got none")
    if not all(str(name).strip() for name in content):
        raise ValueError(f"{where}: expected a name for each method, got an empty one")
    return {str(name): _read_method(str(name), value, f"{where}.{name}") for name, value in content.items()}


def check_configuration(method: GridMethod, configuration: Configuration, values: Mapping[str, Any]) -> "GAEConfig":
    """Build the config of a configuration, which checks all values.

    Args:
        method, configuration: of a grid; they name the place in errors.
        values: all fields of the config: `input_shape`, `latent_dim`, the networks, and those of
            `GridMethod.resolve_fields`.

    Raises:
        ValueError: if the model, a field or a value is not valid; the message begins with its place in the grid.
    """
    from ..auto import AutoGAE
    from ..core.configuration import one_error

    try:
        config_class = AutoGAE.config_class(method.model)
    except ValueError as error:
        raise ValueError(f"methods.{method.name}.model: {error}") from error
    try:
        with one_error("fields"):
            config = config_class(**values)
        if config.condition_dim is not None:
            raise ValueError(
                f"condition_dim is {config.condition_dim}, but the data of a study have labels and no vectors: remove "
                "condition_dim, or set num_classes instead"
            )
        return config
    except ValueError as error:
        reason: BaseException = error
        while reason.__cause__ is not None:  # validators of configs wrap their errors
            reason = reason.__cause__
        raise ValueError(f"methods.{method.name}.grid[{configuration.number}]: {reason}") from error


# Methods


def _read_method(name: str, content: Any, where: str) -> GridMethod:
    """A method of a grid file."""
    if not isinstance(content, dict):
        raise ValueError(f"{where}: expected a dict with the keys {', '.join(_METHOD_KEYS)}, got {content!r}")
    _check_keys(content, _METHOD_KEYS, where)
    symbols = _take(content, "symbols", dict, where, default={})
    for name_of_field in symbols:
        symbol = _take(symbols, name_of_field, str, f"{where}.symbols")
        others = [other for other in symbols if other != name_of_field and symbols[other] == symbol]
        if others:
            raise ValueError(f"{where}.symbols: {name_of_field} and {others[0]} have the same symbol '{symbol}'")
    entries = _take(content, "grid", list, where, default=[{}])
    if not entries:
        raise ValueError(f"{where}.grid: expected at least one configuration, got none")
    configurations: list[Configuration] = []
    for number, entry in enumerate(entries, start=1):
        configurations.append(_read_entry(entry, configurations, symbols, f"{where}.grid[{number}]"))
    fields = _take(content, "fields", dict, where, default={})
    _check_fields(fields, f"{where}.fields")
    model = _take(content, "model", str, where)
    return GridMethod(
        name,
        model=model,
        table=_take(content, "table", int, where, default=None),
        groups=groups_of(model, _take_names(content, "groups", where)),
        samplers=_take_names(content, "samplers", where),
        fields=fields,
        configurations=tuple(configurations),
        training=_take(content, "training", dict, where, default={}),
    )


# Configurations


def _read_entry(entry: Any, earlier: Sequence[Configuration], symbols: Mapping[str, str], where: str) -> Configuration:
    """A configuration from an entry of a grid: a dict of fields, or a dict with keys of `_ENTRY_KEYS`."""
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: expected a dict of fields, got {entry!r}")
    number = len(earlier) + 1
    if not entry.keys() & set(_ENTRY_KEYS):
        entry = {"set": entry}
    _check_keys(entry, _ENTRY_KEYS, where)
    note = _take(entry, "note", str, where, default=None)
    if "duplicate_of" in entry:
        original = _find_original(entry, earlier, where)
        return replace(original, number=number, duplicate_of=original.number, note=note)
    fields = _take(entry, "set", dict, where, default={})
    _check_fields(fields, where)
    for other in earlier:
        if other.fields == fields:
            raise ValueError(
                f"{where}: it equals grid[{other.number}]; write {{duplicate_of: {other.number}}}, so that "
                "both share one result"
            )
    named = {symbols.get(name, name): value[_SCALED] if _is_scaled(value) else value for name, value in fields.items()}
    printed = _take(entry, "printed", dict, where, default=named)
    return Configuration(number, fields, printed, skip=_take(entry, "skip", str, where, default=None), note=note)


def _find_original(entry: dict[str, Any], earlier: Sequence[Configuration], where: str) -> Configuration:
    """The configuration that an entry with `duplicate_of` repeats."""
    number = _take(entry, "duplicate_of", int, where)
    if not 1 <= number <= len(earlier):
        raise ValueError(f"{where}.duplicate_of: expected the number of an earlier configuration, got {number}")
    found = earlier[number - 1]
    if found.duplicate_of is not None:
        raise ValueError(f"{where}.duplicate_of: grid[{number}] is a duplicate too; name {found.duplicate_of}")
    others = sorted(entry.keys() - {"duplicate_of", "note"})
    if others:
        raise ValueError(f"{where}: a duplicate has the fields of its original; remove {', '.join(others)}")
    return found


def _check_fields(fields: Mapping[str, Any], where: str):
    """Raise ValueError for a bad seed or scaled value, a number that is not finite, and a field of the data set.

    `check_configuration` checks the other values.
    """
    seed = _take(fields, "seed", int, where, default=None)
    if seed is not None and not 0 <= seed < 2**31:
        raise ValueError(f"{where}.seed: expected a number from 0 to 2**31 - 1, got {seed}")
    for name, value in fields.items():
        if name in _OF_THE_DATA:
            raise ValueError(f"{where}.{name}: the study sets it for all methods, {_OF_THE_DATA[name]}; remove it")
        if _is_scaled(value):
            _check_keys(value, (_SCALED,), f"{where}.{name}")
            _take(value, _SCALED, float, f"{where}.{name}")
        elif isinstance(value, float) and not isfinite(value):
            raise ValueError(f"{where}.{name}: expected a finite number, got {value}")


_OF_THE_DATA = {"input_shape": "from its data", "latent_dim": "as data.NAME.latent_dim or latent_dims"}


def _is_scaled(value: Any) -> bool:
    """Whether a value is written as {times_num_values: b}."""
    return isinstance(value, dict) and _SCALED in value


# Checks of what YAML files hold

_WORDS = {str: "text", int: "an integer", float: "a number", list: "a list", dict: "a dict"}
_REQUIRED = object()


def _take(content: Mapping[str, Any], key: str, kind: type, where: str, default: Any = _REQUIRED) -> Any:
    """The value of a key, which must have a type. An integer is also a number; a boolean is neither."""
    if key not in content:
        if default is _REQUIRED:
            raise ValueError(f"{where}: {key} is missing")
        return default
    value = content[key]
    if type(value) not in ((int, float) if kind is float else (kind,)):
        raise ValueError(f"{where}.{key}: expected {_WORDS[kind]}, got {value!r}")
    return value


def _take_names(content: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    """The value of a key, a list of different texts; empty without the key."""
    names = _take(content, key, list, where, default=[])
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"{where}.{key}: expected a list of names, got {name!r} in it")
        if names.count(name) > 1:
            raise ValueError(f"{where}.{key}: '{name}' is listed {names.count(name)} times; list it once")
    return tuple(names)


def _check_keys(content: Mapping[str, Any], known: Collection[str], where: str):
    """Raise ValueError for an unknown key, with the nearest known one."""
    for key in content:
        if key not in known:
            raise ValueError(f"{where}: unknown key '{key}'; {_suggest(str(key), known)}")


def _suggest(name: str, known: Collection[str]) -> str:
    from ..core.argument_checks import suggest  # imports torch, which is slow

    return suggest(name, known, "expected one of")
