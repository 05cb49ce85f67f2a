"""Comparisons between methods, samplers and networks: each returns rows of numbers with the outcomes for a claim."""

__all__ = [
    "ADVERSARIAL",
    "AUTOENCODERS",
    "BETA_VAES",
    "KL_ALTERNATIVES",
    "VAE",
    "VARIATIONAL",
    "describe_setup",
    "disentangling_classifies",
    "flows_train_fast",
    "gmm_and_maf_are_alike",
    "group_is_best",
    "network_is_better",
    "prior_classifies",
    "rae_beats_ae",
    "sampler_is_worse",
    "vae_equals_in_clustering",
    "vaegan_costs_and_generates",
]

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from .evidence import LABELS, LOWER_IS_BETTER, Evidence, Group
from .method_groups import FAMILIES
from .outcomes import Rows, Value, decide
from .selection import Setup
from .table_metrics import display

ALIKE = 0.10  # relative difference of FID
EQUALLED = 1.0  # percentage points
REASONABLE_TIME = 2.0  # times the VAE's

AUTOENCODERS = Group("autoencoder-based methods", groups=("autoencoder",), num_models=2)
VARIATIONAL = Group("variational methods", groups=("variational",), num_models=2)
ADVERSARIAL = Group("adversarial method", groups=("adversarial",))
KL_ALTERNATIVES = Group("alternative to the KL regularisation", models=("wae_mmd", "wae_gan", "rae_l2", "rae_gp"))
DISENTANGLING = Group("disentangling methods", groups=("disentangling",), num_models=2)
FLOWS = Group("method with flows on the posterior", groups=("flow",))
PRIORS = Group("method with a more expressive prior", groups=("prior",))
RAES = Group("RAE-L2 or RAE-GP", models=("rae_l2", "rae_gp"))
BETA_VAES = Group("beta-VAE or beta-TC-VAE", models=("beta_vae", "beta_tc_vae"))
VAEGAN = Group("VAEGAN", models=("vae_gan",))
VAE = Group("VAE", models=("vae",), is_reference=True)
AE = Group("AE", models=("ae",), is_reference=True)
BASELINES = Group("VAE or AE", models=("vae", "ae"), is_reference=True)
OTHERS = Group("other methods", num_models=2)
METHODS = Group("methods", num_models=2)


def group_is_best(task: str, *groups: Group) -> Callable[[Evidence], Rows]:
    """Whether the median of groups is better than that of the others, and most of the best methods belong to them."""
    sign = _sign(task)

    def compare(evidence: Evidence) -> Rows:
        rows: Rows = []
        for setup in evidence.setups:
            values = evidence.values(task, setup, evidence.results.methods)
            parts = [[name for name in evidence.members(group) if name in values] for group in groups]
            inside = [name for name in values if any(name in part for part in parts)]
            outside = [name for name in values if name not in inside]
            covered = [evidence.cover(group, part) for group, part in zip(groups, parts, strict=True)]
            if not (all(covered) and evidence.cover(OTHERS, outside)):
                continue

            ranked = sorted(values, key=lambda name: sign * values[name].mean)
            row = {
                "group": ", ".join(inside),
                f"median {LABELS[task]} of the group": _median(values[name].mean for name in inside),
                f"median {LABELS[task]} of the others": _median(values[name].mean for name in outside),
                "in the group, of as many best": f"{len({*ranked[: len(inside)]} & {*inside})} of {len(inside)}",
                "best": ranked[0],
            }
            rows.append(
                describe_setup(setup)
                | row
                | decide(partial(_lead_of_group, inside=inside, outside=outside, sign=sign), values)
            )
        return rows

    return compare


def _lead_of_group(numbers: dict[str, float], inside: Sequence[str], outside: Sequence[str], sign: int) -> float:
    """How much better a group is: by its median, and by the member that makes it a majority of the best methods."""
    ours, theirs = (sorted(sign * numbers[name] for name in names) for names in (inside, outside))
    majority = len(ours) // 2 + 1
    rival = len(ours) - majority  # index of the other method that `majority` members have to beat
    margin = theirs[rival] - ours[majority - 1] if rival < len(theirs) else math.inf
    return min(statistics.median(theirs) - statistics.median(ours), margin)


# Pairs of methods


def rae_beats_ae(evidence: Evidence) -> Rows:
    return _compare_pairs(evidence, "reconstruction", RAES, AE)


def disentangling_classifies(evidence: Evidence) -> Rows:
    return _compare_pairs(evidence, "classification", BETA_VAES, VAE)


