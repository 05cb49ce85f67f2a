"""log_likelihood and bits_per_dimension of models whose p(x) is known, and data for which bits are not defined."""

from math import log, log2, pi, sqrt

import pytest
import torch
from cases import VAE, generator, images
from torch.distributions import MultivariateNormal, Normal

from gae_hub import load_data, load_images
from gae_hub.metrics import evaluate_model, evaluation_run
from gae_hub.metrics.functional.dequantization import count_levels, dequantize
from gae_hub.modules.likelihoods import LIKELIHOODS, Likelihood

BITS = "bits_per_dimension"
PIXELS = (256 * images(300, (2, 2, 2))).byte()


def constant_model(mean=0.0, shape=(2, 2, 2), **fields):
    """A VAE that decodes every z to one value, with its prior as the posterior: each estimate of p(x) is exact."""
    model = VAE.build(input_shape=shape, decoder_config={"hidden_sizes": []}, **fields)
    for parameter in model.parameters():
        parameter.data.zero_()
    model.decoder.net[0].bias.data.fill_(mean)
    return model


def gaussian(mean, std, shape=(2, 2, 2)):
    """p(x) = N(mean, std^2) for each pixel."""
    return constant_model(mean, shape, output_activation="identity", observation_std=std)


def measure(model, data, name=BITS, num_draws=3, seed=0):
    return evaluate_model(model, load_data(data), [name], seed=seed, options={name: {"num_draws": num_draws}})[name]


# Values that are known


def test_the_uniform_density_has_8_bits():
    """The continuous Bernoulli with logits 0 has the density 1 on [0, 1]."""
    assert measure(constant_model(likelihood="continuous_bernoulli"), PIXELS) == pytest.approx(8, abs=1e-6)


@pytest.mark.parametrize("kind", ["threshold", "stochastic"])
def test_a_fair_bernoulli_has_1_bit(kind):
    data = load_images(PIXELS, binarize=kind)
    assert measure(constant_model(likelihood="bernoulli"), data) == pytest.approx(1, abs=1e-6)


def test_a_bernoulli_has_the_cross_entropy_of_the_pixels():
    """-log2 of sigmoid(1) for ones and of sigmoid(-1) for zeros, in their shares."""
    data = load_images(PIXELS, binarize="stochastic")
    ones = (data.pixel_values == 255).double().mean().item()
    expected = log2(1 + 2.718281828459045**-1) + (1 - ones) * log2(2.718281828459045)
    assert measure(constant_model(1.0, likelihood="bernoulli"), data) == pytest.approx(expected, abs=1e-6)


def test_counts_have_a_log_probability_and_no_bits(monkeypatch):
    """Poisson counts with the rate 1: log p(x) = -sum(1 + log x!)."""
    counts = torch.poisson(torch.ones(300, 4), generator())
    monkeypatch.setitem(LIKELIHOODS, "unit_poisson", UnitPoisson)
    model = constant_model(shape=(4,), likelihood="unit_poisson", output_activation="identity")
    found = measure(model, counts, "log_likelihood")
    assert found == pytest.approx(-(1 + torch.lgamma(counts + 1)).sum(1).mean().item(), abs=1e-5)
    assert found.passport.settings["kind"] == "log probability of discrete values"
    with pytest.raises(ValueError, match="likelihood 'unit_poisson' is a probability of discrete values"):
        measure(model, counts)


class UnitPoisson(Likelihood):
    is_discrete = True

    def log_prob(self, pixel_values, logits, mean, adapt=True):
        return self.sum_pixels(pixel_values * logits - logits.exp() - torch.lgamma(pixel_values + 1))


