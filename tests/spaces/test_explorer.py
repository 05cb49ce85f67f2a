"""What a Space computes, compared with the library's own methods to the bit, for every method."""

from types import SimpleNamespace

import pytest
import torch
from cases import MODELS, ROWS, images

from gae_hub import BetaVAEConfig, BetaVAEModel, GAEImageProcessor, GaussianMixtureSampler, SVAEConfig, SVAEModel
from gae_hub.metrics.functional.reconstruction import psnr, squared_error
from gae_hub.samplers.latent_kinds import get_latent_kind
from gae_hub.spaces.example_sets import ExampleSet
from gae_hub.spaces.explorer import PRIOR, Explorer
from gae_hub.spaces.latent_axes import LatentAxes

X = images(12)
IDS = [case.id for case in MODELS]


def explorer(case_or_model):
    model = case_or_model.build().eval() if hasattr(case_or_model, "build") else case_or_model.eval()
    samplers = {} if model.has_prior else {"sampler": GaussianMixtureSampler(num_components=2).fit(model.embed(X))}
    return Explorer(model, GAEImageProcessor.for_model(model), samplers, ExampleSet(X, "random"))


@pytest.mark.parametrize("case", MODELS, ids=IDS)
def test_every_method(case):
    """Samples, reconstructions, interpolations, codes and sliders are those of the model's methods."""
    found = explorer(case)
    model, name = found.model, next(iter(found.samplers))
    expected = model.generate(5, sampler=found.samplers[name], generator=torch.Generator().manual_seed(3))
    assert torch.equal(found.decode(*found.draw_latents(name, 3, 5)), expected)
    result = found.reconstruct(X[:1])
    assert torch.equal(result.reconstruction, model.reconstruct(X[:1]))
    assert result.squared_error == squared_error(X[:1], result.reconstruction).item()
    assert result.psnr == psnr(X[:1], result.reconstruction).item()
    if result.codes is not None:
        assert torch.equal(result.codes, model.encode_codes(X[:1]))
    path = found.interpolate(X[:1], X[1:2], 5, straight=False)[1]
    assert torch.equal(path, model.interpolate(X[:1], X[1:2], 5)[0])
    if get_latent_kind(model) == "codes":  # quantizing a sum of code vectors again may choose other codes
        return
    near = found.vary(found.embed(X[:1]), 0.0, 0, 2)
    torch.testing.assert_close(found.decode(near), found.reconstruct(X[:1]).reconstruction.expand(2, -1, -1, -1))
    values = found.axes.coordinates(found.embed(X[2:3]))[0].tolist()
    torch.testing.assert_close(found.decode(found.move(2, values)), model.reconstruct(X[2:3]))


@pytest.fixture(scope="module")
def vectors():
    config = BetaVAEConfig(input_shape=(1, 8, 8), latent_dim=5)
    torch.manual_seed(0)
    return explorer(BetaVAEModel(config))


def test_sliders_set_dimensions_exactly(vectors):
    values = [0.1, -0.2, 0.3, 1.5, -0.7]
    latents = vectors.move(None, values)[0]
    assert [latents[dimension].item() for dimension in vectors.axes.dimensions] == torch.tensor(values).tolist()
    some = vectors.move(4, values[:2])[0]
    rest = vectors.axes.dimensions[2:]
    assert torch.equal(some[rest], vectors.embeddings[4][rest])


def test_strips_are_the_images_of_single_moves(vectors):
    values = [0.1, -0.2, 0.3]
    strip = vectors.traverse(1, values, [2, 0], 3).unflatten(0, (2, 3))
    for row, axis in zip(strip, [2, 0], strict=True):
        for image, value in zip(row, torch.linspace(vectors.axes.low[axis], vectors.axes.high[axis], 3), strict=True):
            moved = [value.item() if index == axis else old for index, old in enumerate(values)]
            torch.testing.assert_close(image, vectors.decode(vectors.move(1, moved))[0])


def test_axes_are_ordered_by_kl(vectors):
    kl = vectors.model.encode(X).kl_per_dimension().mean(0)
    assert vectors.axes.dimensions == kl.argsort(descending=True).tolist()
    assert vectors.axes.by == "kl" and vectors.axes.scores == sorted(vectors.axes.scores, reverse=True)


