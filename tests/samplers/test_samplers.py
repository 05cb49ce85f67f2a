"""The contract of samplers, for every row of cases.py, and the mathematics of each."""

import copy

import pytest
import torch
from cases import METRIC, MODELS, ROWS, SAMPLERS, VAE, generator, images
from transformers import AutoModel

from gae_hub import AutoSampler, GaussianMixtureSampler, GaussianMixtureSamplerConfig, PixelCNNSampler, PriorSampler
from gae_hub.metrics import energy_distance
from gae_hub.samplers.base import SAMPLERS as REGISTRY
from gae_hub.samplers.base import GAESampler, GAESamplerConfig, register_sampler


def two_moons(num, seed=0):
    g = generator(seed)
    angle = torch.pi * torch.rand(num, generator=g)
    upper = torch.randint(0, 2, (num,), generator=g).bool()
    points = torch.where(
        upper[:, None],
        torch.stack([angle.cos(), angle.sin()], 1),
        torch.stack([1 - angle.cos(), 0.5 - angle.sin()], 1),
    )
    return points + 0.05 * torch.randn(num, 2, generator=g)


FITTED = [case for case in SAMPLERS if case.fits_latents]


@pytest.fixture(params=SAMPLERS, ids=lambda case: case.id)
def case(request):
    return request.param


@pytest.fixture(scope="module")
def done():
    """What is fitted to two moons, or to its source, once."""
    fitted = {}

    def fit(case):
        if case.id not in fitted:
            fitted[case.id] = case.fit(two_moons(500)) if case.fits_latents else case.fit_to_source()[0]
        return fitted[case.id]

    return fit


@pytest.fixture(scope="module")
def models():
    return {row.id: row.build() for row in MODELS}


of_latents = pytest.mark.parametrize("case", FITTED, ids=lambda case: case.id, indirect=False)


def test_every_registered_sampler_has_a_row():
    assert {case.id.split("-")[0] for case in SAMPLERS} == set(REGISTRY)


def test_samples(case, done):
    fitted = done(case)
    once = fitted.sample(7, generator())
    assert once.shape == (7, *fitted.config.latent_shape) and once.isfinite().all() and not once.requires_grad
    assert torch.equal(once, fitted.sample(7, generator())) and not torch.equal(once, fitted.sample(7, generator(1)))
    assert fitted.sample().shape == (1, *fitted.config.latent_shape)


def test_save_and_load(case, done, tmp_path):
    fitted = done(case)
    fitted.save_pretrained(tmp_path)
    for auto in (AutoSampler, AutoModel, type(fitted)):
        again = auto.from_pretrained(tmp_path)
        assert type(again) is type(fitted)
        assert torch.equal(again.sample(9, generator()), fitted.sample(9, generator()))
    assert not hasattr(fitted, "encoder") or case.id == "two_stage_vae"
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors", ".md"}


def test_reads_and_writes_float64_and_draws_alike_there(case, done, tmp_path):
    fitted = copy.deepcopy(done(case)).double()
    fitted.save_pretrained(tmp_path)
    again = AutoSampler.from_pretrained(tmp_path, dtype=torch.float64)
    drawn = fitted.sample(6, generator())
    assert drawn.dtype == torch.float64
    torch.testing.assert_close(again.sample(6, generator()), drawn)


def test_fitting_is_seeded_and_leaves_the_global_noise(case):
    """Two short fits give the same draws, and the numbers that a person draws next are as if there had been none."""
    found = []
    for seed in (5, 6):
        torch.manual_seed(seed)
        if case.fits_latents:
            fitted = case.build().fit(two_moons(100), **case.brief())
            assert torch.equal(torch.rand(3), torch.rand(3, generator=generator(seed)))
        else:
            fitted = case.fit_to_source(**case.brief())[0]
        found.append(fitted.sample(9, generator()))
    assert torch.equal(*found)


@of_latents
def test_fits_again_at_another_size(case):
    sampler = case.build()
    sampler.fit(torch.randn(50, 2), **case.brief())
    sampler.fit(torch.randn(100, 5), **case.brief())
    assert sampler.sample(3).shape == (3, 5)


@of_latents
def test_closer_to_the_data_than_a_gaussian(case, done):
    if not case.adapts:
        assert done(case).sample(20_000, generator()).std(0).sub(1).abs().max() < 0.02
        return
    fresh = two_moons(2000, seed=1)
    gaussian = GaussianMixtureSampler(num_components=1).fit(two_moons(500))
    distances = [energy_distance(sampler.sample(2000, generator()), fresh) for sampler in (done(case), gaussian)]
    assert distances[0] < case.closeness * distances[1]


