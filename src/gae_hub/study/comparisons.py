"""The comparisons behind the findings: each returns rows of numbers, and how many of them agree with a claim."""

__all__ = [
    "Rows",
    "autoencoders",
    "best_dimensions",
    "beta_hurts_reconstruction",
    "disentangling_classifies",
    "flows_train_fast",
    "generation_wants_larger_beta",
    "gmm_and_maf_are_alike",
    "group_is_best",
    "iwae_samples",
    "large_beta_hurts_all",
    "network_is_better",
    "prior_classifies",
    "rae_beats_ae",
    "sampler_is_worse",
    "small_beta_reconstructs",
    "vae_equals_in_clustering",
    "vaegan_costs_and_generates",
    "variational_are_robust",
    "without_kl",
]

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from .evidence import LABELS, LOWER_IS_BETTER, NUMBERS, TASK_NAMES, Evidence
from .selection import Configuration, Setup

Rows = list[dict[str, Any]]
GAP_SHARE = 0.75  # of the gap between VAE and autoencoders
ALIKE = 0.10  # relative difference of FID
EQUALLED = 1.0  # percentage points
RANK_CORRELATION = 0.5
REASONABLE_TIME = 2.0  # times the VAE's


def group_is_best(task: str, group_of: Callable[[Evidence], list[str]]) -> Callable[[Evidence], Rows]:
    """Whether a group's median is better and most of the best methods belong to it, for each setup."""

    def compare(evidence: Evidence) -> Rows:
        rows: Rows = []
        group = group_of(evidence)
        for setup in evidence.setups:
            values = evidence.values(task, setup, evidence.results.methods)
            inside = {name: value for name, value in values.items() if name in group}
            outside = {name: value for name, value in values.items() if name not in group}
            if not inside or not outside:
                continue
            sign = 1 if task in LOWER_IS_BETTER else -1
            ranked = sorted(values, key=lambda name: sign * values[name])
            num_top = sum(name in inside for name in ranked[: len(inside)])
            medians = statistics.median(inside.values()), statistics.median(outside.values())
            agrees = sign * medians[0] < sign * medians[1] and num_top > len(inside) / 2
            rows.append(
                _place(setup)
                | {
                    f"median {LABELS[task]} of the group": medians[0],
                    f"median {LABELS[task]} of the others": medians[1],
                    f"of the group among the best {len(inside)}": num_top,
                    "best": ranked[0],
                }
                | _count(agrees)
            )
        return rows

    return compare


def autoencoders(evidence: Evidence) -> list[str]:
    return evidence.by_group("autoencoder")


def without_kl(evidence: Evidence) -> list[str]:
    return evidence.by_model("aae", "vae_gan", "wae_mmd", "rae_l2", "rae_gp")


def rae_beats_ae(evidence: Evidence) -> Rows:
    pairs = [(method, base) for method in evidence.by_model("rae_l2", "rae_gp") for base in evidence.by_model("ae")]
    return _pairs(evidence, "reconstruction", pairs)


def disentangling_classifies(evidence: Evidence) -> Rows:
    better = evidence.by_model("beta_vae", "beta_tc_vae")
    return _pairs(evidence, "classification", [(name, base) for name in better for base in evidence.by_model("vae")])


def prior_classifies(evidence: Evidence) -> Rows:
    bases = {"variational": evidence.by_model("vae"), "autoencoder": evidence.by_model("ae")}
    pairs = [
        (method, base)
        for method in evidence.by_group("prior")
        for family, names in bases.items()
        for base in names
        if family in evidence.results.methods[method]["groups"]
    ]
    return _pairs(evidence, "classification", pairs)


def vae_equals_in_clustering(evidence: Evidence) -> Rows:
    pairs = [(base, name) for base in evidence.by_model("vae") for name in evidence.by_group("disentangling")]
    return _pairs(evidence, "clustering", pairs, tolerance=EQUALLED)


