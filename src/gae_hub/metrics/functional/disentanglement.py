"""Disentanglement: whether single latents represent single factors of variation, by five published scores.

Published values differ because definitions do; each docstring states ours under `Definition:`. Latents are posterior
means unless the caller passes draws.
"""

__all__ = ["beta_vae_score", "dci", "factor_vae_score", "mutual_information_gap", "sap_score"]

import numpy as np
from torch import Tensor

from ...core.argument_checks import check_count, describe
from ...core.threads import single_thread
from ..results import Estimate
from .checks import check_rows

INACTIVE = 0.05  # latents with a smaller standard deviation are excluded from the FactorVAE score


def mutual_information_gap(latents: Tensor, factors: Tensor, num_bins: int = 20) -> dict[str, Estimate]:
    r"""Mutual information gap (MIG) of latents.

    Isolating Sources of Disentanglement in VAEs (Chen, Li, Grosse & Duvenaud, 2018), arXiv:1802.04942.

    .. math::
        \frac1K \sum_k (I(z_{j_k}; v_k) - \max_{j \ne j_k} I(z_j; v_k)) / H(v_k)

    Definition: as in disentanglement_lib, each latent is divided into `num_bins` bins of equal width over its range,
    and the mutual information is computed from joint counts. With few rows it is overestimated.

    Args:
        latents: (num, dim), at least 2 dimensions.
        factors: (num, num_factors) integers.
        num_bins: number of bins for each latent.

    Raises:
        ValueError: if latents or factors do not meet these conditions.
    """
    check_count("num_bins", num_bins, minimum=2)
    z, v = _as_arrays("MIG", latents, factors)
    low, span = z.min(0), np.ptp(z, 0)
    bins = ((z - low) / np.where(span > 0, span, 1) * num_bins).astype(int).clip(0, num_bins - 1)
    binned = np.eye(num_bins)[bins].reshape(len(z), -1)
    information, entropies = [], []
    for column in v.T:
        joint = (binned.T @ np.eye(column.max() + 1)[column]).reshape(z.shape[1], num_bins, -1) / len(z)
        factor_entropy = _entropy(joint[0].sum(0))
        information.append(_entropy(joint.sum(2)) + factor_entropy - _entropy(joint.reshape(len(joint), -1)))
        entropies.append(factor_entropy)
    gaps = _gap(np.stack(information, 1)) / np.array(entropies)
    return {"mig": Estimate(float(gaps.mean()), details={"mig_per_factor": gaps.tolist()})}


def dci(latents: Tensor, factors: Tensor, seed: int = 0, num_trees: int = 50) -> dict[str, Estimate]:
    r"""Disentanglement, completeness and informativeness (DCI) of latents.

    A Framework for the Quantitative Evaluation of Disentangled Representations (Eastwood & Williams, 2018),
    openreview:By-7dz-AZ.

    R is the importance of latent i for factor j. Disentanglement is 1 minus the entropy of the normalised rows of R,
    weighted by each row's share of the total importance. Completeness is the same for columns. Informativeness is the
    accuracy of the predictions.

    Definition: importances are the mean decrease in impurity of scikit-learn's random forest of `num_trees` trees,
    fitted on a random half; accuracy is measured on the other half. disentanglement_lib uses gradient boosting.

    Args:
        latents: (num, dim), at least 2 dimensions.
        factors: (num, num_factors) integers, at least 2 factors.
        seed: seed of the halves and the forests.
        num_trees: number of trees in each forest.

    Raises:
        ValueError: if latents or factors do not meet these conditions.
    """
    from sklearn.ensemble import RandomForestClassifier

    check_count("num_trees", num_trees)
    z, v = _as_arrays("DCI", latents, factors, min_rows=4)
    fit, test = _split_in_half(len(z), seed)
    columns, accuracies = [], []
    for target in v.T:
        forest = RandomForestClassifier(
            num_trees,
            max_features=None,  # pyright: ignore[reportArgumentType] (the stub infers str from the default)
            random_state=seed,
        ).fit(z[fit], target[fit])
        columns.append(forest.feature_importances_)
        accuracies.append(forest.score(z[test], target[test]))
    importance = np.stack(columns, 1) + 1e-11
    return {
        "dci_disentanglement": Estimate(_concentration(importance)),
        "dci_completeness": Estimate(_concentration(importance.T)),
        "dci_informativeness": Estimate(float(np.mean(accuracies))),
    }