def vae_equals_in_clustering(evidence: Evidence) -> Rows:
    return _compare_pairs(evidence, "clustering", VAE, DISENTANGLING, tolerance=EQUALLED)


def prior_classifies(evidence: Evidence) -> Rows:
    """Each method with a more expressive prior against the baseline of its family."""

    def is_baseline(method: str, base: str) -> bool:
        one, other = (set(evidence.results.methods[name].get("groups") or ()) for name in (method, base))
        return not one.isdisjoint(other & {*FAMILIES})

    return _compare_pairs(evidence, "classification", PRIORS, BASELINES, is_pair=is_baseline)


def _compare_pairs(
    evidence: Evidence,
    task: str,
    first: Group,
    second: Group,
    tolerance: float = 0.0,
    is_pair: Callable[[str, str], bool] = lambda one, other: True,
) -> Rows:
    """Whether each method of the first group is better than each of the second, or at most `tolerance` worse."""
    sign = _sign(task)
    members = evidence.members(first), evidence.members(second)
    pairs = [(one, other) for one in members[0] for other in members[1] if is_pair(one, other)]
    rows: Rows = []
    for setup in evidence.setups:
        values = evidence.values(task, setup, dict.fromkeys(name for pair in pairs for name in pair))
        known = [pair for pair in pairs if pair[0] in values and pair[1] in values]
        covered = [
            evidence.cover(group, dict.fromkeys(pair[i] for pair in known)) for i, group in enumerate((first, second))
        ]
        for one, other in known if all(covered) else ():
            ours, theirs = values[one], values[other]
            row = {"method": one, LABELS[task]: ours.mean, "against": other, f"its {LABELS[task]}": theirs.mean}
            rows.append(describe_setup(setup) | row | _decide_pair(ours, theirs, sign, tolerance))
    return rows


# Samplers


def sampler_is_worse(worse: str, better: str, group: Group) -> Callable[[Evidence], Rows]:
    """For how many methods of a group FID is higher with one sampler than with another, for each setup."""

    def compare(evidence: Evidence) -> Rows:
        rows: Rows = []
        methods = evidence.members(group)
        for setup in evidence.setups:
            first = evidence.values("generation", setup, methods, worse)
            second = evidence.values("generation", setup, methods, better)
            shared = [name for name in first if name in second]
            if evidence.cover(group, shared):
                outcomes = {name: _decide_pair(second[name], first[name], 1) for name in shared}
                row = {f"median FID, {display(worse)}": _median(first[name].mean for name in shared)}
                row |= {f"median FID, {display(better)}": _median(second[name].mean for name in shared)}
                row |= {"exceptions": _exceptions(outcomes)}
                rows.append(describe_setup(setup) | row | _sum(outcomes))
        return rows

    return compare


def gmm_and_maf_are_alike(evidence: Evidence) -> Rows:
    rows: Rows = []
    for setup in evidence.setups:
        gmm, maf = (evidence.values("generation", setup, evidence.results.methods, name) for name in ("gmm", "maf"))
        shared = [name for name in gmm if name in maf]
        if not evidence.cover(METHODS, shared):
            continue

        values = {(sampler, name): by[name] for sampler, by in (("gmm", gmm), ("maf", maf)) for name in shared}
        difference = _difference_of_samplers({key: value.mean for key, value in values.items()})
        lower = sum(gmm[name].mean < maf[name].mean for name in shared)
        row = {"median relative difference": difference, "GMM lower": f"{lower} of {len(shared)} methods"}
        rows.append(describe_setup(setup) | row | decide(_likeness, values, inclusive=True))
    return rows


def _likeness(numbers: dict[tuple[str, str], float]) -> float:
    return ALIKE - _difference_of_samplers(numbers)


def _difference_of_samplers(numbers: dict[tuple[str, str], float]) -> float:
    """Median over methods of |MAF - GMM| / GMM."""
    gmm, maf = ({name: x for (one, name), x in numbers.items() if one == sampler} for sampler in ("gmm", "maf"))
    return statistics.median(abs(maf[name] - gmm[name]) / gmm[name] for name in gmm)


# Networks


