"""Comparisons between configurations of a method, and between latent dimensions."""

__all__ = [
    "best_dimensions",
    "beta_hurts_reconstruction",
    "generation_wants_larger_beta",
    "iwae_samples",
    "large_beta_hurts_all",
    "small_beta_reconstructs",
    "variational_are_robust",
]

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from .comparisons import AUTOENCODERS, BETA_VAES, VAE, VARIATIONAL, describe_setup
from .evidence import LOWER_IS_BETTER, NUMBERS, TASK_NAMES, Evidence, Group
from .outcomes import Rows, Value, count_outcomes, decide
from .selection import Setup
from .table_metrics import display

GAP_SHARE = 0.75  # of the gap between VAE and autoencoders
RANK_CORRELATION = 0.5
MIN_DIMENSIONS = 3

IWAE = Group("IWAE", models=("iwae",))

# Configurations


def small_beta_reconstructs(evidence: Evidence) -> Rows:
    rows: Rows = []
    for setup in evidence.setups:
        values = evidence.values("reconstruction", setup, evidence.results.methods)
        groups = BETA_VAES, VAE, AUTOENCODERS
        methods, vaes, plain = ([name for name in evidence.members(group) if name in values] for group in groups)
        covered = [evidence.cover(group, names) for group, names in zip(groups, (methods, vaes, plain), strict=True)]
        for method in methods if all(covered) else ():
            chosen = evidence.select("reconstruction", method, setup).configuration
            beta = None if chosen is None else evidence.field(chosen, "beta")
            betas = [evidence.field(one, "beta") for one in evidence.selector.complete(method, setup)]
            if beta is not None and not any(one is not None and one < 1 for one in betas):
                evidence.note("a configuration with a beta below 1", method)
                continue
            for vae in vaes:
                mse, vae_mse = values[method].mean, values[vae].mean
                target = statistics.median(values[name].mean for name in plain)
                row = {"method": method, "beta": "not known" if beta is None else beta, "MSE x 1000": mse}
                row |= {"its VAE": vae_mse, "median of autoencoders": target}
                if vae_mse > target:
                    row["share of the gap"] = (vae_mse - mse) / (vae_mse - target)
                measured = {name: values[name] for name in (method, vae, *plain)}
                outcome = decide(partial(_gap_lead, method, vae, plain), measured, inclusive=True)
                if beta is not None and beta >= 1:
                    outcome = count_outcomes(False)
                rows.append(describe_setup(setup) | row | outcome)
    return rows


def _gap_lead(method: str, vae: str, plain: Sequence[str], numbers: dict[str, float]) -> float:
    """How far the method is below the MSE that closes enough of the gap, or below the autoencoders' without a gap."""
    target = statistics.median(numbers[name] for name in plain)
    gap = numbers[vae] - target
    return (numbers[vae] - GAP_SHARE * gap if gap > 0 else target) - numbers[method]


def iwae_samples(evidence: Evidence) -> Rows:
    rows: Rows = []
    for method in evidence.members(IWAE):
        for setup in evidence.setups:
            for number, label, sign in (
                (NUMBERS["reconstruction"], "MSE", -1),
                ("training/seconds", "training time", 1),
            ):
                rows += _rank_row(evidence, method, setup, "num_samples", number, sign, {"number": label})
    return _cover(evidence, IWAE, rows)


def beta_hurts_reconstruction(evidence: Evidence) -> Rows:
    rows: Rows = []
    for method in evidence.members(BETA_VAES):
        for setup in evidence.setups:
            rows += _rank_row(evidence, method, setup, "beta", NUMBERS["reconstruction"], 1, {})
    return _cover(evidence, BETA_VAES, rows)


def _rank_row(
    evidence: Evidence, method: str, setup: Setup, field: str, number: str, sign: int, label: dict[str, Any]
) -> Rows:
    """A row with the rank correlation of a field with a number, if there are enough configurations."""
    curve = evidence.curve(method, setup, field, number)
    if not curve:
        return []

    settings = [setting for setting, _ in curve]
    values = {i: value for i, (_, value) in enumerate(curve)}
    row = {"method": method, **label, "configurations": len(curve)}
    row |= {"rank correlation": _spearman(settings, [value.mean for value in values.values()])}
    outcome = decide(
        lambda numbers: sign * _spearman(settings, [*numbers.values()]) - RANK_CORRELATION, values, inclusive=True
    )
    return [describe_setup(setup) | row | outcome]


