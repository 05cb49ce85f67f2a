"""Constant dimensions: samples have their values, and the others are modelled as if they were not there."""

import pytest
import torch
from cases import SAMPLERS, generator
from densities import noise, two_moons

from gae_hub import AutoSampler, EmpiricalSampler, GaussianMixtureSampler, MAFSampler, PixelCNNSampler, PriorSampler
from gae_hub.samplers.constant_dimensions import find_constants, has_constants, insert_constants, select_varying

ROWS = [case for case in SAMPLERS if case.fits_latents and case.adapts]


def add_constants(latents):
    """Four dimensions: the latents are the first and the third; the others are constant, the last up to rounding."""
    first, second = latents.unbind(1)
    nearly = 3 + 1e-7 * torch.arange(len(latents)) / len(latents)
    return torch.stack([first, torch.full_like(first, 0.1), second, nearly], 1)


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.id)
def test_equals_a_fit_without_them(case, tmp_path):
    plain = two_moons(200, 0)
    whole, alone = (case.fit_briefly(latents) for latents in (add_constants(plain), plain))
    drawn = whole.sample(50, generator())
    assert torch.equal(drawn[:, [0, 2]], alone.sample(50, generator()))
    assert torch.equal(drawn[:, 1], torch.full((50,), 0.1))
    torch.testing.assert_close(drawn[:, 3], torch.full((50,), 3.0), atol=1e-6, rtol=0)
    whole.save_pretrained(tmp_path)
    again = AutoSampler.from_pretrained(tmp_path)
    assert torch.equal(again.sample(50, generator()), drawn)
    if case.id in ("empirical", "two_stage_vae"):  # no density
        return
    expected = alone.log_prob(plain)
    torch.testing.assert_close(whole.log_prob(add_constants(plain)), expected, rtol=0, atol=0)
    torch.testing.assert_close(again.log_prob(add_constants(plain).double()), expected, rtol=0, atol=0)
    elsewhere = add_constants(plain) + torch.tensor([0.0, 0.01, 0.0, 0.0])
    assert (whole.log_prob(elsewhere) == -torch.inf).all()


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.id)
def test_equal_latents(case):
    latents = torch.ones(20, 3)
    if case.id == "empirical":
        assert torch.equal(case.fit_briefly(latents).sample(5), torch.ones(5, 3))
        return
    sampler = case.build()
    with pytest.raises(ValueError, match="all [12]0 latents are equal, so they have no density: .*EmpiricalSampler"):
        case.fit_briefly(latents, sampler)
    assert not sampler.config.is_fitted and sampler.config.constants is None


def test_validation_latents_and_order():
    """The order of all dimensions becomes the order of those that vary."""
    plain = two_moons(100, 0)
    settings = {"num_train_epochs": 2, "progress": False, "validation_latents": add_constants(plain)}
    sampler = MAFSampler(hidden_size=8, order=[3, 2, 1, 0]).fit(add_constants(plain), **settings)
    expected = MAFSampler(hidden_size=8, order=[1, 0]).fit(plain, **{**settings, "validation_latents": plain})
    assert torch.equal(sampler.sample(5, generator())[:, [0, 2]], expected.sample(5, generator()))
    with pytest.raises(ValueError, match=r"order must contain each of 0 to 3 once, got \[1, 0\]"):
        MAFSampler(order=[1, 0]).fit(add_constants(plain), **settings)


def test_maps_and_refit():
    maps = noise(60, 2, 3, 3)
    maps[:, 1, 0] = torch.tensor([1.0, 2.0, 3.0])
    sampler = GaussianMixtureSampler(num_components=1).fit(maps)
    assert sampler.config.density_dim == 15
    drawn = sampler.sample(7, generator())
    assert drawn.shape == (7, 2, 3, 3) and torch.equal(drawn[:, 1, 0], maps[:7, 1, 0])
    assert sampler.log_prob(drawn).isfinite().all()
    assert sampler.fit(noise(60, 4)).config.constants is None and sampler.sample(2).shape == (2, 4)


def test_empirical_and_prior_keep_all_dimensions():
    latents = add_constants(two_moons(50, 0))
    for sampler in (EmpiricalSampler().fit(latents), PriorSampler().fit(latents)):
        assert sampler.config.constants is None and sampler.config.density_dim == 4
    assert sampler.sample(1000, generator())[:, 1].std() > 0.9


def test_pixel_cnn_with_a_constant_position():
    """Codes are discrete: a position that is constant has probability 1 in the limit, and needs no special case."""
    codes = torch.randint(0, 4, (300, 2, 2), generator=generator())
    codes[:, 1, 0] = 2
    sampler = PixelCNNSampler(hidden_size=8, num_hidden_layers=2)
    sampler.fit(codes, torch.randn(4, 2), num_train_epochs=40, learning_rate=2e-2, progress=False)
    drawn = sampler.draw_codes(500, generator()).squeeze(-1)
    assert (drawn[:, 1, 0] == 2).float().mean() > 0.98
    shares = drawn[:, 0, 0].bincount(minlength=4) / 500
    torch.testing.assert_close(shares, torch.full((4,), 0.25), atol=0.1, rtol=0)


def test_what_counts_as_constant():
    varying = noise(1000, 1)
    rows = {
        0.0: torch.zeros(1000, 1),
        1e-3: 1e-3 * varying,
        1e-5: 1e-5 * varying,
        -7.0: torch.full((1000, 1), -7.0),
        7.0: 7 + 4e-7 * varying,
    }
    constants = find_constants(torch.cat([varying, *rows.values()], 1))
    assert constants[:1] + constants[2:4] == [None] * 3 and constants[1] == 0 and constants[4] == -7
    assert abs(constants[5] - 7) < 2e-6
    assert find_constants(varying) is None
    latents = torch.cat([varying, *rows.values()], 1)
    assert has_constants(latents, constants).all() and has_constants(latents.bfloat16(), constants).all()
    again = insert_constants(select_varying(latents, constants), constants)
    torch.testing.assert_close(again, latents, atol=3e-6, rtol=0)