def sap_score(latents: Tensor, factors: Tensor, seed: int = 0) -> dict[str, Estimate]:
    """Separated attribute predictability (SAP) of latents.

    Variational Inference of Disentangled Latent Concepts from Unlabeled Observations (Kumar, Sattigeri & Balakrishnan,
    2018), arXiv:1711.00848.

    Accuracy of the best single latent for a factor minus the accuracy of the second best, averaged over factors.

    Definition: as in disentanglement_lib, scikit-learn's LinearSVC with C = 0.01 and balanced classes, fitted on a
    random half and scored on the other half. A constant latent scores 0.

    Args:
        latents: (num, dim), at least 2 dimensions.
        factors: (num, num_factors) integers.
        seed: seed of the halves.

    Raises:
        ValueError: if latents or factors do not meet these conditions.
    """
    from sklearn.svm import LinearSVC

    z, v = _as_arrays("SAP", latents, factors, min_rows=4)
    fit, test = _split_in_half(len(z), seed)
    scores = np.zeros((z.shape[1], v.shape[1]))
    for i, j in np.ndindex(scores.shape):
        if z[fit, i].std() > 1e-12:
            machine = LinearSVC(C=0.01, class_weight="balanced", random_state=seed, max_iter=5000)
            scores[i, j] = machine.fit(z[fit, i : i + 1], v[fit, j]).score(z[test, i : i + 1], v[test, j])
    gaps = _gap(scores)
    return {"sap": Estimate(float(gaps.mean()), details={"sap_per_factor": gaps.tolist()})}


def factor_vae_score(
    latents: Tensor, factors: Tensor, num_votes: int = 800, batch_size: int = 64, seed: int = 0
) -> dict[str, Estimate]:
    """The FactorVAE score of latents: Disentangling by Factorising (Kim & Mnih, 2018), arXiv:1802.05983.

    Each draw fixes the value of one factor. Among the rows that share it, the latent with the smallest variance,
    relative to its variance over all rows, votes for the factor. The score is the accuracy of the majority vote on as
    many new draws.

    Definition: rows are drawn with replacement. Latents with a standard deviation below 0.05 do not vote; if there are
    no others, the score is 0.

    Args:
        latents: (num, dim).
        factors: (num, num_factors) integers.
        num_votes: number of draws for the votes, and again for the score.
        batch_size: number of rows in a draw.
        seed: seed of the draws.

    Raises:
        ValueError: if latents or factors do not meet these conditions.
    """
    check_count("num_votes", num_votes)
    check_count("batch_size", batch_size, minimum=2)
    z, v = _as_arrays("the FactorVAE score", latents, factors)
    z = z[:, z.std(0) >= INACTIVE]
    if not z.shape[1]:
        return {"factor_vae_score": Estimate(0.0, details={"active_latents": 0})}
    groups, variance, votes = _RowGroups(v, seed), z.var(0, ddof=1), np.zeros((z.shape[1], v.shape[1]), int)

    def draw() -> tuple[np.ndarray, np.ndarray]:
        """Fixed factors, and the latents with the smallest variance."""
        fixed, rows = groups.draw(num_votes, 1, batch_size)
        return fixed, (z[rows[:, 0]].var(1, ddof=1) / variance).argmin(1)

    fixed, smallest = draw()
    np.add.at(votes, (smallest, fixed), 1)
    fixed, smallest = draw()
    correct = votes.argmax(1)[smallest] == fixed
    return {"factor_vae_score": Estimate(float(correct.mean()), details={"active_latents": z.shape[1]})}


def beta_vae_score(
    latents: Tensor, factors: Tensor, num_votes: int = 5000, batch_size: int = 64, seed: int = 0
) -> dict[str, Estimate]:
    """The beta-VAE score of latents.

    beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework (Higgins, Matthey, Pal, Burgess,
    Glorot, Botvinick, Mohamed & Lerchner, 2017), openreview:Sy2fzU9gl.

    Each draw fixes one factor and consists of pairs of rows. The two rows of a pair share a value of the factor, which
    is drawn for each pair. A linear classifier predicts the factor from the mean of |z - z'| over pairs. The score is
    its accuracy on as many new draws.

    Definition: the classifier is scikit-learn's LogisticRegression. The value of a pair is taken from a random row.
    Rows are drawn with replacement.

    Args:
        latents: (num, dim).
        factors: (num, num_factors) integers, at least 2 factors.
        num_votes: number of draws to fit on, and again to score.
        batch_size: number of pairs in a draw.
        seed: seed of the draws.

    Raises:
        ValueError: if latents or factors do not meet these conditions.
    """
    from sklearn.linear_model import LogisticRegression

    check_count("num_votes", num_votes)
    check_count("batch_size", batch_size)
    z, v = _as_arrays("the beta-VAE score", latents, factors)
    if v.shape[1] < 2:
        raise ValueError("the beta-VAE score needs 2 or more factors, got 1")
    groups, sets = _RowGroups(v, seed), []
    for _ in range(2):
        fixed, rows = groups.draw(num_votes, batch_size, 2)
        sets.append((np.abs(z[rows[..., 0]] - z[rows[..., 1]]).mean(1), fixed))
    (fit, fit_factors), (test, test_factors) = sets
    scale = fit.std() or 1.0
    with single_thread():
        classifier = LogisticRegression(random_state=seed, max_iter=1000).fit(fit / scale, fit_factors)
    return {"beta_vae_score": Estimate(float(classifier.score(test / scale, test_factors)))}


