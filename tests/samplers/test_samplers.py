"""The contract of samplers, for every row of cases.py."""

import copy
from math import prod

import pytest
import torch
from cases import METRIC, MODELS, ROWS, SAMPLERS, VAE, generator, images
from transformers import AutoModel

from gae_hub import AutoSampler, GaussianMixtureSampler, MAFSampler, PriorSampler
from gae_hub.metrics import energy_distance
from gae_hub.samplers.base import SAMPLERS as REGISTRY
from gae_hub.samplers.base import GAESampler, GAESamplerConfig, register_sampler


def two_moons(num, seed=0):
    g = generator(seed)
    angle = torch.pi * torch.rand(num, generator=g)
    is_upper = torch.randint(0, 2, (num,), generator=g).bool()
    points = torch.where(
        is_upper[:, None],
        torch.stack([angle.cos(), angle.sin()], 1),
        torch.stack([1 - angle.cos(), 0.5 - angle.sin()], 1),
    )
    return points + 0.05 * torch.randn(num, 2, generator=g)


FITTED = [case for case in SAMPLERS if case.fits_latents]


@pytest.fixture(params=SAMPLERS, ids=lambda case: case.id)
def case(request):
    return request.param


@pytest.fixture(scope="module")
def fitted_sampler():
    """Returns a row's sampler, fitted once to two moons, or to its source if it does not fit latents."""
    fitted = {}

    def fit(case):
        if case.id not in fitted:
            fitted[case.id] = case.fit(two_moons(500)) if case.fits_latents else case.fit_to_source()[0]
        return fitted[case.id]

    return fit


@pytest.fixture(scope="module")
def models():
    return {row.id: row.build() for row in MODELS}


fits_latents = pytest.mark.parametrize("case", FITTED, ids=lambda case: case.id, indirect=False)


def test_every_registered_sampler_has_a_row():
    missing = set(REGISTRY) - {case.id.split("-")[0] for case in SAMPLERS}
    assert not missing, f"add a row for {', '.join(missing)} to SAMPLERS in tests/cases.py"


# Sampling


def test_sample(case, fitted_sampler):
    fitted = fitted_sampler(case)
    once = fitted.sample(7, generator())
    assert once.shape == (7, *fitted.config.latent_shape) and once.isfinite().all() and not once.requires_grad
    assert torch.equal(once, fitted.sample(7, generator())) and not torch.equal(once, fitted.sample(7, generator(1)))
    assert fitted.sample().shape == (1, *fitted.config.latent_shape)


def test_sampling_does_not_change_the_state(case, fitted_sampler):
    fitted = fitted_sampler(case)
    state, config = copy.deepcopy(fitted.state_dict()), fitted.config.to_dict()
    fitted.sample(3)
    assert state.keys() == fitted.state_dict().keys() and config == fitted.config.to_dict()
    assert all(torch.equal(value, fitted.state_dict()[name]) for name, value in state.items())


def test_generate(case):
    sampler, model = case.fit_to_source(**case.brief())
    assert model.generate(4, sampler=sampler).shape == (4, 1, 8, 8)


# Saving


def test_save_and_load(case, fitted_sampler, tmp_path):
    fitted = fitted_sampler(case)
    fitted.save_pretrained(tmp_path)
    for auto in (AutoSampler, AutoModel, type(fitted)):
        again = auto.from_pretrained(tmp_path)
        assert type(again) is type(fitted)
        assert torch.equal(again.sample(9, generator()), fitted.sample(9, generator()))
    assert not hasattr(fitted, "encoder") or case.id == "two_stage_vae"
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors", ".md"}


def test_float64(case, fitted_sampler, tmp_path):
    fitted = copy.deepcopy(fitted_sampler(case)).double()
    fitted.save_pretrained(tmp_path)
    again = AutoSampler.from_pretrained(tmp_path, dtype=torch.float64)
    drawn = fitted.sample(6, generator())
    assert drawn.dtype == torch.float64
    torch.testing.assert_close(again.sample(6, generator()), drawn)


# Fitting


def test_fit_is_seeded_and_keeps_the_global_random_state(case):
    samples = []
    for seed in (5, 6):
        torch.manual_seed(seed)
        if case.fits_latents:
            fitted = case.fit_briefly(two_moons(100))
            assert torch.equal(torch.rand(3), torch.rand(3, generator=generator(seed)))
        else:
            fitted = case.fit_to_source(**case.brief())[0]
        samples.append(fitted.sample(9, generator()))
    assert torch.equal(*samples)