@pytest.mark.parametrize("std", [0.25, 0.02])
def test_a_gaussian_bounds_the_bits_of_all_levels(std):
    """The bits of level k are -log2 of the integral of N(x; b, std^2) over [k / 256, (k + 1) / 256]. By Jensen's
    inequality, the bits of the dequantized levels are larger: by little where the density changes little in a cell."""
    rows = torch.stack([torch.randperm(256, generator=generator(seed)) for seed in range(40)])
    b, edges = 0.4, torch.arange(257, dtype=torch.float64) / 256
    # of the upper tails and of the lower ones, the differences of both that do not cancel
    left, right = (edges[:-1] - b) / std, (edges[1:] - b) / std
    low, high = torch.where(left > 0, -right, left), torch.where(left > 0, -left, right)
    log_high, log_low = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    exact = -(log_high + torch.log1p(-(log_low - log_high).exp())).mean().item() / log(2)
    square = ((edges[:-1] + 1 / 512 - b).square().mean() + 1 / 12 / 256**2).item()  # E_u[(x - b)^2]
    expected = 8 + log2(std * sqrt(2 * pi)) + square / (2 * std**2) / log(2)
    slopes = (edges[:-1] + 1 / 512 - b) / std**2 / 512  # of log p over half a cell: it is nearly linear in a cell
    assert expected - exact == pytest.approx((slopes.sinh() / slopes).log().mean().item() / log(2), rel=0.02)
    error = (((edges[:-1] - b) / std**2).square().mean() / 12 / 256**2 / rows.numel()).sqrt().item() / log(2)
    assert float(measure(gaussian(b, std, (256,)), rows.byte())) == pytest.approx(expected, abs=4 * error)


def test_a_narrow_gaussian_does_not_have_negative_bits():
    """Its density at k / 255 is unbounded as it narrows: 8 + log2(std sqrt(2 pi)) < 0. The bits of the dequantized
    pixels are 8 + log2(std sqrt(2 pi)) + E_u[(x - b)^2] / (2 std^2 log 2), by quadrature over u."""
    k, std = 100, 2e-4
    b, pixels = k / 255, torch.full((1, 4096), k, dtype=torch.uint8)
    naive = 8 + log2(std * sqrt(2 * pi))
    u = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    square = ((k + u) / 256 - b).square()
    expected = naive + square.mean().item() / (2 * std**2 * log(2))
    error = square.std().item() / (2 * std**2 * log(2)) / sqrt(4096)
    model = gaussian(b, std, (4096,))
    nats = measure(model, pixels, "log_likelihood")
    assert -float(nats) / 4096 / log(2) + 8 == pytest.approx(naive, abs=1e-3) and naive < -2
    assert float(measure(model, pixels)) == pytest.approx(expected, abs=4 * error)


def test_a_linear_model():
    """p(x) = N(b, W W^T + std^2 I). E_u[log p] over a cell in closed form, since log p is a quadratic."""
    std = 0.3
    model = VAE.build(
        input_shape=(4,),
        latent_dim=2,
        decoder_config={"hidden_sizes": []},
        output_activation="identity",
        observation_std=std,
    )
    layer = model.decoder.net[0]
    weight, bias = layer.weight.detach().double(), layer.bias.detach().double()
    covariance = weight @ weight.T + std**2 * torch.eye(4, dtype=torch.float64)
    pixels = PIXELS[:, 0].reshape(300, 4)
    centres = (pixels.double() + 0.5) / 256
    log_p = MultivariateNormal(bias, covariance).log_prob(centres) - covariance.inverse().trace() / 24 / 256**2
    expected = 8 - log_p.mean().item() / 4 / log(2)
    assert float(measure(model, pixels, num_draws=3000)) == pytest.approx(expected, abs=5e-3)


def test_standardized_pixels_have_the_same_bits():
    """N(m, s^2) of (x - shift) / scale is N(shift + m scale, (s scale)^2) of x, by the logarithm of the scales."""
    data = load_images(PIXELS, normalize="standardize")
    shift, scale = (
        torch.tensor(values).view(2, 1, 1) for values in (data.normalization.shift, data.normalization.scale)
    )
    found = evaluate_model(gaussian(0.2, 0.7), data, [BITS])[BITS]
    x = dequantize(PIXELS / 255)
    expected = 8 - Normal(shift + 0.2 * scale, 0.7 * scale).log_prob(x).mean().item() / log(2)
    assert float(found) == pytest.approx(expected, abs=1e-5)


# Dequantization


def test_dequantized_values_stay_in_their_cells():
    k = torch.arange(256).repeat(40, 1)
    x = dequantize(k / 255, seed=1)
    assert torch.equal((256 * x).floor().long(), k) and x.dtype == torch.float64
    u = 256 * x - k
    assert u.mean().item() == pytest.approx(0.5, abs=5 / sqrt(12 * 256))  # 40 equal images, so 256 draws
    assert torch.equal(x[0], x[1]) and not torch.equal(dequantize(k / 255, seed=2), x)
    with pytest.raises(ValueError, match="only the values k / 255 of 8-bit pixels can be dequantized"):
        dequantize(torch.tensor([[0.5]]))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0.0, 1.0]], 2),
        ([[0.0, 3 / 255]], 256),
        ([[0.5]], None),
        ([[-1 / 255]], None),
        ([[256 / 255]], None),
        ([[12_345 / 65_535]], None),
    ],
)
def test_levels_of_data(values, expected):
    assert count_levels([torch.ones(1, 2), torch.tensor(values)]) == expected