def test_drawing_changes_nothing_that_is_saved(case, done):
    fitted = done(case)
    before = copy.deepcopy(fitted.state_dict()), fitted.config.to_dict()
    fitted.sample(3)
    assert before[0].keys() == fitted.state_dict().keys() and before[1] == fitted.config.to_dict()
    assert all(torch.equal(value, fitted.state_dict()[name]) for name, value in before[0].items())


# A fit that fails


def interrupt(sampler, monkeypatch):
    """Let its next fit do all of its work, and be interrupted then."""
    last = "adapt" if hasattr(sampler, "adapt") else "estimate"
    work = getattr(sampler, last)

    def interrupted(*args, **kwargs):
        work(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(sampler, last, interrupted)


def test_a_fit_that_is_interrupted_changes_nothing(case, monkeypatch):
    """What was unfitted is unfitted, and what was fitted draws as before."""
    fitted, model = case.fit_to_source(**case.brief())
    if case.source is METRIC:
        model.centroids.add_(1)
    expected, config, state = fitted.sample(9, generator()), fitted.config.to_dict(), fitted.state_dict()
    fresh = case.build()
    for sampler in (fitted, fresh):
        interrupt(sampler, monkeypatch)
        with pytest.raises(KeyboardInterrupt):
            if case.fits_latents:
                sampler.fit(torch.randn(60, 5, generator=generator()), **case.brief())
            else:
                sampler.fit_to(model, images(40), **case.brief())
    assert torch.equal(fitted.sample(9, generator()), expected)
    assert fitted.config.to_dict() == config and fitted.state_dict().keys() == state.keys()
    assert fresh.config.latent_dim is None and fresh.config.latent_shape is None
    assert fresh.config.to_dict() == case.build().config.to_dict() and not fresh.state_dict()


def test_a_fit_to_a_model_that_fails_changes_nothing(monkeypatch):
    sampler = GaussianMixtureSampler(num_components=100)
    with pytest.raises(ValueError, match="num_components is 100, but there are only 40 latents"):
        sampler.fit_to(ROWS["svae"].build(), images(40))
    assert not sampler.config.unit_norm and not sampler.config.is_fitted
    model = ROWS["vamp"].build()
    monkeypatch.setattr(model, "components", lambda: 1 / 0)
    for sampler in (PriorSampler(), PriorSampler().fit_to(VAE.build())):
        config, state = sampler.config.to_dict(), sampler.state_dict()
        with pytest.raises(ZeroDivisionError):
            sampler.fit_to(model)
        assert sampler.config.to_dict() == config and sampler.state_dict().keys() == state.keys()


def test_codes_that_are_refused_leave_a_pixel_cnn_unfitted():
    codes, books = torch.zeros(4, 2, 2, dtype=torch.long), torch.randn(5, 2)
    for bad in ({"codes": codes + 5}, {"codes": codes, "validation_codes": codes - 1}):
        sampler = PixelCNNSampler()
        with pytest.raises(ValueError, match=r"codes must lie in \[0, 5\)"):
            sampler.fit(codebooks=books, **bad)
        assert sampler.config.to_dict() == PixelCNNSampler().config.to_dict()


def test_a_mixture_prior_leaves_nothing_to_the_next_prior(tmp_path):
    sampler = PriorSampler().fit_to(ROWS["vamp"].build()).fit_to(VAE.build())
    sampler.save_pretrained(tmp_path)
    assert torch.equal(AutoSampler.from_pretrained(tmp_path).sample(5, generator()), sampler.sample(5, generator()))


def test_generates_with_a_model(case):
    sampler, model = case.fit_to_source(**case.brief())
    assert model.generate(4, sampler=sampler).shape == (4, 1, 8, 8)


@of_latents
def test_maps_are_seen_as_vectors_and_come_back_as_maps(case, tmp_path):
    maps = torch.randn(60, 2, 3, 4, generator=generator())
    sampler = case.build().fit(maps, **case.brief())
    assert (sampler.config.latent_dim, tuple(sampler.config.latent_shape)) == (24, (2, 3, 4))
    flat = case.build().fit(maps.flatten(1), **case.brief())
    drawn = sampler.sample(5, generator())
    assert drawn.shape == (5, 2, 3, 4) and torch.equal(drawn.flatten(1), flat.sample(5, generator()))
    sampler.save_pretrained(tmp_path)
    assert torch.equal(AutoSampler.from_pretrained(tmp_path).sample(5, generator()), drawn)


def test_an_unfitted_one_says_so(case, tmp_path):
    sampler = case.build()
    with pytest.raises(ValueError, match="was not fitted: call fit"):
        sampler.sample(3)
    with pytest.raises(ValueError, match="nothing to save"):
        sampler.save_pretrained(tmp_path)


@of_latents
def test_what_goes_wrong(case, done):
    sampler = case.build()
    with pytest.raises(ValueError, match=r"must be \(num, \*latent_shape\), got shape \(5,\)"):
        sampler.fit(torch.randn(5))
    with pytest.raises(ValueError, match="nan or infinite"):
        sampler.fit(torch.full((20, 2), torch.nan))
    assert not sampler.config.is_fitted
    with pytest.raises(ValueError, match="num_samples must be 1 or more, got 0"):
        done(case).sample(0)


def test_refuses_a_model_and_says_which_can(case, models):
    """Every sampler, beside every method: it fits, or names those that do."""
    for model in models.values():
        cls = type(case.build())
        able = [name for name, other in REGISTRY.items() if other.why_not(model) is None]
        if cls.why_not(model) is None:
            cls.check_model(model)
            continue
        with pytest.raises(ValueError, match=f"cannot model the latents of {type(model).__name__}: .* can$") as error:
            case.build().fit_to(model, images())
        assert able and all(name in str(error.value) for name in able)


@pytest.mark.parametrize("row", MODELS, ids=lambda row: row.id)
def test_every_method_has_samplers(row, models):
    able = {name for name, sampler in REGISTRY.items() if sampler.why_not(models[row.id]) is None}
    assert {"empirical", "gaussian_mixture", "kernel_density"} <= able
    assert ("pixel_cnn" in able) == (row.id in ("vq_vae", "hrq_vae")) and ("maf" in able) == (
        row.id not in ("vq_vae", "hrq_vae", "svae")
    )
    assert ("rhvae_manifold" in able) == (row.id == "rhvae")
    assert ("prior" in able) == (row.has_prior and row.id not in ("vq_vae", "hrq_vae"))


def test_gaussian_mixture_recovers_its_parameters():
    means, stds = torch.tensor([[-4.0, 0.0], [4.0, 1.0]]), torch.tensor([[0.5, 1.0], [1.0, 0.3]])
    component = torch.multinomial(torch.tensor([0.25, 0.75]), 20_000, replacement=True, generator=generator())
    data = means[component] + stds[component] * torch.randn(20_000, 2, generator=generator(1))
    sampler = GaussianMixtureSampler(num_components=2).fit(data)
    order = sampler.means[:, 0].argsort()
    torch.testing.assert_close(sampler.weights[order], torch.tensor([0.25, 0.75]), atol=0.02, rtol=0)
    torch.testing.assert_close(sampler.means[order], means, atol=0.05, rtol=0)
    covariances = (sampler.scales @ sampler.scales.mT)[order]
    torch.testing.assert_close(covariances, stds.square().diag_embed(), atol=0.05, rtol=0)
    drawn = sampler.sample(50_000, generator(2))
    torch.testing.assert_close(drawn.mean(0), data.mean(0), atol=0.06, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), data.T.cov(), atol=0.25, rtol=0)
    left = drawn[:, 0] < 0
    assert abs(left[:25_000].float().mean() - left[25_000:].float().mean()) < 0.02  # components come in no order


