"""The empirical distribution."""

from cases import generator
from densities import noise

from gae_hub import EmpiricalSampler


def test_draws_all_latents_equally_often():
    data = noise(10, 3)
    drawn = EmpiricalSampler().fit(data).sample(20_000, generator())
    counts = (drawn[:, None] == data).all(-1).sum(0)
    assert counts.sum() == 20_000 and (counts - 2000).abs().max() < 200