def test_bits_depend_on_the_seed_only(monkeypatch):
    """Not on the batch size or the order of the images. Values of other seeds can be compared."""
    model = gaussian(0.4, 0.05)
    first = measure(model, PIXELS)
    assert measure(model, PIXELS) == first
    assert measure(model, PIXELS.flip(0)) == pytest.approx(float(first), rel=1e-6)
    other = measure(model, PIXELS, seed=1)
    assert other != first and other.passport.seed == 1
    assert float(other) == pytest.approx(float(first), rel=1e-2)
    monkeypatch.setattr(evaluation_run, "BATCH_SIZE", 7)
    assert float(measure(model, PIXELS)) == pytest.approx(float(first), rel=1e-6)


# Passports


def test_passports_say_of_what_a_number_is_the_logarithm():
    grey = load_images(PIXELS)
    binary = load_images(PIXELS, binarize="stochastic")
    bernoulli = constant_model(likelihood="bernoulli")
    kinds = [
        measure(model, data, "log_likelihood").passport.settings["kind"]
        for model, data in ((gaussian(0.4, 1.0), grey), (bernoulli, binary), (bernoulli, grey))
    ]
    assert kinds == [
        "log density of continuous values",
        "log probability of binary pixels",
        "binary cross entropy of grey pixels, whose exponentials do not add up to 1: no log-likelihood",
    ]
    density, probability = measure(gaussian(0.4, 1.0), grey), measure(bernoulli, binary)
    assert density.passport.settings["dequantization"] == "(k + u) / 256 for pixels k, with u uniform in [0, 1)"
    assert density.passport.standard_error > 0 and density.passport.details["num_dims"] == 8
    with pytest.raises(ValueError, match="cannot be compared: their settings"):
        assert density < probability


def test_a_probability_is_not_divided_by_scales():
    """Of a table of 0 and 5, which normalize="unit" maps to 0 and 1."""
    table = 5.0 * (images(200, (3,)) > 0.5).numpy()
    data = load_data(table, normalize="unit")
    model = constant_model(shape=(3,), likelihood="bernoulli")
    assert float(measure(model, data, "log_likelihood")) == pytest.approx(3 * log(0.5), abs=1e-5)
    assert float(measure(model, data)) == pytest.approx(1, abs=1e-6)


# Data without bits per dimension


def refused(model, data):
    with pytest.raises(ValueError, match="^bits_per_dimension: ") as error:
        measure(model, data)
    return str(error.value)


def test_grey_pixels_with_a_bernoulli():
    message = refused(constant_model(likelihood="bernoulli"), PIXELS)
    assert "a probability of binary pixels" in message
    assert "--binarize threshold or stochastic" in message and "likelihood='continuous_bernoulli'" in message


def test_binary_pixels_with_a_density():
    data = load_images(PIXELS, binarize="threshold")
    assert "all pixels are 0 or 1: train the model with likelihood='bernoulli'" in refused(gaussian(0.4, 1.0), data)


@pytest.mark.parametrize("data", [images(50, (2, 2, 2)), images(50, (2, 2, 2)).mul(65_535).round() / 65_535])
def test_floats_and_16_bit_pixels(data):
    message = refused(gaussian(0.4, 1.0), load_images(data))
    assert "the values k / 255 of 8-bit pixels, but the data have others: measure log_likelihood, in nats" in message


def test_clipped_pixels():
    data = load_images(PIXELS, normalize="unit")
    assert "normalize='unit' clips" in refused(gaussian(0.4, 1.0), data)


def test_unknown_options():
    options = {BITS: {"num_dims": 3}}
    with pytest.raises(ValueError, match=f"the metric '{BITS}' has no option 'num_dims'; its options are num_draws"):
        evaluate_model(gaussian(0.4, 1.0), PIXELS, [BITS], options=options)