def test_gaussian_mixture_keeps_correlations():
    """Drawn with L from the covariance L L^T, and not the other way round."""
    scale = torch.tensor([[1.0, 0.0, 0.0], [0.9, 0.5, 0.0], [-0.5, 0.3, 2.0]])
    data = torch.randn(20_000, 3, generator=generator()) @ scale.T
    drawn = GaussianMixtureSampler(num_components=1).fit(data).sample(50_000, generator(1))
    torch.testing.assert_close(drawn.T.cov(), data.T.cov(), atol=0.08, rtol=0)


def test_gaussian_mixture_needs_enough_latents():
    sampler = GaussianMixtureSampler()
    with pytest.raises(ValueError, match="num_components is 10, but there are only 4 latents"):
        sampler.fit(torch.randn(4, 2))
    with pytest.raises(ValueError, match="was not fitted"):
        sampler.sample()
    for fields in ({"num_components": 0}, {"covariance_type": "spherical"}):
        with pytest.raises(Exception, match=next(iter(fields))):
            GaussianMixtureSamplerConfig(**fields)


def test_register_checks_the_type():
    class NoSamplerConfig(GAESamplerConfig):
        model_type = "gae_thing"

    class NoSampler(GAESampler):
        config_class = NoSamplerConfig

    with pytest.raises(ValueError, match="must read 'gae_<name>_sampler', got 'gae_thing'"):
        register_sampler(NoSamplerConfig, NoSampler)
