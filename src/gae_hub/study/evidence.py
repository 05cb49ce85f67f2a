"""Numbers of a study for findings: of chosen configurations, by method, group and setup."""

__all__ = ["Evidence"]

from collections.abc import Iterable
from typing import Any

from .paper_columns import paper_name
from .passports import comparable
from .results import StudyResults
from .selection import Configuration, Selection, Selector, Setup

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


class Evidence:
    """Numbers of the configurations that were chosen on validation, in the units of the tables.

    Args:
        results: results of the study.
    """

    def __init__(self, results: StudyResults):
        self.results, self.selector = results, Selector(results)
        self.missing: dict[str, set[str]] = {}

    @property
    def setups(self) -> list[Setup]:
        """Setups of the study."""
        return self.selector.setups

    def by_group(self, *groups: str) -> list[str]:
        """Methods that belong to any of the groups."""
        return [name for name, facts in self.results.methods.items() if set(groups) & set(facts.get("groups", ()))]

    def by_model(self, *models: str) -> list[str]:
        """Methods of these models. Models that the study does not have are noted as missing."""
        found = [name for name, facts in self.results.methods.items() if facts.get("model") in models]
        for model in models:
            if all(facts.get("model") != model for facts in self.results.methods.values()):
                self.missing.setdefault(f"a method of the model {model}", set())
        return found

    def network(self, name: str) -> str | None:
        """Key of the study's ConvNet or ResNet."""
        return next((key for key in self.results.networks if paper_name(key) == name), None)

    def values(self, task: str, setup: Setup, methods: Iterable[str], sampler: str | None = None) -> dict[str, float]:
        """A task's test number by method, of those that have it; empty where they were measured in different ways.

        Args:
            task: one of `TASK_NAMES`. For generation without a sampler, each method has its best one on validation.
            setup: networks, data set and latent dimensions.
            methods: names of methods.
            sampler: name of the sampler.
        """
        found: dict[str, float] = {}
        passports: list[dict[str, Any]] = []
        for method in methods:
            if sampler is not None and sampler not in self.selector.method_samplers(method):
                continue
            selection = self.select(task, method, setup, sampler)
            number = NUMBERS.get(task, f"generation/{selection.sampler}/fid/test")
            mean = selection.estimate(number)
            if mean is None:
                what = "FID of generated images" if task == "generation" and sampler is None else number
                self.missing.setdefault(what, set()).add(method)
            else:
                found[method] = mean.value * SCALES[task]
                passports.append(mean.passport)
        if not comparable(passports):
            self.missing.setdefault(f"{task} in one way for all methods", set())
            return {}
        return found

    def select(self, task: str, method: str, setup: Setup, sampler: str | None = None) -> Selection:
        """The chosen configuration; for generation without a sampler, with the best sampler on validation."""
        if task == "generation" and sampler is None:
            return self.selector.best_sampler(method, setup)
        return self.selector.select(task, method, setup, sampler)

    def seconds(self, setup: Setup, methods: Iterable[str]) -> dict[str, float]:
        """Seconds of training of the configuration that generates best on validation, by method."""
        found: dict[str, float] = {}
        for method in methods:
            mean = self.select("generation", method, setup).estimate("training/seconds")
            if mean is None:
                self.missing.setdefault("training time of the configuration that generates best", set()).add(method)
            else:
                found[method] = mean.value
        return found

    def configurations(self, method: str, setup: Setup, field: str) -> list[tuple[float, Configuration]]:
        """Complete configurations with the value of a numeric field, by increasing value."""
        found = [(c.fields.get(field), c) for c in self.selector.complete(method, setup)]
        pairs = [(float(value), c) for value, c in found if isinstance(value, int | float)]
        if not pairs:
            self.missing.setdefault(f"configurations that set {field}", set()).add(method)
        return sorted(pairs, key=lambda pair: pair[0])

    def describe_missing(self) -> str:
        """The numbers that were asked for and are not there: "generation/maf/fid/test (VAE, AE)"."""
        return "; ".join(
            f"{what} ({_names(self.results, methods)})" if methods else what
            for what, methods in sorted(self.missing.items())
        )


def _names(results: StudyResults, methods: set[str]) -> str:
    if len(methods) == len(results.methods) > 1:
        return "all methods"
    return ", ".join(name for name in results.methods if name in methods)
