"""Choice of configurations on validation, and their numbers over seeds."""

__all__ = ["CRITERIA", "Configuration", "Missing", "SeedMean", "Selection", "Selector", "Setup", "student_interval"]

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from .passports import comparable
from .results import CellResult, StudyResults

# task to the numbers that choose its configuration, the first that is measured, and whether less is better
CRITERIA: dict[str, tuple[tuple[str, ...], bool]] = {
    "reconstruction": (("reconstruction/mse/validation",), True),
    "generation": (("generation/{sampler}/fid/validation", "generation/{sampler}/energy_distance/validation"), True),
    "classification": (("classification/accuracy/validation",), False),
    "clustering": (("clustering/accuracy/validation",), False),
    "interpolation": (("generation/gmm/fid/validation", "reconstruction/mse/validation"), True),
}

# why there is no number: all cells failed, all were skipped, some are not finished, or nothing measured it
Missing = Literal["failed", "skipped", "unfinished", "not measured"]


class Setup(NamedTuple):
    """Networks, data set and number of latent dimensions, which all methods share."""

    network: str
    dataset: str
    latent_dim: int


@dataclass(frozen=True)
class SeedMean:
    """Mean over seeds.

    Args:
        value: mean over the seeds.
        values: value of each seed, in the order of the seeds.
        interval: 95 % interval. With two or more seeds, Student's interval of the mean over seeds; with one, the
            interval in the number's passport, if it has one.
        interval_kind: "seeds", or "images" for an interval from the passport.
        passport: how the first seed's value was measured.
    """

    value: float
    values: tuple[float, ...]
    interval: tuple[float, float] | None = None
    interval_kind: Literal["seeds", "images"] | None = None
    passport: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Configuration:
    """All seeds of one configuration in one setup."""

    number: int
    cells: tuple[CellResult, ...]

    @property
    def fields(self) -> dict[str, Any]:
        return self.cells[0].fields

    def estimate(self, name: str) -> SeedMean | None:
        """Mean of a number over seeds. None unless every seed has a finite value.

        Args:
            name: name of a number, or of a fact such as "num_parameters".
        """
        values = [_number(cell, name) for cell in self.cells]
        if not all(map(math.isfinite, values)):
            return None
        passport = self.cells[0].passports.get(name, {})
        if len(values) > 1:
            return SeedMean(statistics.fmean(values), tuple(values), student_interval(values), "seeds", passport)
        interval = passport.get("interval") or passport.get("same_count_interval")
        if not interval:
            return SeedMean(values[0], tuple(values), passport=passport)
        return SeedMean(values[0], tuple(values), (interval[0], interval[1]), "images", passport)


@dataclass(frozen=True)
class Selection:
    """The configuration of a method that is best on validation.

    Args:
        method: name of the method.
        setup: networks, data set and latent dimensions.
        task: the task that it was chosen for.
        sampler: name of the sampler, for generation.
        criterion: name of the number that decided.
        configuration: the chosen configuration, or None.
        value: mean of the criterion over the seeds of the chosen configuration.
        compared: mean of the criterion by configuration, of all that were compared.
        left_out: why each other configuration was not compared, by its number.
        missing: why there is no chosen configuration.
        note: what differs from the task's own rule.
    """

    method: str
    setup: Setup
    task: str
    sampler: str | None
    criterion: str
    configuration: Configuration | None
    value: float | None
    compared: dict[int, float]
    left_out: dict[int, str]
    missing: Missing | None
    note: str | None = None

    def estimate(self, name: str) -> SeedMean | None:
        """A number of the chosen configuration over its seeds, None if it is not measured."""
        return None if self.configuration is None else self.configuration.estimate(name)