def network_is_better(better: str, worse: str, tasks: Sequence[str]) -> Callable[[Evidence], Rows]:
    """For how many methods numbers are better with one network than with another, for each setup and task."""

    def compare(evidence: Evidence) -> Rows:
        first, second = evidence.network(better), evidence.network(worse)
        if first is None or second is None:
            for name, key in ((better, first), (worse, second)):
                if key is None:
                    evidence.note(f"no network {name}")
            return []
        rows: Rows = []
        for setup in evidence.setups:
            if setup.network != first:
                continue
            for task in tasks:
                ours = evidence.values(task, setup, evidence.results.methods)
                theirs = evidence.values(task, setup._replace(network=second), evidence.results.methods)
                shared = [name for name in ours if name in theirs]
                if not evidence.cover(METHODS, shared):
                    continue
                outcomes = {name: _decide_pair(ours[name], theirs[name], _sign(task)) for name in shared}
                row: dict[str, Any] = {"data": f"{display(setup.dataset)} ({setup.latent_dim})", "task": task}
                row |= {f"median, {display(first)}": _median(ours[name].mean for name in shared)}
                row |= {f"median, {display(second)}": _median(theirs[name].mean for name in shared)}
                row |= {"exceptions": _exceptions(outcomes)}
                rows.append(row | _sum(outcomes))
        return rows

    return compare


# Times of training


def vaegan_costs_and_generates(evidence: Evidence) -> Rows:
    rows: Rows = []
    for setup in evidence.setups:
        times = evidence.seconds(setup, evidence.results.methods)
        fids = evidence.values("generation", setup, evidence.results.methods)
        for label, values, sign in (("seconds of training", times, -1), ("FID", fids, 1)):
            own = [name for name in evidence.members(VAEGAN) if name in values]
            others = [name for name in values if name not in own]
            if not (evidence.cover(VAEGAN, own) and evidence.cover(OTHERS, others)):
                continue
            for method in own:
                best = min(others, key=lambda name: sign * values[name].mean)
                row = {"method": method, "number": label, "its value": values[method].mean}
                row |= {"extreme of the others": f"{best}: {values[best].mean:.4g}"}
                compared = {name: values[name] for name in (method, *others)}
                rows.append(describe_setup(setup) | row | decide(partial(_lead_of_one, method, sign), compared))
    return rows


def _lead_of_one(method: str, sign: int, numbers: dict[str, float]) -> float:
    """How much better a method is than the best of the others."""
    return min(sign * value for name, value in numbers.items() if name != method) - sign * numbers[method]


def flows_train_fast(evidence: Evidence) -> Rows:
    rows: Rows = []
    flows, vaes = evidence.members(FLOWS), evidence.members(VAE)
    for setup in evidence.setups:
        times = evidence.seconds(setup, [*flows, *vaes])
        known = [[name for name in names if name in times] for names in (flows, vaes)]
        if not (evidence.cover(FLOWS, known[0]) and evidence.cover(VAE, known[1])):
            continue
        for method in known[0]:
            for vae in known[1]:
                ours, theirs = times[method], times[vae]
                ratio = ours.mean / theirs.mean
                row = {"method": method, "seconds": ours.mean, "VAE's": theirs.mean, "ratio": ratio}
                outcome = decide(_time_left, {"ours": ours, "theirs": theirs}, inclusive=True)
                rows.append(describe_setup(setup) | row | outcome)
    return rows


def _time_left(numbers: dict[str, float]) -> float:
    return REASONABLE_TIME * numbers["theirs"] - numbers["ours"]


# Parts of comparisons


def describe_setup(setup: Setup) -> dict[str, Any]:
    """First value of a row: networks, data set and latent dimensions."""
    return {"setup": f"{display(setup.network)}, {display(setup.dataset)} ({setup.latent_dim})"}


def _sign(task: str) -> int:
    return 1 if task in LOWER_IS_BETTER else -1


def _decide_pair(ours: Value, theirs: Value, sign: int, tolerance: float = 0.0) -> dict[str, int]:
    """Whether ours is better than theirs, or at most `tolerance` worse. `sign` is 1 where lower is better, else -1."""
    values = {"ours": ours, "theirs": theirs}
    return decide(partial(_lead_of_pair, sign, tolerance), values, inclusive=tolerance > 0)


def _lead_of_pair(sign: int, tolerance: float, numbers: dict[str, float]) -> float:
    return sign * (numbers["theirs"] - numbers["ours"]) + tolerance


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _sum(outcomes: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """The counts of several comparisons."""
    return {key: sum(outcome[key] for outcome in outcomes.values()) for key in ("agree", "undecided", "compared")}


def _exceptions(outcomes: Mapping[str, Mapping[str, int]]) -> str:
    """Names of those that are decided and do not agree."""
    names = [name for name, outcome in outcomes.items() if not outcome["agree"] and not outcome["undecided"]]
    return ", ".join(names) or "none"
