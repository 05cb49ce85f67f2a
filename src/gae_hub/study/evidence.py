"""Numbers of a study for findings: of chosen configurations, by method, group and setup."""

__all__ = ["Evidence", "Group"]

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .outcomes import Value
from .paper_columns import paper_name
from .passports import comparable
from .results import StudyResults
from .selection import Configuration, SeedMean, Selection, Selector, Setup

NUMBERS = {
    "reconstruction": "reconstruction/mse/test",
    "classification": "classification/accuracy/test",
    "clustering": "clustering/accuracy/train",
}
SCALES = {"reconstruction": 1000.0, "generation": 1.0, "classification": 100.0, "clustering": 100.0}
LABELS = {
    "reconstruction": "MSE x 1000",
    "generation": "FID",
    "classification": "classification %",
    "clustering": "clustering %",
}
TASK_NAMES = tuple(LABELS)
LOWER_IS_BETTER = ("reconstruction", "generation")
MIN_CONFIGURATIONS = 3  # different values of a field, to see how a number depends on it


@dataclass(frozen=True)
class Group:
    """Methods that a claim is about.

    Args:
        label: what they are, for texts: plural, or singular if one model is enough.
        groups: groups of a method, any of which makes it a member.
        models: short names of `AutoGAE`, any of which makes it a member. Without groups and models, all are members.
        num_models: number of different models that must be measured, so that the claim can be judged.
        is_reference: whether others are compared with its members, so that any member is enough.
    """

    label: str
    groups: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    num_models: int = 1
    is_reference: bool = False

    @property
    def has_all(self) -> bool:
        """Whether every method is a member."""
        return not self.groups and not self.models

    def contains(self, method: dict[str, Any]) -> bool:
        """Whether a method of `StudyResults.methods` is a member."""
        own = method.get("groups") or ()
        return self.has_all or method.get("model") in self.models or not set(self.groups).isdisjoint(own)