class Selector:
    """Chooses configurations of a study on validation; the test split never decides.

    The criterion is its mean over seeds. A configuration is compared only when all of its seeds are done, or failed
    after the criterion was measured. Skipped and duplicated configurations never win. Of equal ones the first wins.

    Args:
        results: results of the study.
    """

    def __init__(self, results: StudyResults):
        self.results = results
        self._cells: dict[tuple[str, Setup], dict[int, list[CellResult]]] = defaultdict(lambda: defaultdict(list))
        for cell in results.cells:
            setup = Setup(cell.network, cell.dataset, cell.latent_dim)
            self._cells[cell.method, setup][cell.configuration].append(cell)
        self._reasons: dict[tuple[str, Setup], list[tuple[Configuration, str | None]]] = {}
        self._chosen: dict[tuple[str, Setup, str, str | None], Selection] = {}

    @cached_property
    def setups(self) -> list[Setup]:
        """Setups of the study: by network, then data set, then latent dimensions."""
        dims = self.results.latent_dims
        names = [(network, dataset) for network in self.results.networks for dataset in self.results.datasets]
        return [Setup(network, dataset, dim) for network, dataset in names for dim in dims.get(dataset, [])]

    def configurations(self, method: str, setup: Setup) -> list[Configuration]:
        """Configurations of a method, in the order of the grid, also those that are not done."""
        return [configuration for configuration, _ in self._candidates(method, setup)]

    def complete(self, method: str, setup: Setup) -> list[Configuration]:
        """Configurations whose seeds are all done, without duplicates."""
        return [configuration for configuration, reason in self._candidates(method, setup) if reason is None]

    def select(self, task: str, method: str, setup: Setup, sampler: str | None = None) -> Selection:
        """The configuration that is best on validation.

        Args:
            task: one of `CRITERIA`.
            method: name of the method.
            setup: networks, data set and latent dimensions.
            sampler: name of the sampler, for generation.

        Raises:
            KeyError: for an unknown task.
        """
        key = method, setup, task, sampler
        if key not in self._chosen:
            self._chosen[key] = self._select(task, method, setup, sampler)
        return self._chosen[key]

    def best_sampler(self, method: str, setup: Setup) -> Selection:
        """Sampler and configuration with the lowest FID on validation."""
        found = [self.select("generation", method, setup, sampler) for sampler in self.method_samplers(method)]
        found = found or [self.select("generation", method, setup, "normal")]
        return min(found, key=lambda selection: math.inf if selection.value is None else selection.value)

    def method_samplers(self, method: str) -> list[str]:
        """Samplers of the study that a method has, in the order of the method's list."""
        own = self.results.methods[method].get("samplers")
        return [name for name in own if name in self.results.samplers] if own else list(self.results.samplers)

    def _select(self, task: str, method: str, setup: Setup, sampler: str | None) -> Selection:
        names, smaller_wins = CRITERIA[task]
        criteria = [name.format(sampler=sampler) for name in names]
        candidates = self._candidates(method, setup)
        left_out = {configuration.number: reason for configuration, reason in candidates if reason is not None}
        ready = [configuration for configuration, reason in candidates if reason is None]
        for criterion in criteria:
            estimates = [(configuration, configuration.estimate(criterion)) for configuration in ready]
            known = [(configuration, found.value) for configuration, found in estimates if found is not None]
            if known:
                break
        else:
            criterion = criteria[0]
            left_out |= {c.number: f"failed: {error}" for c in ready if (error := _error(c))}
            return self._nothing(method, setup, task, sampler, criterion, [c for c, _ in candidates], left_out)
        unknown = [configuration for configuration, found in estimates if found is None]
        left_out |= {
            c.number: f"failed: {error}" if (error := _error(c)) else f"{criterion} is not a finite number"
            for c in unknown
        }
        first = known[0][0]
        unlike = {c.number for c, _ in known if not _are_comparable(first, c, criterion)}
        left_out |= dict.fromkeys(unlike, f"{criterion} was measured in another way than for {first.number}")
        known = [(configuration, value) for configuration, value in known if configuration.number not in unlike]
        # min and max return the first of equals, and candidates are ordered by their number
        chosen, value = (min if smaller_wins else max)(known, key=lambda pair: pair[1])
        note = None
        if criterion != criteria[0]:
            note = f"{criteria[0]} is not measured: chosen by {criterion} instead"
        compared = {configuration.number: value for configuration, value in known}
        left_out = dict(sorted(left_out.items()))
        return Selection(method, setup, task, sampler, criterion, chosen, value, compared, left_out, None, note)

    @staticmethod
    def _nothing(
        method: str,
        setup: Setup,
        task: str,
        sampler: str | None,
        criterion: str,
        candidates: Sequence[Configuration],
        left_out: dict[int, str],
    ) -> Selection:
        """A selection without a configuration, and why."""
        states = {cell.state for configuration in candidates for cell in configuration.cells}
        missing: Missing = "not measured"
        if states & {"running", "waiting"}:
            missing = "unfinished"
        elif "done" not in states and states:
            missing = "failed" if "failed" in states else "skipped"
        elif all(configuration.number in left_out for configuration in candidates) and "failed" in states:
            missing = "failed"
        return Selection(method, setup, task, sampler, criterion, None, None, {}, left_out, missing)

    def _candidates(self, method: str, setup: Setup) -> list[tuple[Configuration, str | None]]:
        """Configurations in the order of the grid, each with the reason why it cannot be chosen."""
        if (method, setup) not in self._reasons:
            self._reasons[method, setup] = list(self._read_candidates(method, setup))
        return self._reasons[method, setup]

    def _read_candidates(self, method: str, setup: Setup) -> Iterator[tuple[Configuration, str | None]]:
        num_seeds = len(self.results.settings.get("seeds") or [0])
        seen: dict[frozenset[Path], int] = {}
        for number, cells in sorted(self._cells.get((method, setup), {}).items()):
            configuration = Configuration(number, tuple(sorted(cells, key=lambda cell: cell.seed)))
            duplicate_of = cells[0].facts.get("duplicate_of")
            folders = frozenset(cell.folder for cell in cells if cell.folder is not None)
            if duplicate_of is None and folders:  # configurations of equal settings share their cells
                first = seen.setdefault(folders, number)
                duplicate_of = first if first != number else None
            yield configuration, _reason(configuration.cells, duplicate_of, num_seeds)