@fits_latents
def test_refit_at_another_size(case):
    sampler = case.build()
    case.fit_briefly(torch.randn(50, 2), sampler)
    case.fit_briefly(torch.randn(100, 5), sampler)
    assert sampler.sample(3).shape == (3, 5)


@fits_latents
def test_closer_to_the_data_than_a_gaussian(case, fitted_sampler):
    if not case.adapts:
        assert fitted_sampler(case).sample(20_000, generator()).std(0).sub(1).abs().max() < 0.02
        return
    fresh = two_moons(2000, seed=1)
    gaussian = GaussianMixtureSampler(num_components=1).fit(two_moons(500))
    found, plain = (energy_distance(s.sample(2000, generator()), fresh) for s in (fitted_sampler(case), gaussian))
    assert found < case.closeness * plain


@fits_latents
@pytest.mark.parametrize("shape", [(2, 6), (2, 3, 4), (2, 3, 2, 2)])
def test_maps(case, shape, tmp_path):
    """Maps are sampled as maps. Most samplers model them as vectors."""
    maps = torch.randn(60, *shape, generator=generator())
    sampler = case.fit_briefly(maps)
    assert (sampler.config.latent_dim, tuple(sampler.config.latent_shape)) == (prod(shape), shape)
    flat = case.fit_briefly(maps.flatten(1))
    drawn = sampler.sample(5, generator())
    assert drawn.shape == (5, *shape)
    assert torch.equal(drawn.flatten(1), flat.sample(5, generator())) != case.sees_maps
    sampler.save_pretrained(tmp_path)
    assert torch.equal(AutoSampler.from_pretrained(tmp_path).sample(5, generator()), drawn)


@pytest.mark.parametrize("name", ["gaussian_mixture-diag", "kernel_density", "empirical"])
def test_samples_of_a_fit_to_svae_have_unit_norm(name):
    case = next(case for case in SAMPLERS if case.id == name)
    drawn = case.build().fit_to(ROWS["svae"].build(), images(40)).sample(30, generator())
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(30))


# A fit that fails


def interrupt_fit(sampler, monkeypatch):
    """Make the sampler's next fit raise KeyboardInterrupt after all of its work."""
    last = next(name for name in ("adapt_step_size", "train_on", "estimate_density") if hasattr(sampler, name))
    work = getattr(sampler, last)

    def work_and_interrupt(*args, **kwargs):
        work(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(sampler, last, work_and_interrupt)


def test_interrupted_fit_changes_nothing(case, monkeypatch):
    fitted, model = case.fit_to_source(**case.brief())
    if case.source is METRIC:
        model.centroids.add_(1)
    expected, config, state = fitted.sample(9, generator()), fitted.config.to_dict(), fitted.state_dict()
    fresh = case.build()
    for sampler in (fitted, fresh):
        interrupt_fit(sampler, monkeypatch)
        with pytest.raises(KeyboardInterrupt):
            if case.fits_latents:
                case.fit_briefly(torch.randn(60, 5, generator=generator()), sampler)
            else:
                sampler.fit_to(model, images(40), **case.brief())
    assert torch.equal(fitted.sample(9, generator()), expected)
    assert fitted.config.to_dict() == config and fitted.state_dict().keys() == state.keys()
    assert fresh.config.latent_dim is None and fresh.config.latent_shape is None
    assert fresh.config.to_dict() == case.build().config.to_dict() and not fresh.state_dict()


def test_fit_to_the_aggregated_posterior():
    """Its covariance is that of the posteriors' means, plus the mean of their variances."""
    model, data = VAE.build().eval(), images(4000)
    posterior = model.encode(data)
    variances = posterior.log_var.exp().mean(0)
    expected = posterior.mean.T.cov() + variances.diag()
    scale = GaussianMixtureSampler(num_components=1).fit_to(model, data, progress=False).scales[0]
    found = scale @ scale.T
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0.1 * variances.mean().item())


def test_fit_to_validates_on_samples(monkeypatch):
    """The noise of the validation samples is another than that of the training samples."""
    given = {}
    monkeypatch.setattr(MAFSampler, "fit", lambda self, latents, **kw: given.update(kw, latents=latents) or self)
    model, data = VAE.build(), images(20)
    MAFSampler(num_flows=1, hidden_size=4).fit_to(model, data, data, progress=False)
    mean = model.eval().embed(data)
    noise, other = given["latents"] - mean, given["validation_latents"] - mean
    assert noise.std() > 0.1 and other.std() > 0.1 and (noise - other).std() > 0.1