class Evidence:
    """Numbers of the configurations that were chosen on validation, in the units of the tables.

    Args:
        results: results of the study.
    """

    def __init__(self, results: StudyResults):
        self.results, self.selector = results, Selector(results)
        self.missing: dict[str, dict[str, str]] = {}
        self.compared: dict[Group, dict[str, None]] = {}

    def clear(self):
        """Forget which methods were compared, and what was missing."""
        self.missing.clear()
        self.compared.clear()

    @property
    def setups(self) -> list[Setup]:
        """Setups of the study."""
        return self.selector.setups

    def members(self, group: Group) -> list[str]:
        """Names of the methods of a group."""
        return [name for name, method in self.results.methods.items() if group.contains(method)]

    def models(self, methods: Iterable[str]) -> list[str]:
        """Different models of the methods."""
        return list(dict.fromkeys(str(self.results.methods[name].get("model")) for name in methods))

    def cover(self, group: Group, methods: Iterable[str]) -> bool:
        """Whether measured methods are enough to judge a group. They are noted as compared, or as too few.

        Args:
            group: the group.
            methods: names of its methods that are measured.
        """
        methods = list(methods)
        if len(self.models(methods)) >= group.num_models:
            self.compared.setdefault(group, {}).update(dict.fromkeys(methods))
            return True
        declared = self.members(group)
        if len(self.models(declared)) < group.num_models:
            there = f", only {', '.join(declared)}" if declared else ""
            several = f"{group.num_models} {group.label} of different models"
            self.note(f"the study does not have {several}{there}" if group.num_models > 1 else f"no {group.label}")
        elif not self.missing:
            self.note(f"numbers of at least {group.num_models} {group.label}")
        return False

    def note(self, what: str, method: str | None = None, remark: str = ""):
        """Note what is missing, and for which method."""
        methods = self.missing.setdefault(what, {})
        if method is not None:
            methods[method] = remark

    def network(self, name: str) -> str | None:
        """Key of the study's ConvNet or ResNet."""
        return next((key for key in self.results.networks if paper_name(key) == name), None)

    def values(self, task: str, setup: Setup, methods: Iterable[str], sampler: str | None = None) -> dict[str, Value]:
        """A task's test number by method, of those that have it; empty where they were measured in different ways.

        Args:
            task: one of `TASK_NAMES`. For generation without a sampler, each method has its best one on validation.
            setup: networks, data set and latent dimensions.
            methods: names of methods.
            sampler: name of the sampler.
        """
        if sampler is not None and sampler not in self.results.samplers:
            self.note(f"no sampler {sampler}")
            return {}
        found: dict[str, Value] = {}
        passports: list[dict[str, Any]] = []
        for method in methods:
            if sampler is not None and sampler not in self.selector.method_samplers(method):
                continue
            selection = self.select(task, method, setup, sampler)
            number = NUMBERS.get(task, f"generation/{selection.sampler}/fid/test")
            mean = selection.estimate(number)
            if mean is None:
                self.note("FID of generated images" if task == "generation" and sampler is None else number, method)
            else:
                found[method] = _value(mean, SCALES[task])
                passports.append(mean.passport)
        if not comparable(passports):
            self.note(f"{task} in one way for all methods")
            return {}
        return found

    def select(self, task: str, method: str, setup: Setup, sampler: str | None = None) -> Selection:
        """The chosen configuration; for generation without a sampler, with the best sampler on validation."""
        if task == "generation" and sampler is None:
            return self.selector.best_sampler(method, setup)
        return self.selector.select(task, method, setup, sampler)

    def validation(self, task: str, method: str, setup: Setup) -> Value | None:
        """The number on validation that chose a configuration."""
        selection = self.select(task, method, setup)
        mean = selection.estimate(selection.criterion)
        return None if mean is None else _value(mean)

    def seconds(self, setup: Setup, methods: Iterable[str]) -> dict[str, Value]:
        """Seconds of training of the configuration that generates best on validation, by method."""
        found: dict[str, Value] = {}
        for method in methods:
            configuration = self.select("generation", method, setup).configuration
            value = None if configuration is None else _measure(configuration, "training/seconds")
            if value is None:
                self.note("training time of the configuration that generates best, trained alone", method)
            else:
                found[method] = value
        return found

    def field(self, configuration: Configuration, field: str) -> float | None:
        """Value of a numeric field of the config of a configuration, None if it is not known."""
        cell = configuration.cells[0]
        value = {**cell.fields, **cell.facts.get("config", {})}.get(field)
        return float(value) if isinstance(value, int | float) else None

    def curve(self, method: str, setup: Setup, field: str, number: str) -> list[tuple[float, Value]]:
        """Values of a numeric field with a number of their complete configurations, by increasing field.

        Empty if the field has fewer than `MIN_CONFIGURATIONS` different values.
        """
        pairs = [(self.field(one, field), _measure(one, number)) for one in self.selector.complete(method, setup)]
        found = [(setting, value) for setting, value in pairs if setting is not None and value is not None]
        count = len({setting for setting, _ in found})
        if count < MIN_CONFIGURATIONS:
            self.note(f"{number} at {MIN_CONFIGURATIONS} values of {field}", method, f" has {count}")
            return []
        return sorted(found, key=lambda pair: pair[0])

    def describe_missing(self) -> str:
        """The numbers that were asked for and are not there: "generation/maf/fid/test (VAE, AE)"."""
        return "; ".join(
            f"{what} ({self._names(methods)})" if methods else what for what, methods in sorted(self.missing.items())
        )

    def _names(self, methods: dict[str, str]) -> str:
        if len(methods) == len(self.results.methods) > 1 and not any(methods.values()):
            return "all methods"
        return ", ".join(name + methods[name] for name in self.results.methods if name in methods)


def _value(mean: SeedMean, scale: float = 1.0) -> Value:
    return Value(mean.value * scale, tuple(value * scale for value in mean.values))


def _measure(configuration: Configuration, number: str) -> Value | None:
    """A number of a configuration. Times of models that trained together are shares, and count as not measured."""
    together = any(cell.facts.get("trained_together", 1) > 1 for cell in configuration.cells)
    mean = None if number == "training/seconds" and together else configuration.estimate(number)
    return None if mean is None else _value(mean)