def student_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean of two or more independent values (Student's t)."""
    from scipy.special import stdtrit

    mean = statistics.fmean(values)
    half = float(stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half


def _number(cell: CellResult, name: str) -> float:
    """A number or a numeric fact of a cell, NaN if it has none."""
    value = cell.numbers.get(name)
    if value is None:
        value = cell.facts.get({"training/seconds": "train_seconds"}.get(name, name))
    return float(value) if isinstance(value, int | float) else math.nan


def _is_trained(cell: CellResult) -> bool:
    """Whether a cell is done, or failed only at a step after its training."""
    return cell.state == "done" or (cell.state == "failed" and "training/seconds" in cell.numbers)


def _error(configuration: Configuration) -> str | None:
    """The first error of a configuration's cells."""
    return next((cell.error for cell in configuration.cells if cell.error is not None), None)


def _are_comparable(one: Configuration, other: Configuration, number: str) -> bool:
    """Whether a number of two configurations was measured in the same way, for example with the same extractor."""
    return comparable([cell.passports.get(number, {}) for cell in (*one.cells, *other.cells)])


def _reason(cells: Sequence[CellResult], duplicate_of: int | None, num_seeds: int) -> str | None:
    """Why a configuration cannot be chosen; None if it can."""
    if duplicate_of is not None:
        return f"the same as configuration {duplicate_of}"
    undone = [cell for cell in cells if not _is_trained(cell)]
    num_missing = max(0, num_seeds - len(cells))
    if not undone and not num_missing:
        return None
    if len(undone) == len(cells) and len({(cell.state, cell.error) for cell in undone}) == 1:
        return undone[0].state + (f": {undone[0].error}" if undone[0].error else "")
    found = [f"seed {cell.seed} {cell.state}" + (f": {cell.error}" if cell.error else "") for cell in undone]
    found += [f"{num_missing} of {num_seeds} seeds missing"] if num_missing else []
    return ", ".join(found)