def _pairs(evidence: Evidence, task: str, pairs: Sequence[tuple[str, str]], tolerance: float = 0.0) -> Rows:
    """Whether the first method of each pair is better than the second, or at most `tolerance` worse if given."""
    rows: Rows = []
    sign = 1 if task in LOWER_IS_BETTER else -1
    for setup in evidence.setups:
        values = evidence.values(task, setup, dict.fromkeys(name for pair in pairs for name in pair))
        for first, second in pairs:
            if first in values and second in values:
                lead = sign * (values[second] - values[first])
                row = {"method": first, LABELS[task]: values[first], "against": second}
                row[f"its {LABELS[task]}"] = values[second]
                rows.append(_place(setup) | row | _count(lead >= -tolerance if tolerance else lead > 0))
    return rows


def small_beta_reconstructs(evidence: Evidence) -> Rows:
    rows: Rows = []
    methods, vaes = evidence.by_model("beta_vae", "beta_tc_vae"), evidence.by_model("vae")
    for setup in evidence.setups:
        values = evidence.values("reconstruction", setup, evidence.results.methods)
        plain = [values[name] for name in evidence.by_group("autoencoder") if name in values]
        for method in methods:
            for vae in vaes:
                if not plain or method not in values or vae not in values:
                    continue
                target, mse = statistics.median(plain), values[method]
                gap = values[vae] - target
                share = (values[vae] - mse) / gap if gap > 0 else math.inf if mse <= target else -math.inf
                chosen = evidence.select("reconstruction", method, setup).configuration
                beta = chosen.fields.get("beta") if chosen else None
                row = {"method": method, "beta": "not known" if beta is None else beta, "MSE x 1000": mse}
                row |= {"its VAE": values[vae], "median of autoencoders": target, "share of the gap": share}
                rows.append(_place(setup) | row | _count(share >= GAP_SHARE and (beta is None or beta < 1)))
    return rows


def sampler_is_worse(worse: str, better: str, groups: Sequence[str]) -> Callable[[Evidence], Rows]:
    """For how many methods FID is higher with one sampler than with another, for each setup."""

    def compare(evidence: Evidence) -> Rows:
        rows: Rows = []
        for setup in evidence.setups:
            first = evidence.values("generation", setup, evidence.by_group(*groups), worse)
            second = evidence.values("generation", setup, evidence.by_group(*groups), better)
            shared = [name for name in first if name in second]
            if shared:
                exceptions = [name for name in shared if first[name] <= second[name]]
                row = {f"median FID, {worse}": statistics.median(first[name] for name in shared)}
                row |= {f"median FID, {better}": statistics.median(second[name] for name in shared)}
                row |= {"exceptions": ", ".join(exceptions)}
                counts = {"agree": len(shared) - len(exceptions), "compared": len(shared)}
                rows.append(_place(setup) | row | counts)
        return rows

    return compare


def gmm_and_maf_are_alike(evidence: Evidence) -> Rows:
    rows: Rows = []
    for setup in evidence.setups:
        gmm, maf = (evidence.values("generation", setup, evidence.results.methods, name) for name in ("gmm", "maf"))
        shared = [name for name in gmm if name in maf]
        if shared:
            difference = statistics.median(abs(maf[name] - gmm[name]) / gmm[name] for name in shared)
            lower = sum(gmm[name] < maf[name] for name in shared)
            row = {"median relative difference": difference, "GMM lower": f"{lower} of {len(shared)} methods"}
            rows.append(_place(setup) | row | _count(difference <= ALIKE))
    return rows


def iwae_samples(evidence: Evidence) -> Rows:
    rows: Rows = []
    for method in evidence.by_model("iwae"):
        for setup in evidence.setups:
            pairs = evidence.configurations(method, setup, "num_samples")
            for number, label, sign in (
                ("reconstruction/mse/test", "MSE", -1),
                ("training/seconds", "training time", 1),
            ):
                known = _known(pairs, number)
                if len(known) >= 3:
                    rank = _spearman(known)
                    row = {"method": method, "number": label, "configurations": len(known), "rank correlation": rank}
                    rows.append(_place(setup) | row | _count(sign * rank >= RANK_CORRELATION))
    return rows


def beta_hurts_reconstruction(evidence: Evidence) -> Rows:
    rows: Rows = []
    for method in evidence.by_model("beta_vae", "beta_tc_vae"):
        for setup in evidence.setups:
            known = _known(evidence.configurations(method, setup, "beta"), NUMBERS["reconstruction"])
            if len(known) >= 3:
                rank = _spearman(known)
                row = {"method": method, "configurations": len(known), "rank correlation": rank}
                rows.append(_place(setup) | row | _count(rank >= RANK_CORRELATION))
    return rows