class _RowGroups:
    """Draws rows that share the value of one factor.

    Args:
        factors: (num, num_factors) indices.
        seed: seed of the draws.
    """

    def __init__(self, factors: np.ndarray, seed: int):
        self.factors, self.random = factors, np.random.default_rng(seed)
        self.orders = np.argsort(factors, 0, kind="stable").T
        self.sizes = [np.bincount(column) for column in factors.T]
        self.starts = [np.cumsum(size) - size for size in self.sizes]

    def draw(self, num_draws: int, num_values: int, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
        """(num_draws,) fixed factors, and (num_draws, num_values, num_rows) rows.

        Rows along the last axis share a value of the draw's factor, taken from a random row.
        """
        num_factors = self.factors.shape[1]
        fixed = self.random.integers(num_factors, size=num_draws)
        chosen = np.empty((num_draws, num_values, num_rows), int)
        for factor in range(num_factors):
            own = np.flatnonzero(fixed == factor)
            shared = self.factors[self.random.integers(len(self.factors), size=(len(own), num_values, 1)), factor]
            fractions = self.random.random((len(own), num_values, num_rows))
            offsets = (fractions * self.sizes[factor][shared]).astype(int)
            chosen[own] = self.orders[factor][self.starts[factor][shared] + offsets]
        return fixed, chosen


def _as_arrays(name: str, latents: Tensor, factors: Tensor, min_rows: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """(num, dim) latents in float64, and (num, num_factors) factors as indices of their values."""
    check_rows(name, "latents", latents, min_rows, "latents")
    latents = latents.detach().reshape(len(latents), -1)
    if not isinstance(factors, Tensor):
        raise ValueError(f"{name} needs factors that are a tensor (num, num_factors), got {describe(factors)}")
    if factors.dim() != 2 or len(factors) != len(latents):
        raise ValueError(
            f"{name} needs factors of shape (num, num_factors) for {len(latents)} latents, got {tuple(factors.shape)}"
        )
    if factors.is_floating_point():
        raise ValueError(f"{name} needs integer factors, got {factors.dtype}; number the values of each factor")
    columns = [np.unique(column, return_inverse=True)[1] for column in factors.cpu().numpy().T]
    for index, column in enumerate(columns):
        if not column.max():
            raise ValueError(f"{name} needs factors that vary, but factor {index} has one value only")
    return latents.cpu().double().numpy(), np.stack(columns, 1)


def _gap(scores: np.ndarray) -> np.ndarray:
    """(num_factors,) best minus second best score over latents, of (dim, num_factors)."""
    if len(scores) < 2:
        raise ValueError("a gap between the two best latents needs 2 or more latents, got 1")
    ranked = np.sort(scores, 0)
    return ranked[-1] - ranked[-2]


def _split_in_half(num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of two random halves."""
    order = np.random.default_rng(seed).permutation(num)
    return order[: num // 2], order[num // 2 :]


def _entropy(p: np.ndarray) -> np.ndarray:
    """Entropy over the last axis, in nats."""
    return -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(-1)


def _concentration(importance: np.ndarray) -> float:
    """1 minus the normalised entropy of each row, averaged with weights proportional to the rows' sums."""
    rows = importance / importance.sum(1, keepdims=True)
    if rows.shape[1] < 2:
        raise ValueError("DCI needs 2 or more latents and 2 or more factors, got 1")
    scores = 1 - _entropy(rows) / np.log(rows.shape[1])
    return float((scores * importance.sum(1) / importance.sum()).sum())
