"""Do single latents stand for single factors of variation? Five published answers, from arrays of latents and factors.

Published values disagree because definitions do; each docstring pins ours. Latents are posterior means, unless the
caller passes draws.
"""

__all__ = ["beta_vae_score", "dci", "factor_vae_score", "mutual_information_gap", "sap_score"]

import numpy as np
import torch
from torch import Tensor

from ..estimate import Estimate, require_features

INACTIVE = 0.05  # a latent with a smaller standard deviation does not take part in the scores that normalise by it


def _checked(name: str, latents: Tensor, factors: Tensor, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """(num, dim) latents as float64 and (num, num_factors) factors as indices of their values."""
    latents = latents.detach().flatten(1)
    require_features(name, latents, least)
    if factors.dim() != 2 or len(factors) != len(latents):
        raise ValueError(
            f"{name} needs factors of shape (num, num_factors) for {len(latents)} latents, got {tuple(factors.shape)}"
        )
    if factors.is_floating_point():
        raise ValueError(f"{name} needs factors that are integers, one for each of their values, got {factors.dtype}")
    columns = [np.unique(column, return_inverse=True)[1] for column in factors.cpu().numpy().T]
    for index, column in enumerate(columns):
        if not column.max():
            raise ValueError(f"{name} needs factors that vary, but factor {index} has one value only")
    return latents.cpu().double().numpy(), np.stack(columns, 1)


def _gap(scores: np.ndarray) -> np.ndarray:
    """(num_factors,) best less second best over latents, of (dim, num_factors)."""
    if len(scores) < 2:
        raise ValueError("a gap between the two best latents needs 2 or more latents, got 1")
    ranked = np.sort(scores, 0)
    return ranked[-1] - ranked[-2]


def _halves(num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(seed).permutation(num)
    return order[: num // 2], order[num // 2 :]


def mutual_information_gap(latents: Tensor, factors: Tensor, num_bins: int = 20) -> dict[str, Estimate]:
    r"""MIG: Isolating Sources of Disentanglement in VAEs (Chen, Li, Grosse & Duvenaud, 2018), arXiv:1802.04942.

    .. math::
        \frac1K \sum_k (I(z_{j_k}; v_k) - \max_{j \ne j_k} I(z_j; v_k)) / H(v_k)

    Pinned as in disentanglement_lib: each latent is cut into `num_bins` bins of equal width over its range, and the
    information is that of the joint counts. Counts of few rows overestimate it.

    Args:
        latents: (num, dim), 2 dimensions or more.
        factors: (num, num_factors) integers.
        num_bins: of each latent.
    """
    z, v = _checked("MIG", latents, factors)
    low, span = z.min(0), np.ptp(z, 0)
    bins = ((z - low) / np.where(span > 0, span, 1) * num_bins).astype(int).clip(0, num_bins - 1)
    binned = np.eye(num_bins)[bins].reshape(len(z), -1)
    information, entropies = [], []
    for column in v.T:
        joint = (binned.T @ np.eye(column.max() + 1)[column]).reshape(z.shape[1], num_bins, -1) / len(z)
        of_values = _entropy(joint[0].sum(0))
        information.append(_entropy(joint.sum(2)) + of_values - _entropy(joint.reshape(len(joint), -1)))
        entropies.append(of_values)
    gaps = _gap(np.stack(information, 1)) / np.array(entropies)
    return {"mig": Estimate(float(gaps.mean()), details={"mig_per_factor": gaps.tolist()})}


def _entropy(p: np.ndarray) -> np.ndarray:
    """In nats, over the last axis."""
    return -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(-1)


def dci(latents: Tensor, factors: Tensor, seed: int = 0, num_trees: int = 50) -> dict[str, Estimate]:
    r"""DCI: A Framework for the Quantitative Evaluation of Disentangled Representations (Eastwood & Williams, 2018),
    openreview:By-7dz-AZ.

    With R the importance of latent i for factor j: disentanglement is 1 less the entropy of the normalised row,
    weighted by the row's share of all importance; completeness the same by columns; informativeness the accuracy of
    the predictions.

    Pinned: importances are the mean decrease in impurity of scikit-learn's random forest of `num_trees` trees, fitted
    on one random half; accuracy is that on the other. (disentanglement_lib takes gradient boosting.)

    Args:
        latents: (num, dim).
        factors: (num, num_factors) integers, 2 factors or more.
        seed: of the halves and of the forests.
        num_trees: of each forest.
    """
    from sklearn.ensemble import RandomForestClassifier

    z, v = _checked("DCI", latents, factors, least=4)
    fit, test = _halves(len(z), seed)
    columns, accuracies = [], []
    for target in v.T:
        forest = RandomForestClassifier(num_trees, max_features=None, random_state=seed).fit(z[fit], target[fit])
        columns.append(forest.feature_importances_)
        accuracies.append(forest.score(z[test], target[test]))
    importance = np.stack(columns, 1) + 1e-11
    return {
        "dci_disentanglement": Estimate(_concentration(importance)),
        "dci_completeness": Estimate(_concentration(importance.T)),
        "dci_informativeness": Estimate(float(np.mean(accuracies))),
    }


def _concentration(importance: np.ndarray) -> float:
    rows = importance / importance.sum(1, keepdims=True)
    if rows.shape[1] < 2:
        raise ValueError("DCI needs 2 or more latents and 2 or more factors, got 1")
    scores = 1 - _entropy(rows) / np.log(rows.shape[1])
    return float((scores * importance.sum(1) / importance.sum()).sum())


def sap_score(latents: Tensor, factors: Tensor, seed: int = 0) -> dict[str, Estimate]:
    """SAP: Variational Inference of Disentangled Latent Concepts from Unlabeled Observations (Kumar, Sattigeri &
    Balakrishnan, 2018), arXiv:1711.00848.

    For each factor, the accuracy of the best latent by itself less that of the second best; the mean over factors.

    Pinned: by scikit-learn's LinearSVC with C = 0.01 and balanced classes, fitted on one random half and scored on the
    other, as disentanglement_lib does. A latent of no spread scores 0.

    Args:
        latents: (num, dim), 2 dimensions or more.
        factors: (num, num_factors) integers.
        seed: of the halves.
    """
    from sklearn.svm import LinearSVC

    z, v = _checked("SAP", latents, factors, least=4)
    fit, test = _halves(len(z), seed)
    scores = np.zeros((z.shape[1], v.shape[1]))
    for i, j in np.ndindex(scores.shape):
        if z[fit, i].std() > 1e-12:
            machine = LinearSVC(C=0.01, class_weight="balanced", random_state=seed, max_iter=5000)
            scores[i, j] = machine.fit(z[fit, i : i + 1], v[fit, j]).score(z[test, i : i + 1], v[test, j])
    gaps = _gap(scores)
    return {"sap": Estimate(float(gaps.mean()), details={"sap_per_factor": gaps.tolist()})}


class _Groups:
    """Rows that share the value of one factor, to draw from."""

    def __init__(self, factors: np.ndarray, seed: int):
        self.factors, self.random = factors, np.random.default_rng(seed)
        self.orders = np.argsort(factors, 0, kind="stable").T
        sizes = [np.bincount(column) for column in factors.T]
        self.sizes, self.starts = sizes, [np.cumsum(size) - size for size in sizes]

    def draw(self, votes: int, values: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """(votes,) factors, and (votes, values, rows) rows: those of the last axis share a value of the vote's factor,
        which is that of a random row, drawn anew for each."""
        fixed = self.random.integers(self.factors.shape[1], size=votes)
        chosen = np.empty((votes, values, rows), int)
        for factor in range(self.factors.shape[1]):
            own = np.flatnonzero(fixed == factor)
            shared = self.factors[self.random.integers(len(self.factors), size=(len(own), values, 1)), factor]
            offsets = (self.random.random((len(own), values, rows)) * self.sizes[factor][shared]).astype(int)
            chosen[own] = self.orders[factor][self.starts[factor][shared] + offsets]
        return fixed, chosen


def factor_vae_score(
    latents: Tensor, factors: Tensor, num_votes: int = 800, batch_size: int = 64, seed: int = 0
) -> dict[str, Estimate]:
    """The FactorVAE score: Disentangling by Factorising (Kim & Mnih, 2018), arXiv:1802.05983.

    Rows that share the value of one factor: the latent that varies least among them, relative to its variance over
    all rows, votes for the factor. The score is the accuracy of the majority vote on as many other draws.

    Pinned: rows are drawn with replacement from those given; latents of a standard deviation below 0.05 do not take
    part; with none left the score is 0.

    Args:
        latents: (num, dim).
        factors: (num, num_factors) integers.
        num_votes: draws to count votes from, and again to score.
        batch_size: rows of a draw.
        seed: of the draws.
    """
    z, v = _checked("the FactorVAE score", latents, factors)
    if batch_size < 2 or num_votes < 1:
        raise ValueError(f"batch_size must be 2 or more and num_votes 1 or more, got {batch_size} and {num_votes}")
    z = z[:, z.std(0) >= INACTIVE]
    if not z.shape[1]:
        return {"factor_vae_score": Estimate(0.0, details={"active_latents": 0})}
    groups, variance, votes = _Groups(v, seed), z.var(0, ddof=1), np.zeros((z.shape[1], v.shape[1]), int)

    def draw() -> tuple[np.ndarray, np.ndarray]:
        """The factor that was fixed, and the latent that varied least."""
        fixed, rows = groups.draw(num_votes, 1, batch_size)
        return fixed, (z[rows[:, 0]].var(1, ddof=1) / variance).argmin(1)

    fixed, still = draw()
    np.add.at(votes, (still, fixed), 1)
    fixed, still = draw()
    right = votes.argmax(1)[still] == fixed
    return {"factor_vae_score": Estimate(float(right.mean()), details={"active_latents": z.shape[1]})}


def beta_vae_score(
    latents: Tensor, factors: Tensor, num_votes: int = 5000, batch_size: int = 64, seed: int = 0
) -> dict[str, Estimate]:
    """The beta-VAE score: beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework (Higgins,
    Matthey, Pal, Burgess, Glorot, Botvinick, Mohamed & Lerchner, 2017), openreview:Sy2fzU9gl.

    The two rows of a pair share the value of one factor, drawn anew for each pair: from the mean over pairs of
    |z - z'|, a linear classifier tells which factor it was. The score is its accuracy on as many other draws.

    Pinned: scikit-learn's LogisticRegression; a pair's value is that of a random row; rows are drawn with replacement
    from those given.

    Args:
        latents: (num, dim).
        factors: (num, num_factors) integers, 2 factors or more.
        num_votes: draws to fit on, and again to score.
        batch_size: pairs of a draw.
        seed: of the draws.
    """
    from sklearn.linear_model import LogisticRegression

    z, v = _checked("the beta-VAE score", latents, factors)
    if v.shape[1] < 2:
        raise ValueError("the beta-VAE score needs 2 or more factors, got 1")
    groups, sets = _Groups(v, seed), []
    for _ in range(2):
        fixed, rows = groups.draw(num_votes, batch_size, 2)
        sets.append((np.abs(z[rows[..., 0]] - z[rows[..., 1]]).mean(1), fixed))
    (fit, answers), test = sets
    scale = fit.std() or 1.0
    classifier = LogisticRegression(random_state=seed, max_iter=1000).fit(fit / scale, answers)
    return {"beta_vae_score": Estimate(float(classifier.score(test[0] / scale, test[1])))}


def column_factors(labels: Tensor) -> Tensor:
    """Labels (num,) as the only factor, (num, 1); factors as they are."""
    return labels if labels.dim() == 2 else torch.as_tensor(labels).unsqueeze(1)