def large_beta_hurts_all(evidence: Evidence) -> Rows:
    numbers = dict(NUMBERS) | {"generation": "generation/normal/fid/test"}
    rows: Rows = []
    for method in evidence.members(BETA_VAES):
        for setup in evidence.setups:
            for task in TASK_NAMES:
                curve = evidence.curve(method, setup, "beta", numbers[task])
                if not curve:
                    continue
                if curve[-1][0] <= 1:
                    evidence.note("a configuration with a beta above 1", method)
                    continue
                values = {i: value for i, (_, value) in enumerate(curve)}
                sign = 1 if task in LOWER_IS_BETTER else -1
                row = {"method": method, "task": task, "largest beta": curve[-1][0]}
                row |= {"its number": curve[-1][1].mean}
                row |= {"median of all": statistics.median(value.mean for _, value in curve)}
                rows.append(describe_setup(setup) | row | decide(partial(_loss_of_last, sign), values))
    return _cover(evidence, BETA_VAES, rows)


def _loss_of_last(sign: int, numbers: dict[int, float]) -> float:
    """How much worse the last number is than the median."""
    values = [sign * number for number in numbers.values()]
    return values[-1] - statistics.median(values)


def generation_wants_larger_beta(evidence: Evidence) -> Rows:
    rows: Rows = []
    for method in evidence.members(BETA_VAES):
        for setup in evidence.setups:
            criteria = "reconstruction/mse/validation", "generation/normal/fid/validation"
            first, second = (evidence.curve(method, setup, "beta", criterion) for criterion in criteria)
            if not first or not second:
                continue
            values = _by_beta("reconstruction", first) | _by_beta("generation", second)
            means = {key: value.mean for key, value in values.items()}
            row = {"method": method, "beta for reconstruction": _best_beta("reconstruction", means)}
            row |= {"beta for generation": _best_beta("generation", means)}
            rows.append(describe_setup(setup) | row | decide(_steps_of_beta, values))
    return _cover(evidence, BETA_VAES, rows)


def _by_beta(task: str, curve: Iterable[tuple[float, Value]]) -> dict[tuple[str, float], Value]:
    """The best value of each beta, in case other fields differ too."""
    ordered = sorted(curve, key=lambda pair: pair[1].mean, reverse=True)
    return {(task, beta): value for beta, value in ordered}


def _best_beta(task: str, numbers: dict[tuple[str, float], float]) -> float:
    return min((number, beta) for (one, beta), number in numbers.items() if one == task)[1]


def _steps_of_beta(numbers: dict[tuple[str, float], float]) -> float:
    """How many steps of the grid the best beta for generation is above the best one for reconstruction."""
    betas = sorted({beta for _, beta in numbers})
    return betas.index(_best_beta("generation", numbers)) - betas.index(_best_beta("reconstruction", numbers))


def _cover(evidence: Evidence, group: Group, rows: Rows) -> Rows:
    """The rows, after their methods are noted as compared, or the group as missing."""
    evidence.cover(group, dict.fromkeys(row["method"] for row in rows))
    return rows


# Latent dimensions


FAMILY_LABELS = {AUTOENCODERS: "autoencoders", VARIATIONAL: "variational methods"}
Numbers = dict[tuple[Group, str, str, int], float]  # by family, method, task and number of dimensions


def best_dimensions(evidence: Evidence) -> Rows:
    """Spread over tasks of the best number of dimensions, of autoencoders and variational methods."""
    rows: Rows = []
    for network, dataset, dims in _dimension_studies(evidence):
        values: dict[tuple[Group, str, str, int], Value] = {}
        for family in FAMILY_LABELS:
            for method in evidence.members(family):
                curves = {
                    task: _validation_curve(evidence, task, method, network, dataset, dims) for task in TASK_NAMES
                }
                curves = {task: curve for task, curve in curves.items() if curve}
                if len(curves) >= 2:
                    values |= {(family, method, t, dim): v for t, curve in curves.items() for dim, v in curve.items()}
        if not _covers_families(evidence, values):
            continue
        means = {key: value.mean for key, value in values.items()}
        row: dict[str, Any] = {"setup": f"{display(network)}, {display(dataset)}"}
        for family, label in FAMILY_LABELS.items():
            best: dict[str, list[int]] = {}
            for tasks in _best_dims(family, means).values():
                for task, dim in tasks.items():
                    best.setdefault(task, []).append(dim)
            medians = ", ".join(f"{task} {statistics.median(found):g}" for task, found in best.items())
            row |= {f"mean spread, {label}": _spread(family, means), f"median of the best, {label}": medians}
        rows.append(row | decide(_excess_spread, values))
    return rows


