"""The coupling of noise and points: the best permutation of all, also within groups."""

from itertools import permutations

import torch
from densities import noise

from gae_hub.modules.couplings import pair_optimally


def cost(noise, points):
    return (noise - points).square().sum()


def test_best_of_all_permutations():
    starts, points = noise(6, 3), 2 * noise(6, 3, seed=1) + 1
    found = pair_optimally(starts, points)
    best = min(permutations(range(6)), key=lambda order: cost(starts[[*order]], points).item())
    assert torch.equal(found, starts[[*best]]) and cost(found, points) < 0.9 * cost(starts, points)


def test_within_groups():
    """Each group keeps its noise, paired at best; the order of the groups does not matter."""
    starts, points, groups = noise(30, 2), noise(30, 2, seed=1), torch.arange(30) % 3
    found = pair_optimally(starts, points, groups)
    for group in range(3):
        own = groups == group
        assert torch.equal(found[own], pair_optimally(starts[own], points[own]))


def test_paths_on_a_line_do_not_cross():
    starts, points = noise(50, 1), noise(50, 1, seed=1).exp()
    found = pair_optimally(starts, points)
    order = points.squeeze(1).argsort()
    assert torch.equal(found[order], starts.sort(0).values)


def test_large_batches_are_paired_in_parts():
    """Of 128 rows: each part keeps its noise, paired at best, and its groups."""
    starts, points, groups = noise(300, 2), noise(300, 2, seed=1), torch.arange(300) % 2
    for given in (None, groups):
        found = pair_optimally(starts, points, given)
        for part in (slice(0, 128), slice(128, 256), slice(256, None)):
            own = None if given is None else given[part]
            assert torch.equal(found[part], pair_optimally(starts[part], points[part], own))


def test_an_empty_batch():
    assert pair_optimally(torch.empty(0, 2), torch.empty(0, 2)).shape == (0, 2)
