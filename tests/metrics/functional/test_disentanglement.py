"""Disentanglement scores of latents whose relation to the factors is known by construction."""

import numpy as np
import pytest
import torch
from cases import generator

from gae_hub.metrics import beta_vae_score, dci, factor_vae_score, mutual_information_gap, sap_score

SCORES = {
    "mig": mutual_information_gap,
    "dci_disentanglement": dci,
    "sap": sap_score,
    "factor_vae_score": factor_vae_score,
    "beta_vae_score": lambda z, v: beta_vae_score(z, v, num_votes=300, batch_size=32),
}


@pytest.fixture(scope="module")
def factors():
    """Every combination of three factors, with 4, 3 and 2 values, 40 times."""
    grid = torch.cartesian_prod(torch.arange(4), torch.arange(3), torch.arange(2))
    return grid.repeat(40, 1)


def noise(factors, dim, seed=0):
    return torch.randn(len(factors), dim, generator=generator(seed))


@pytest.mark.parametrize("name", SCORES)
def test_one_latent_per_factor_scores_high_and_noise_low(name, factors):
    perfect = factors[:, [2, 0, 1]].float() + 0.01 * noise(factors, 3)
    good, bad = (SCORES[name](z, factors)[name].value for z in (perfect, noise(factors, 3, 1)))
    assert good > (0.3 if name == "sap" else 0.95) and bad < 0.5
    assert good > bad + 0.25


@pytest.mark.parametrize("name", ["mig", "dci_disentanglement", "sap"])
def test_rotating_the_latents_lowers_the_score(name, factors):
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator(3))).Q
    perfect = (factors - factors.float().mean(0)) / factors.float().std(0)
    assert SCORES[name](perfect @ turn, factors)[name].value < SCORES[name](perfect, factors)[name].value - 0.15


def test_mutual_information_gap_of_known_latents(factors):
    """A copy of a factor has mutual information log 4 with it; a latent with its parity has log 2."""
    z = torch.stack([factors[:, 0], factors[:, 0] % 2], 1).float()
    found = mutual_information_gap(z, factors[:, :1])["mig"]
    assert found.value == pytest.approx((np.log(4) - np.log(2)) / np.log(4))
    copies = factors[:, [0, 0]].float()
    assert mutual_information_gap(copies, factors[:, :1])["mig"].value == pytest.approx(0, abs=1e-12)


def test_completeness_falls_if_two_latents_share_a_factor(factors):
    one = factors.float() + 0.01 * noise(factors, 3)
    low, high = (factors[:, :1] % 2).float(), (factors[:, :1] // 2).float()
    two = torch.cat([low, high, factors[:, 1:].float()], 1) + 0.01 * noise(factors, 4)
    whole, split = dci(one, factors), dci(two, factors)
    assert split["dci_disentanglement"].value > 0.95 and whole["dci_completeness"].value > 0.95
    assert split["dci_completeness"].value < whole["dci_completeness"].value - 0.1
    assert whole["dci_informativeness"].value == pytest.approx(1, abs=0.01)


def test_constant_latents_do_not_vote(factors):
    z = torch.cat([factors.float(), torch.full((len(factors), 2), 3.0)], 1)
    found = factor_vae_score(z, factors)["factor_vae_score"]
    assert found.value == 1 and found.details["active_latents"] == 3
    assert factor_vae_score(torch.zeros(len(factors), 2), factors)["factor_vae_score"].value == 0


def test_scores_are_reproducible(factors):
    z = factors.float() + noise(factors, 3)
    for name, score in SCORES.items():
        assert score(z, factors)[name].value == score(z, factors)[name].value
    order = torch.randperm(len(z), generator=generator(8))
    assert mutual_information_gap(z[order], factors[order])["mig"].value == pytest.approx(
        mutual_information_gap(z, factors)["mig"].value, abs=1e-12
    )


def beta_vae_score_by_loops(z, v, votes, pairs, seed, draw_each_pair=True):
    """The beta-VAE score as the paper defines it, pair by pair. `draw_each_pair`: each pair has its own value."""
    from sklearn.linear_model import LogisticRegression

    random, z, v = np.random.default_rng(seed), z.double().numpy(), v.numpy()
    sharing = {(k, x): np.flatnonzero(v[:, k] == x) for k in range(v.shape[1]) for x in np.unique(v[:, k])}
    sets = []
    for _ in range(2):
        fixed, points = random.integers(v.shape[1], size=votes), []
        for k in fixed:
            differences, value = [], v[random.integers(len(v)), k]
            for _ in range(pairs):
                value = v[random.integers(len(v)), k] if draw_each_pair else value
                first, second = sharing[k, value][random.integers(len(sharing[k, value]), size=2)]
                differences.append(np.abs(z[first] - z[second]))
            points.append(np.mean(differences, 0))
        sets.append((np.stack(points), fixed))
    (fit, answers), (test, expected) = sets
    scale = fit.std()
    return LogisticRegression(max_iter=1000).fit(fit / scale, answers).score(test / scale, expected)


def test_beta_vae_score_equals_the_papers_definition(factors):
    """A score far from 0 and 1, where it matters whether the value is drawn for each pair or once for all pairs.

    Each factor sets the standard deviation of its latent. Pairs with values of their own differ by the mean deviation,
    pairs that share one value by the deviation of that value.
    """
    v = factors[:, :2]
    z = noise(v, 2) * v**2
    ours = np.mean([beta_vae_score(z, v, 2000, 64, seed)["beta_vae_score"].value for seed in range(4)])
    paper, shared = (beta_vae_score_by_loops(z, v, 1500, 64, 2, each) for each in (True, False))
    assert ours == pytest.approx(paper, abs=0.035) and 0.65 < paper < 0.85
    assert abs(shared - ours) > 0.08


def test_invalid_input(factors):
    z = noise(factors, 3)
    for score in SCORES.values():
        with pytest.raises(ValueError, match=r"factors of shape \(num, num_factors\)"):
            score(z, factors[:, 0])
        with pytest.raises(ValueError, match="needs integer factors"):
            score(z, factors.float())
        with pytest.raises(ValueError, match="factor 1 has one value only"):
            score(z, factors * torch.tensor([1, 0, 1]))
        with pytest.raises(ValueError, match="nan or infinite"):
            score(z * float("nan"), factors)
    with pytest.raises(ValueError, match="2 or more latents, got 1"):
        mutual_information_gap(z[:, :1], factors)
    with pytest.raises(ValueError, match="2 or more factors, got 1"):
        beta_vae_score(z, factors[:, :1])