def _excess_spread(numbers: Numbers) -> float:
    return _spread(AUTOENCODERS, numbers) - _spread(VARIATIONAL, numbers)


def _spread(family: Group, numbers: Numbers) -> float:
    """Mean over methods of the standard deviation over tasks of log2 of the best number of dimensions."""
    best = _best_dims(family, numbers)
    return statistics.fmean(statistics.pstdev(map(math.log2, tasks.values())) for tasks in best.values())


def _best_dims(family: Group, numbers: Numbers) -> dict[str, dict[str, int]]:
    """The best number of dimensions by method and task."""
    best: dict[str, dict[str, tuple[float, int]]] = {}
    for (group, method, task, dim), number in numbers.items():
        if group == family:
            signed = number if task in LOWER_IS_BETTER else -number
            known = best.setdefault(method, {}).setdefault(task, (signed, dim))
            best[method][task] = min(known, (signed, dim), key=lambda pair: pair[0])
    return {method: {task: dim for task, (_, dim) in tasks.items()} for method, tasks in best.items()}


def variational_are_robust(evidence: Evidence) -> Rows:
    rows: Rows = []
    for network, dataset, dims in _dimension_studies(evidence):
        for task in TASK_NAMES:
            values: dict[tuple[Group, str, str, int], Value] = {}
            for family in FAMILY_LABELS:
                methods = evidence.members(family)
                by_dim = {dim: evidence.values(task, Setup(network, dataset, dim), methods) for dim in dims}
                for method in methods:
                    curve = {(family, method, task, dim): by_dim[dim].get(method) for dim in dims}
                    known = {key: value for key, value in curve.items() if value is not None and value.mean > 0}
                    values |= known if len(known) == len(dims) else {}
            if not _covers_families(evidence, values):
                continue
            means = {key: value.mean for key, value in values.items()}
            row: dict[str, Any] = {"setup": f"{display(network)}, {display(dataset)}", "task": task}
            row |= {f"change, {label}": _change(family, means) for family, label in FAMILY_LABELS.items()}
            rows.append(row | decide(_excess_change, values))
    return rows


def _excess_change(numbers: Numbers) -> float:
    return _change(AUTOENCODERS, numbers) - _change(VARIATIONAL, numbers)


def _change(family: Group, numbers: Numbers) -> float:
    """Median over methods of the difference between the largest and the smallest number, relative to the smallest."""
    curves: dict[str, list[float]] = {}
    for (group, method, _, _), number in numbers.items():
        if group == family:
            curves.setdefault(method, []).append(number)
    return statistics.median((max(curve) - min(curve)) / min(curve) for curve in curves.values())


def _covers_families(evidence: Evidence, values: Mapping[tuple[Group, str, str, int], Value]) -> bool:
    """Whether enough methods of both families are measured."""
    measured = {family: dict.fromkeys(key[1] for key in values if key[0] == family) for family in FAMILY_LABELS}
    return all([evidence.cover(family, methods) for family, methods in measured.items()])


def _dimension_studies(evidence: Evidence) -> list[tuple[str, str, list[int]]]:
    dims = evidence.results.latent_dims
    found = [(n, d, dims.get(d, [])) for n in evidence.results.networks for d in evidence.results.datasets]
    return [study for study in found if len(study[2]) >= MIN_DIMENSIONS]


def _validation_curve(
    evidence: Evidence, task: str, method: str, network: str, dataset: str, dims: Sequence[int]
) -> dict[int, Value]:
    """Number on validation by number of dimensions; empty unless all are measured."""
    values = {dim: evidence.validation(task, method, Setup(network, dataset, dim)) for dim in dims}
    known = {dim: value for dim, value in values.items() if value is not None}
    if len(known) == len(dims):
        return known
    evidence.note(f"{task} at every number of dimensions", method)
    return {}


# Rank correlation


def _spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 where one side is constant."""
    if len(set(first)) < 2 or len(set(second)) < 2:
        return 0.0
    return statistics.correlation(_ranks(first), _ranks(second))


def _ranks(values: Sequence[float]) -> list[float]:
    """Ranks, equal values share the mean of theirs."""
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) - 1) / 2 for value in values]