def large_beta_hurts_all(evidence: Evidence) -> Rows:
    numbers = dict(NUMBERS) | {"generation": "generation/normal/fid/test"}
    rows: Rows = []
    for method in evidence.by_model("beta_vae", "beta_tc_vae"):
        for setup in evidence.setups:
            pairs = evidence.configurations(method, setup, "beta")
            for task in TASK_NAMES:
                known = _known(pairs, numbers[task])
                if len(known) < 3:
                    continue
                largest, median = known[-1][1], statistics.median(value for _, value in known)
                worse = largest > median if task in LOWER_IS_BETTER else largest < median
                row = {"method": method, "task": task, "largest beta": known[-1][0]}
                row |= {"its number": largest, "median of all": median}
                rows.append(_place(setup) | row | _count(worse))
    return rows


def generation_wants_larger_beta(evidence: Evidence) -> Rows:
    rows: Rows = []
    for method in evidence.by_model("beta_vae", "beta_tc_vae"):
        for setup in evidence.setups:
            chosen = [
                evidence.select("reconstruction", method, setup).configuration,
                evidence.select("generation", method, setup, "normal").configuration,
            ]
            betas = [configuration.fields.get("beta") for configuration in chosen if configuration is not None]
            known = [float(beta) for beta in betas if beta is not None]
            if len(known) == 2:
                row = {"method": method, "beta for reconstruction": known[0], "beta for generation": known[1]}
                rows.append(_place(setup) | row | _count(known[1] > known[0]))
            else:
                evidence.missing.setdefault("beta chosen for reconstruction and for the normal prior", set()).add(
                    method
                )
    return rows


def best_dimensions(evidence: Evidence) -> Rows:
    """Spread over tasks of the best number of dimensions, of autoencoders and variational methods."""
    rows: Rows = []
    for network, dataset, dims in _dimension_studies(evidence):
        spreads: dict[str, list[float]] = {"autoencoder": [], "variational": []}
        best: dict[str, dict[str, list[int]]] = {family: {} for family in spreads}
        for family in spreads:
            for method in evidence.by_group(family):
                found = {
                    task: dim
                    for task in TASK_NAMES
                    if (dim := _best_dimension(evidence, task, method, network, dataset, dims)) is not None
                }
                if len(found) >= 2:
                    spreads[family].append(statistics.pstdev(math.log2(dim) for dim in found.values()))
                    for task, dim in found.items():
                        best[family].setdefault(task, []).append(dim)
        if all(spreads.values()):
            row: dict[str, Any] = {"networks": network, "data": dataset}
            for family, label in (("autoencoder", "autoencoders"), ("variational", "variational methods")):
                dims_text = ", ".join(f"{task} {statistics.median(found):g}" for task, found in best[family].items())
                row |= {f"mean spread, {label}": statistics.fmean(spreads[family])}
                row |= {f"median of the best, {label}": dims_text}
            agrees = row["mean spread, autoencoders"] > row["mean spread, variational methods"]
            rows.append(row | _count(agrees))
    return rows


def variational_are_robust(evidence: Evidence) -> Rows:
    rows: Rows = []
    for network, dataset, dims in _dimension_studies(evidence):
        for task in TASK_NAMES:
            medians: dict[str, float] = {}
            for family in ("autoencoder", "variational"):
                methods = evidence.by_group(family)
                by_dim = [evidence.values(task, Setup(network, dataset, dim), methods) for dim in dims]
                changes = [
                    (max(curve) - min(curve)) / min(curve)
                    for method in methods
                    if len(curve := [values[method] for values in by_dim if method in values]) == len(dims)
                    and min(curve) > 0
                ]
                if changes:
                    medians[family] = statistics.median(changes)
            if len(medians) == 2:
                row = {"networks": network, "data": dataset, "task": task}
                row |= {"change, autoencoders": medians["autoencoder"]}
                row |= {"change, variational methods": medians["variational"]}
                rows.append(row | _count(medians["variational"] < medians["autoencoder"]))
    return rows


def _dimension_studies(evidence: Evidence) -> list[tuple[str, str, list[int]]]:
    dims = evidence.results.latent_dims
    found = [(n, d, dims.get(d, [])) for n in evidence.results.networks for d in evidence.results.datasets]
    return [study for study in found if len(study[2]) >= 3]