def test_failed_fit_to_changes_nothing(monkeypatch):
    sampler = GaussianMixtureSampler(num_components=100)
    with pytest.raises(ValueError, match="num_components must be at most the number of latents, 40, got 100"):
        sampler.fit_to(ROWS["svae"].build(), images(40))
    assert not sampler.config.unit_norm and not sampler.config.is_fitted
    model = ROWS["vamp"].build()
    monkeypatch.setattr(model, "encode_components", lambda: 1 / 0)
    for sampler in (PriorSampler(), PriorSampler().fit_to(VAE.build())):
        config, state = sampler.config.to_dict(), sampler.state_dict()
        with pytest.raises(ZeroDivisionError):
            sampler.fit_to(model)
        assert sampler.config.to_dict() == config and sampler.state_dict().keys() == state.keys()


# Errors


def test_unfitted(case, tmp_path):
    sampler = case.build()
    with pytest.raises(ValueError, match="is not fitted: call fit or fit_to first"):
        sampler.sample(3)
    with pytest.raises(ValueError, match="is not fitted"):
        sampler.save_pretrained(tmp_path)


@fits_latents
def test_bad_arguments(case, fitted_sampler):
    sampler = case.build()
    with pytest.raises(ValueError, match=r"must be \(num, \*latent_shape\), got shape \(5,\)"):
        sampler.fit(torch.randn(5))
    with pytest.raises(ValueError, match="nan or infinite"):
        sampler.fit(torch.full((20, 2), torch.nan))
    assert not sampler.config.is_fitted
    with pytest.raises(ValueError, match="num_samples must be 1 or more, got 0"):
        fitted_sampler(case).sample(0)


@pytest.mark.parametrize("width", [1, 3])
@fits_latents
def test_latents_of_another_width(case, fitted_sampler, width):
    """Every method that accepts latents raises; a width of 1 would be broadcast."""
    fitted, latents = fitted_sampler(case), torch.zeros(5, width)
    message = rf"latents has shape \(5, {width}\), but the sampler is fitted to latents of shape \(2,\)"
    for name in ("log_prob", "bic", *(["forward"] if case.training else [])):
        if hasattr(fitted, name):
            with pytest.raises(ValueError, match=message):
                getattr(fitted, name)(latents)


def test_check_model(case, models):
    """Every sampler with every method: it fits, or the error names the samplers that do."""
    cls = type(case.build())
    for model in models.values():
        able = [name for name, other in REGISTRY.items() if other.explain_incompatibility(model) is None]
        if cls.explain_incompatibility(model) is None:
            cls.check_model(model)
            continue
        message = f"cannot model the latents of {type(model).__name__}: .*; use one of "
        with pytest.raises(ValueError, match=message) as error:
            case.build().fit_to(model, images())
        assert able and set(str(error.value).rpartition("use one of ")[2].split(", ")) == set(able)


@pytest.mark.parametrize("row", MODELS, ids=lambda row: row.id)
def test_samplers_of_every_method(row, models):
    able = {name for name, cls in REGISTRY.items() if cls.explain_incompatibility(models[row.id]) is None}
    has_codes = row.id in ("vq_vae", "vq_gan", "hrq_vae")
    assert {"empirical", "gaussian_mixture", "kernel_density"} <= able
    assert ("pixel_cnn" in able) == has_codes
    assert ("maf" in able) == (not has_codes and row.id != "svae")
    assert ("rhvae_manifold" in able) == (row.id == "rhvae")
    assert ("prior" in able) == (row.has_prior and not has_codes)


def test_fit_to_without_data():
    with pytest.raises(ValueError, match="GaussianMixtureSampler.fit_to needs a data set"):
        GaussianMixtureSampler().fit_to(VAE.build())


def test_register_checks_the_model_type():
    class NoSamplerConfig(GAESamplerConfig):
        model_type = "gae_thing"

    class NoSampler(GAESampler):
        config_class = NoSamplerConfig

    with pytest.raises(ValueError, match="must have the form 'gae_<name>_sampler', got 'gae_thing'"):
        register_sampler(NoSamplerConfig, NoSampler)