@pytest.mark.parametrize("name", ["ae", "beta_vae"])
def test_axes_are_measured_in_batches(name, monkeypatch):
    """So that examples of any size fit into memory."""
    model = ROWS[name].build().eval()
    embeddings = model.embed(X)
    expected = LatentAxes.measure(model, X, embeddings)
    encode, sizes = model.encode, []
    monkeypatch.setattr(model, "encode", lambda x: sizes.append(len(x)) or encode(x))
    monkeypatch.setattr("gae_hub.spaces.example_sets._MAX_BATCH_VALUES", 5 * 64)
    found = LatentAxes.measure(model, X, embeddings)
    assert sizes == [5, 5, 2]
    assert (found.by, found.names, found.num_active) == (expected.by, expected.names, expected.num_active)
    assert found.scores == pytest.approx(expected.scores, abs=2e-4)


def test_components_without_variance_are_not_active():
    directions = torch.linalg.qr(torch.randn(18, 18, generator=torch.Generator().manual_seed(0)))[0][:4]
    weights = torch.randn(40, 4, generator=torch.Generator().manual_seed(1)) * torch.tensor([3.0, 1.0, 0.5, 0.01])
    axes = LatentAxes.measure(None, X, (weights @ directions).view(40, 2, 3, 3))
    assert axes.num_active == 3 and len(axes) > 3 and axes.by == "explained variance"


def test_the_map_is_a_projection(vectors):
    points = vectors.plane.project(vectors.embeddings)
    again = torch.cat([vectors.lift(x, y) for x, y in points.tolist()])
    torch.testing.assert_close(vectors.plane.project(again), points)
    centred = vectors.embeddings - vectors.embeddings.mean(0)
    shares = torch.linalg.svdvals(centred).square()[:2] / centred.square().sum()
    torch.testing.assert_close(torch.tensor(vectors.plane.shares), shares, atol=1e-4, rtol=0)


@pytest.mark.parametrize("latent_dim", [1, 2])
def test_a_map_of_small_latent_spaces(latent_dim):
    """A point of the map of two latent dimensions is the latents themselves."""
    model = explorer(BetaVAEModel(BetaVAEConfig(input_shape=(1, 8, 8), latent_dim=latent_dim)))
    lifted = model.lift(0.5, -1.5)
    assert lifted.shape == (1, latent_dim)
    if latent_dim == 2:
        assert lifted.tolist() == [[0.5, -1.5]]


def test_latents_stay_on_the_sphere():
    found = explorer(SVAEModel(SVAEConfig(input_shape=(1, 8, 8), latent_dim=4)))
    for latents in (found.vary(found.embed(X[:1]), 0.5, 0, 3), found.move(0, [0.5, 0.5]), found.lift(0.1, 0.2)):
        torch.testing.assert_close(latents.norm(dim=-1), torch.ones(len(latents)))
    straight, along = (found.interpolate(X[:1], X[1:2], 5, flag)[0] for flag in (True, False))
    assert found.geometry == "great circle"
    assert straight[2].norm() < along[2].norm() and abs(along[2].norm() - 1) < 1e-5


def test_a_seed_gives_one_set_of_variations(vectors):
    latents = vectors.embed(X[:1])
    one, two, other = (vectors.vary(latents, 0.3, seed, 4) for seed in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_errors():
    table = BetaVAEModel(BetaVAEConfig(input_shape=(7,), latent_dim=2))
    with pytest.raises(ValueError, match=r"a Space shows models of images .* input_shape \(7,\) of this BetaVAEModel"):
        Explorer(table, None, {}, None)
    model = next(case for case in MODELS if case.id == "ae").build()
    with pytest.raises(ValueError, match="AEModel has no prior, and there is no sampler: fit one with gae-hub"):
        Explorer(model, GAEImageProcessor.for_model(model), {}, ExampleSet(X, "random"))


def test_the_prior_is_listed_last(vectors):
    sampler = SimpleNamespace(sample=None)
    both = Explorer(vectors.model, vectors.processor, {"sampler": sampler}, vectors.examples)
    assert list(both.samplers) == ["sampler", PRIOR]
    with pytest.raises(ValueError, match="no sampler can have the name .prior., .*: rename the folder of the sampler"):
        Explorer(vectors.model, vectors.processor, {PRIOR: sampler}, vectors.examples)