def _best_dimension(
    evidence: Evidence, task: str, method: str, network: str, dataset: str, dims: Sequence[int]
) -> int | None:
    """The number of dimensions that is best on validation. None unless every number of dimensions is measured."""
    values = [evidence.select(task, method, Setup(network, dataset, dim)).value for dim in dims]
    known = [value for value in values if value is not None]
    if len(known) < len(dims):
        evidence.missing.setdefault(f"{task} at every number of dimensions", set()).add(method)
        return None
    best = min(known) if task in LOWER_IS_BETTER else max(known)
    return dims[known.index(best)]


def network_is_better(better: str, worse: str, tasks: Sequence[str]) -> Callable[[Evidence], Rows]:
    def compare(evidence: Evidence) -> Rows:
        first, second = evidence.network(better), evidence.network(worse)
        if first is None or second is None:
            evidence.missing.setdefault(f"networks {better} and {worse}", set())
            return []
        rows: Rows = []
        for setup in evidence.setups:
            if setup.network != first:
                continue
            for task in tasks:
                ours = evidence.values(task, setup, evidence.results.methods)
                theirs = evidence.values(task, setup._replace(network=second), evidence.results.methods)
                shared = [name for name in ours if name in theirs]
                sign = 1 if task in LOWER_IS_BETTER else -1
                if shared:
                    row = {"data": setup.dataset, "latent dimensions": setup.latent_dim, "task": task}
                    row |= {f"median, {first}": statistics.median(ours[name] for name in shared)}
                    row |= {f"median, {second}": statistics.median(theirs[name] for name in shared)}
                    agree = sum(sign * ours[name] < sign * theirs[name] for name in shared)
                    rows.append(row | {"agree": agree, "compared": len(shared)})
        return rows

    return compare


def vaegan_costs_and_generates(evidence: Evidence) -> Rows:
    rows: Rows = []
    for method in evidence.by_model("vae_gan"):
        for setup in evidence.setups:
            times = evidence.seconds(setup, evidence.results.methods)
            fids = evidence.values("generation", setup, evidence.results.methods)
            for label, values, choose in (("seconds of training", times, max), ("FID", fids, min)):
                if method in values and len(values) > 1:
                    best = choose(values, key=lambda name: values[name])
                    row = {"number": label, method: values[method], "extreme": best, "its value": values[best]}
                    rows.append(_place(setup) | row | _count(best == method))
    return rows


def flows_train_fast(evidence: Evidence) -> Rows:
    rows: Rows = []
    for setup in evidence.setups:
        times = evidence.seconds(setup, [*evidence.by_group("flow"), *evidence.by_model("vae")])
        for method in evidence.by_group("flow"):
            for vae in evidence.by_model("vae"):
                if method in times and vae in times:
                    ratio = times[method] / times[vae]
                    row = {"method": method, "seconds": times[method], "VAE's": times[vae], "ratio": ratio}
                    rows.append(_place(setup) | row | _count(ratio <= REASONABLE_TIME))
    return rows


# Parts of comparisons


def _place(setup: Setup) -> dict[str, Any]:
    return {"networks": setup.network, "data": setup.dataset, "latent dimensions": setup.latent_dim}


def _count(agrees: bool) -> dict[str, int]:
    return {"agree": int(agrees), "compared": 1}


def _known(pairs: Sequence[tuple[float, Configuration]], number: str) -> list[tuple[float, float]]:
    """Values of a field with a number of their configurations, where it is measured."""
    found = [(value, configuration.estimate(number)) for value, configuration in pairs]
    return [(value, mean.value) for value, mean in found if mean is not None]


def _spearman(pairs: Sequence[tuple[float, float]]) -> float:
    """Spearman's rank correlation; 0 where one side is constant."""
    first, second = _ranks([pair[0] for pair in pairs]), _ranks([pair[1] for pair in pairs])
    if len(set(first)) < 2 or len(set(second)) < 2:
        return 0.0
    return statistics.correlation(first, second)


def _ranks(values: Sequence[float]) -> list[float]:
    """Ranks, equal values share the mean of theirs."""
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) - 1) / 2 for value in values]
