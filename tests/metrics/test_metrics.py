"""Each metric against a value known by other means, and what they refuse."""

import json
import operator
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import METRICS, VAE, generator, images
from safetensors.torch import save_file

from gae_hub.data.datasets import ImageDataset
from gae_hub.metrics import (
    LPIPS,
    MEASURES,
    Measurement,
    Moments,
    Passport,
    active_units,
    clustering_accuracy,
    density_coverage,
    energy_distance,
    evaluate_model,
    frechet_distance,
    interpolation_quality,
    kernel_distance,
    kmeans,
    linear_probe,
    load,
    log_likelihood,
    precision_recall,
    psnr,
    reconstruction_mse,
    structural_similarity,
    to_results,
)
from gae_hub.metrics import METRICS as REGISTRY
from gae_hub.metrics.functional.clustering import clustering
from gae_hub.metrics.functional.inception_score import inception_score
from gae_hub.metrics.functional.kernel import kernel_distance_of_subsets
from gae_hub.metrics.images import as_float, as_uint8
from gae_hub.metrics.networks.classifier import FeatureClassifier, FeatureClassifierConfig
from gae_hub.metrics.networks.extractors import ClassifierExtractor
from gae_hub.metrics.networks.lpips import BACKBONES, _network


def gaussian(num, dim, seed=0):
    return torch.randn(num, dim, generator=generator(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def extractor():
    torch.manual_seed(0)
    config = FeatureClassifierConfig(image_size=8, channels=[4], feature_dim=6, num_classes=3)
    return ClassifierExtractor(FeatureClassifier(config), "tiny")


@pytest.fixture(scope="module")
def lpips_files(tmp_path_factory):
    """A published architecture with weights of our own, as files like the published ones: backbone and heads."""
    folder = tmp_path_factory.mktemp("lpips")
    spec = BACKBONES["vgg"]
    torch.manual_seed(0)
    torch.save({f"features.{name}": value for name, value in _network(spec).state_dict().items()}, folder / "vgg.pth")
    widths = [64, 128, 256, 512, 512]
    heads = {f"lin{i}.model.1.weight": torch.rand(1, width, 1, 1) for i, width in enumerate(widths)}
    torch.save(heads, folder / "heads.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "vgg", replace(spec, sha256=""))
        yield str(folder / "vgg.pth"), str(folder / "heads.pth")


@pytest.fixture(scope="module")
def lpips(lpips_files):
    return LPIPS("vgg", *lpips_files)


# The registry


def test_every_registered_metric_has_a_row():
    assert set(METRICS) == set(REGISTRY)
    assert set(MEASURES) <= set(REGISTRY)


def data(num=60):
    dataset = ImageDataset(images(num, (1, 16, 16)), torch.arange(num) % 3)
    dataset.factors = torch.stack([torch.arange(num) % 3, torch.arange(num) // 3 % 2], 1)
    return dataset


@pytest.mark.parametrize("name", METRICS)
def test_metrics_give_their_numbers_and_the_same_ones_again(name, extractor, lpips):
    quick = {"probe": {"num_epochs": 2}, "beta_vae_score": {"num_votes": 50}, "dci": {"num_trees": 3}}
    given = {"extractor": extractor, "lpips": lpips, "options": quick}
    runs = [
        evaluate_model(VAE.build(input_shape=(1, 16, 16)), data(), [name], num_samples=20, **given) for _ in range(2)
    ]
    assert set(runs[0]) == METRICS[name] and runs[0] == runs[1]
    for key, value in runs[0].items():
        assert torch.isfinite(torch.tensor(value)), key
        passport = value.passport.to_dict()
        assert passport["library"].startswith("gae_hub") and passport["num_samples"] > 0 and "seed" in passport
        assert Passport.from_dict(json.loads(json.dumps(passport))) == Passport.from_dict(passport)
    assert json.loads(json.dumps(to_results(runs[0])))["metrics"].keys() == METRICS[name]


# Passports


OPERATORS = ("lt", "le", "gt", "ge", "eq", "ne", "add", "sub", "truediv")
COMPARISONS = [max, *(getattr(operator, name) for name in OPERATORS)]


def measured(value=1.0, **fields):
    return Measurement(value, Passport(**{"metric": "fid", "extractor": "a", "extractor_sha256": "1", **fields}))


def test_numbers_of_unlike_extractors_refuse_to_be_compared():
    assert measured(1.0) < measured(2.0) and measured(3.0) - measured(1.0) == 2 and measured(1.0) < 2
    for unlike in (
        {"extractor": "b"},
        {"extractor_sha256": "2"},
        {"resize": "x"},
        {"metric": "kid"},
        {"settings": {"k": 3}},
        {"references_fingerprint": "0f"},
    ):
        for compare in COMPARISONS:
            with pytest.raises(ValueError, match="cannot be compared: their"):
                compare(measured(), measured(**unlike))
    with pytest.raises(ValueError, match="a passport has no field 'colour'|no field colour"):
        Passport.from_dict({"metric": "fid", "colour": 1})


def test_a_measurement_is_a_float_among_floats():
    one, two = measured(1.0), measured(2.0)
    assert one == 1.0 and one != two and sum([one, two]) == 3 and hash(one) == hash(1.0) and {one: "a"}[1.0] == "a"
    assert float(one) == float(measured(1.0, extractor="b"))  # at one's own risk
    assert pickle.loads(pickle.dumps(two)).passport == two.passport
    passport = Passport("fid", biased_by=("num_samples",), interval=(0.0, 1.0))
    assert Passport.from_dict(json.loads(json.dumps(passport.to_dict()))) == passport


def test_numbers_that_are_biased_by_counts_compare_at_equal_counts_only(extractor):
    x, y, few = images(60), images(60, seed=1), images(60, seed=2)

    def measure(name, x, y, **options):
        engine = MEASURES[name](feature_extractor=extractor, **options)
        engine.add(x, y)
        return engine.compute()

    for name, options in (("fid", {}), ("kid", {"num_subsets": 3, "subset_size": 10}), ("inception_score", {})):
        whole, part = measure(name, x, y, **options)[name], measure(name, x[:30], y, **options)[name]
        with pytest.raises(ValueError, match="their num_samples is 60 and 30"):
            _ = whole == part
        assert isinstance(whole < measure(name, few, y, **options)[name], bool)
    for key, value in measure("prdc", x, y).items():
        with pytest.raises(ValueError, match="their num_samples is 30 and 60"):
            _ = measure("prdc", x[:30], y)[key] > value
    assert isinstance(measure("kid", x, y)["kid"] < measure("kid", x[:30], y)["kid"], bool)  # from all pairs: unbiased
    whole, part = (measure("fid", x[:num], y, extrapolate=True)["fid_infinity"] for num in (60, 50))
    assert isinstance(whole < part, bool)


def test_numbers_against_other_references_refuse_to_be_compared(extractor):
    """The references are known by their content, whatever its order and batches, and by whom it was given."""
    x, y = images(60), images(60, seed=1)
    y = (y * 255).round() / 255

    def fid(*batches):
        engine = MEASURES["fid"](feature_extractor=extractor)
        engine.add(x)
        for batch in batches:
            engine.add(references=batch)
        return engine.compute()["fid"]

    whole = fid(y)
    for same in (y.flip(0).split(7), [list(y)], [(y * 255).round().to(torch.uint8)], [y.numpy()]):
        assert isinstance(whole < fid(*same), bool)
    model = VAE.build()
    given = {"num_samples": 60, "extractor": extractor}
    by_model = evaluate_model(model, y, ["fid", "reconstruction_fid", "mse", "log_likelihood"], **given)
    prints = {by_model[name].passport.references_fingerprint for name in ("fid", "reconstruction_fid")}
    assert prints == {whole.passport.references_fingerprint}
    other = evaluate_model(model, images(60, seed=3), ["fid", "mse", "log_likelihood"], **given)
    for name, value in other.items():
        with pytest.raises(ValueError, match="their references_fingerprint is"):
            _ = value < by_model[name]
    assert fid(y[:40], y[40:]).passport == whole.passport
    for unlike in (fid(y[:59]), fid(torch.cat([y[:59], y[:1]]))):
        with pytest.raises(ValueError, match="their references_fingerprint is"):
            _ = unlike == whole


# Images


def test_images_of_every_kind_become_the_same_bytes():
    eight = torch.randint(0, 256, (5, 3, 6, 7), generator=generator(), dtype=torch.uint8)
    for same in (eight, eight.numpy(), eight.movedim(1, 3).numpy(), eight.float() / 255, eight.double() / 255):
        assert torch.equal(as_uint8(same), eight)
    assert torch.equal(as_uint8(list(eight)), eight)
    assert as_uint8(eight[:, 0]).shape == (5, 1, 6, 7)
    torch.testing.assert_close(as_float(eight), eight / 255)


def test_images_that_are_refused():
    with pytest.raises(ValueError, match="divide by 255"):
        as_uint8(torch.full((2, 1, 4, 4), 200.0))
    with pytest.raises(ValueError, match="nan or infinite"):
        as_uint8(torch.full((2, 1, 4, 4), float("nan")))
    with pytest.raises(ValueError, match="must be uint8, or floats"):
        as_uint8(torch.zeros(2, 1, 4, 4, dtype=torch.int32))
    with pytest.raises(ValueError, match="there are no images"):
        as_uint8([])
    with pytest.raises(ValueError, match="differ in shape"):
        as_uint8([torch.zeros(1, 4, 4), torch.zeros(1, 5, 4)])
    with pytest.raises(ValueError, match="1 or 3 channels"):
        as_uint8(torch.zeros(2, 2, 4, 4))


def test_extractors_take_any_size_grey_and_lists(extractor):
    assert extractor(torch.rand(3, 1, 20, 31)).shape == (3, 6)
    mixed = [torch.rand(1, 9, 9), torch.rand(1, 5, 12)]
    one_by_one = torch.cat([extractor(image.unsqueeze(0)) for image in mixed])
    torch.testing.assert_close(extractor(mixed), one_by_one)
    with pytest.raises(ValueError, match="is for grey images"):
        extractor(torch.rand(3, 3, 8, 8))


# Reconstruction


def test_mean_squared_error():
    model, x = VAE.build(), images(50)
    expected = (x - model.reconstruct(x)).square().mean().item()
    assert reconstruction_mse(model, x, batch_size=7) == pytest.approx(expected, rel=1e-5)
    found = evaluate_model(model, x, ["mse"])
    assert found["mse"] == pytest.approx(expected) and found["mse_x1000"] == pytest.approx(1000 * expected)
    errors = (x - model.reconstruct(x)).square().flatten(1).mean(1).double()
    assert found["mse"].passport.standard_error == pytest.approx((errors.std() / 50**0.5).item(), rel=1e-4)


def test_similarities():
    x = images(4, (3, 24, 24))
    assert psnr(x, (x + 0.1) % 10).tolist() == pytest.approx([20.0] * 4)
    assert psnr(x, x).tolist() == [100.0] * 4
    torch.testing.assert_close(structural_similarity(x, x), torch.ones(4, dtype=torch.float64))
    assert structural_similarity(x, 1 - x).max() < 0


def test_flat_images_have_the_luminance_term_alone():
    a, b = torch.full((1, 1, 16, 16), 0.2), torch.full((1, 1, 16, 16), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert structural_similarity(a, b).item() == pytest.approx(expected, rel=1e-6)


def test_lpips_is_its_formula(lpips):
    x, y = images(2, (3, 16, 16)), images(2, (3, 16, 16), seed=1)
    shift, scale = torch.tensor([-0.03, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.45])
    total = torch.zeros(2)
    a, b = ((2 * t - 1 - shift.view(3, 1, 1)) / scale.view(3, 1, 1) for t in (x, y))
    taps = {3: 0, 8: 1, 15: 2, 22: 3, 29: 4}
    for index, layer in enumerate(lpips.features):
        a, b = layer(a), layer(b)
        if index in taps:
            difference = torch.nn.functional.normalize(a, dim=1) - torch.nn.functional.normalize(b, dim=1)
            total += (difference**2 * lpips.get_buffer(f"head{taps[index]}")).sum(1).mean((1, 2))
    torch.testing.assert_close(lpips(x, y), total)
    assert lpips(x, x).tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="needs images of 16 pixels a side or more"):
        lpips(x[..., :4], y[..., :4])


def test_lpips_by_each_way_that_its_error_names(tmp_path, lpips, lpips_files):
    backbone, heads = lpips_files
    with pytest.raises(OSError, match="the weights of lpips-vgg are not at .*: download them") as error:
        LPIPS("vgg", tmp_path / "no.pth")
    message = str(error.value).replace("BACKBONE", backbone).replace("HEADS", heads)
    paths = f"weights={backbone}, heads={heads})"
    assert f"LPIPS('vgg', {paths}" in message and f"load('lpips', backbone='vgg', {paths}" in message
    options = json.loads(message.partition("--options '")[2].rpartition("'")[0])
    x = images(5, (1, 16, 16))
    model = VAE.build(input_shape=(1, 16, 16))
    expected = lpips(model.reconstruct(x), x).mean().item()
    assert evaluate_model(model, x, ["lpips"], options=options)["lpips"] == pytest.approx(expected)
    metric = load("lpips", backbone="vgg", weights=backbone, heads=heads)
    assert metric.compute(predictions=model.reconstruct(x), references=x)["lpips"] == pytest.approx(expected)


def test_lpips_says_what_is_missing(tmp_path):
    with pytest.raises(OSError, match="the weights of lpips-alex are not at"):
        LPIPS("alex", tmp_path / "no.pth")
    torch.save({}, tmp_path / "alex.pth")
    with pytest.raises(ValueError, match="is not the published file of lpips-alex"):
        LPIPS("alex", tmp_path / "alex.pth")
    with pytest.raises(ValueError, match="backbone must be one of alex, vgg"):
        LPIPS("squeeze")


# Generation


def test_kernel_distance_is_the_sum_over_all_pairs():
    x, y = gaussian(30, 4), gaussian(40, 4, 1) + 0.3

    def kernel(a, b):
        return (a @ b.T / 4 + 1) ** 3

    within = [(kernel(t, t).sum() - kernel(t, t).diagonal().sum()) / (len(t) * (len(t) - 1)) for t in (x, y)]
    expected = within[0] + within[1] - 2 * kernel(x, y).mean()
    assert kernel_distance(x, y).value == pytest.approx(expected.item())


def test_kernel_distance_is_unbiased_and_knows_its_error():
    pairs = [(gaussian(40, 3, s), gaussian(50, 3, 10_000 + s) + 1.0) for s in range(400)]
    found = [kernel_distance(*pair) for pair in pairs]
    values = torch.tensor([f.value for f in found])
    exact = kernel_distance(gaussian(3000, 3, 77), gaussian(3000, 3, 78) + 1.0)
    assert values.mean() == pytest.approx(exact.value, abs=5 * (values.std().item() / 20 + exact.error))
    assert torch.tensor([f.error for f in found]).mean() == pytest.approx(values.std().item(), rel=0.25)
    equal = torch.tensor([kernel_distance(gaussian(20, 3, s), gaussian(20, 3, 5000 + s)).value for s in range(500)])
    assert abs(equal.mean()) < 4 * equal.std() / 500**0.5


def test_kernel_distance_of_subsets():
    x, y = gaussian(300, 4), gaussian(400, 4, 1) + 0.3
    subsets = kernel_distance_of_subsets(x, y, 150, 60)
    assert subsets.value == pytest.approx(kernel_distance(x, y).value, rel=0.2)
    assert subsets.details["deviation_of_subsets"] > 0
    with pytest.raises(ValueError, match="subset_size must be from 2 to the images of the smaller side, 300"):
        kernel_distance_of_subsets(x, y, 301)
    with pytest.raises(ValueError, match="KID needs 2 or more images on each side, got 1"):
        kernel_distance(x[:1], y)


def test_inception_score_of_uniform_and_of_certain_predictions():
    assert inception_score(torch.zeros(50, 10)).value == pytest.approx(1)
    certain = 1e4 * torch.eye(7).repeat(5, 1)
    assert inception_score(certain).value == pytest.approx(7)
    assert inception_score(certain, num_splits=5).value == pytest.approx(7)
    assert inception_score(certain[:21].roll(1, 0)).value == pytest.approx(7)


def test_inception_score_knows_its_error():
    found = [inception_score(2 * gaussian(200, 5, s)) for s in range(300)]
    values = torch.tensor([f.value for f in found])
    assert torch.tensor([f.error for f in found]).mean() == pytest.approx(values.std().item(), rel=0.15)


def test_precision_and_recall_are_not_swapped():
    """Samples within one of two places of the data: all of them are precise, and half of the data is found."""
    near, far = torch.rand(200, 2, generator=generator()), torch.rand(200, 2, generator=generator(1)) + 100
    references = torch.cat([near, far])
    samples = torch.rand(300, 2, generator=generator(2))
    found = precision_recall(samples, references) | density_coverage(samples, references)
    assert found["precision"].value > 0.9 and found["recall"].value == pytest.approx(0.5, abs=0.05)
    assert found["coverage"].value == pytest.approx(0.5, abs=0.05)
    swapped = precision_recall(references, samples)
    assert swapped["recall"].value == found["precision"].value and swapped["precision"].value == found["recall"].value
    low, high = found["recall"].interval
    assert low < 0.5 < high


def test_density_of_equal_distributions_is_one():
    found = density_coverage(gaussian(1500, 2), gaussian(1500, 2, 1))
    assert found["density"].value == pytest.approx(1, abs=0.1) and found["coverage"].value > 0.95
    with pytest.raises(ValueError, match="needs 4 or more images on each side, got 3"):
        precision_recall(gaussian(3, 2), gaussian(50, 2))


def test_neighbours_of_the_definition():
    x, y = gaussian(40, 3), gaussian(50, 3, 1)
    within = torch.cdist(y, y).fill_diagonal_(torch.inf).sort(1).values[:, 2]
    inside = torch.cdist(x, y) <= within
    assert precision_recall(x, y)["precision"].value == pytest.approx(inside.any(1).double().mean().item())
    assert density_coverage(x, y, 3)["density"].value == pytest.approx((inside.sum() / (3 * 40)).item())
    assert density_coverage(x, y, 3)["coverage"].value == pytest.approx(inside.any(0).double().mean().item())


def test_energy_distance_of_two_gaussians():
    """In one dimension it is twice the integral of (F - G)^2."""
    normal = torch.distributions.Normal(0.0, 1.0)
    x = normal.icdf((torch.arange(3000, dtype=torch.float64) + 0.5) / 3000).unsqueeze(1)
    y = x + 1
    grid = torch.linspace(-8, 9, 10_001, dtype=torch.float64)
    exact = 2 * torch.trapezoid((normal.cdf(grid) - normal.cdf(grid - 1)) ** 2, grid).item()
    assert energy_distance(x, y) == pytest.approx(exact, rel=2e-3)
    assert abs(energy_distance(x, torch.randn(3000, 1, generator=generator(2)))) < 0.005
    with pytest.raises(ValueError, match="at least 2 points on each side, got 1 and 3000"):
        energy_distance(x[:1], y)


@pytest.mark.parametrize("chunk", [1, 7])
def test_kernels_and_neighbours_in_chunks_give_the_same(chunk, monkeypatch):
    x, y = (torch.randn(n, 5, generator=generator(n), dtype=torch.float64) for n in (20, 33))

    def numbers():
        neighbours = precision_recall(x, y) | density_coverage(x, y)
        return {name: (e.value, e.error) for name, e in (neighbours | {"kid": kernel_distance(x, y)}).items()}

    whole = numbers()
    monkeypatch.setattr("gae_hub.metrics.functional.kernel.CHUNK", chunk)
    monkeypatch.setattr("gae_hub.metrics.functional.neighbours.CHUNK", chunk)
    assert numbers() == {name: pytest.approx(values, rel=1e-10) for name, values in whole.items()}


def test_energy_distance_in_chunks_is_the_whole_formula(monkeypatch):
    x, y = gaussian(30, 5), gaussian(22, 5, 1) + 0.3
    full = 2 * torch.cdist(x, y).mean() - torch.pdist(x).mean() - torch.pdist(y).mean()
    sizes, inner = [], torch.cdist
    monkeypatch.setattr(torch, "cdist", lambda a, b: sizes.append(len(a) * len(b)) or inner(a, b))
    for chunk in (1, 7, 2048):
        monkeypatch.setattr("gae_hub.metrics.functional.energy.CHUNK", chunk)
        sizes.clear()
        assert energy_distance(x, y) == pytest.approx(full.item(), rel=1e-12)
        assert max(sizes) <= chunk**2


def test_energy_distance_is_unbiased():
    distances = torch.tensor(
        [energy_distance(*torch.randn(2, 10, 3, generator=generator(seed))) for seed in range(600)]
    )
    assert abs(distances.mean()) < 4 * distances.std() / 600**0.5


# Likelihood and latents


def test_log_likelihood_and_bits():
    values = torch.tensor([-10.0, -12.0, -14.0])
    found = log_likelihood(values, num_dims=4)
    assert found["log_likelihood"].value == -12 and found["log_likelihood"].error == pytest.approx(2 / 3**0.5)
    assert found["bits_per_dimension"].value == pytest.approx(12 / (4 * np.log(2)) + 8)
    assert log_likelihood(values, 4, discrete=True)["bits_per_dimension"].value == pytest.approx(3 / np.log(2))
    with pytest.raises(ValueError, match="1 log-likelihoods are nan or infinite"):
        log_likelihood(torch.tensor([0.0, float("nan")]))


def test_uniform_images_have_eight_bits():
    """The density of uniform noise in [0, 1] is 1: 8 bits for each pixel of 256 levels."""
    assert log_likelihood(torch.zeros(5), num_dims=64)["bits_per_dimension"].value == 8


def test_active_units_and_divergence():
    means = torch.zeros(100, 3)
    means[::2, 1] = 1
    assert active_units(means) == 1
    model, x = VAE.build(), images(30)
    found = evaluate_model(model, x, ["latent_usage"])
    posterior = model.encode(x)
    assert found["kl"] == pytest.approx(posterior.kl().mean().item(), rel=1e-5)
    each = found["kl_per_dimension"].passport.details["kl_of_each_dimension"]
    assert each == pytest.approx(posterior.kl_per_dimension().mean(0).tolist(), rel=1e-5)


# Clustering and classification


def test_clustering_accuracy():
    centres = 20 * torch.eye(4)
    labels = torch.arange(400) % 4
    points = centres[labels] + torch.randn(400, 4, generator=generator())
    assert clustering_accuracy(points, labels + 7)[0] > 0.95
    merged = clustering_accuracy(torch.randn(3000, 2, generator=generator()), torch.arange(3000) % 3)
    assert merged[0] == pytest.approx(1 / 3, abs=0.03) and merged[1] < 0.02


def test_a_cluster_stands_for_its_prevalent_class():
    """Two classes share one place, the third has two: by cluster 100 + 80 + 20 of 250 are right."""
    sites = 50 * torch.eye(3)
    place = torch.tensor([0] * 150 + [1] * 80 + [2] * 20)
    labels = torch.tensor([0] * 100 + [1] * 50 + [2] * 100)
    points = sites[place] + torch.randn(250, 3, generator=generator())
    assert clustering_accuracy(points, labels, num_fits=3) == pytest.approx((0.8, 0.0))
    found = clustering(points, labels, num_fits=3)
    assert found["clustering_hungarian"].value == pytest.approx(180 / 250)  # the last cluster keeps nothing


def test_agreement_by_scikit_learns_measures():
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    points, labels = gaussian(300, 2), torch.arange(300) % 4
    points[:, 0] += 2 * (labels % 2)
    clusters, _ = kmeans(points, 4, 5, seed=3)
    found = clustering(points, labels, 5, seed=3)
    for name, score in (("nmi", normalized_mutual_info_score), ("ari", adjusted_rand_score)):
        expected = np.mean([score(labels.numpy(), fit.numpy()) for fit in clusters])
        assert found[f"clustering_{name}"].value == pytest.approx(expected, abs=1e-9)


def test_kmeans_ends_where_lloyds_algorithm_stands_still():
    points = torch.cat([gaussian(200, 3), gaussian(100, 3, 1) + 3])
    clusters, inertia = kmeans(points, 3, 6, tol=0.0)
    for fit, total in zip(clusters, inertia, strict=True):
        centres = torch.stack([points[fit == k].mean(0) for k in range(3)]).float()
        assert torch.equal(torch.cdist(points.float(), centres).argmin(1), fit)
        assert total.item() == pytest.approx((points - centres[fit]).square().sum().item(), rel=1e-5)


def test_kmeans_is_as_good_as_scikit_learns():
    from sklearn.cluster import KMeans

    points = 2.5 * gaussian(8, 4, 5)[torch.arange(2000) % 8] + gaussian(2000, 4)
    ours = kmeans(points, 8, 40)[1]
    theirs = torch.tensor([KMeans(8, n_init=1, random_state=s).fit(points.numpy()).inertia_ for s in range(40)])
    assert ours.min().item() == pytest.approx(theirs.min().item(), rel=1e-3)
    assert abs(ours.mean() - theirs.mean()) < 4 * (ours.var() / 40 + theirs.var() / 40).sqrt()


def test_probe_finds_what_is_linear():
    labels = torch.arange(600) % 3
    latents = 4 * torch.eye(3, 5)[labels] + torch.randn(600, 5, generator=generator())
    train, test = (latents[:400], labels[:400] + 5), (latents[400:], labels[400:] + 5)
    found = linear_probe(*train, *test, num_epochs=150)["probe_accuracy"]
    assert found.value > 0.97 and found.details["num_runs"] == 20 and found.details["deviation_of_runs"] < 0.02
    noise = linear_probe(latents[:400], labels[torch.randperm(600)][:400], latents[400:], labels[400:], num_epochs=5)
    assert noise["probe_accuracy"].value < 0.6


def test_probe_runs_are_those_of_torch():
    """One run follows torch's Adam on the same weights, batches and learning rates."""
    from gae_hub.metrics.functional.probe import _train

    x, labels = torch.randn(20, 3, generator=generator()), torch.arange(20) % 2
    found = _train(x, labels, 2, 1, 3, 8, 0.05, generator(7))[0]
    g = generator(7)
    layer = torch.nn.Linear(3, 2)
    start = ((2 * torch.rand(1, 2, 4, generator=g) - 1) / 3**0.5)[0]
    layer.weight.data, layer.bias.data = start[:, :3].clone(), start[:, 3].clone()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    step = 0
    for _ in range(3):
        for chosen in torch.randperm(20, generator=g).split(8):
            step += 1
            optimizer.param_groups[0]["lr"] = 0.05 * 0.5 * (1 + np.cos(np.pi * step / 9))
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(layer(x[chosen]), labels[chosen]).backward()
            optimizer.step()
    ours = torch.cat([layer.weight, layer.bias[:, None]], 1).detach()
    torch.testing.assert_close(found, ours, rtol=1e-4, atol=1e-5)


# Interpolation


def test_interpolation_of_known_paths():
    start, end = torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])
    straight = torch.lerp(start, end, torch.linspace(0, 1, 6).unsqueeze(1)).unsqueeze(0)
    ends = torch.stack([start, end], 1)
    found = interpolation_quality(straight, ends)
    assert [round(found[name].value, 6) for name in found] == [0, 1, 1]
    jump = torch.cat([start, start, start, end]).unsqueeze(0)
    assert interpolation_quality(jump, ends)["path_smoothness"].value == pytest.approx(1 / (1 + 2**0.5))
    corner = torch.stack([start, torch.tensor([[3.0, 0.0]]), end], 1)
    assert interpolation_quality(corner, ends)["path_straightness"].value == pytest.approx(5 / 7)
    assert interpolation_quality(straight + 0.5, ends)["end_point_mse"].value == pytest.approx(0.25)
    still = interpolation_quality(torch.zeros(1, 3, 2), torch.zeros(1, 2, 2))
    assert [still[name].value for name in still] == [0, 1, 1]
    with pytest.raises(ValueError, match=r"ends must be \(1, 2, 2\)"):
        interpolation_quality(straight, ends[:, :1])


# What goes wrong


def test_what_goes_wrong(extractor, monkeypatch):
    with pytest.raises(ValueError, match="no metric is called 'fidd'; known are mse, psnr"):
        evaluate_model(VAE.build(), images(5), ["fidd"])
    with pytest.raises(ValueError, match="'array' has no labels, which the metric 'clustering' needs"):
        evaluate_model(VAE.build(), images(5), ["clustering"])
    with pytest.raises(ValueError, match="the metric 'mig' cannot be measured: 'array' has no factors of variation"):
        evaluate_model(VAE.build(), images(5), ["mig"])
    with pytest.raises(ValueError, match=r"k-means needs 3 or more points \(as many as clusters\)"):
        kmeans(torch.rand(2, 4), 3)
    with pytest.raises(ValueError, match="2 or more classes, got 1"):
        clustering(torch.rand(5, 2), torch.zeros(5, dtype=torch.long))
    with pytest.raises(ValueError, match="a covariance needs 2 or more images on each side, got 1"):
        evaluate_model(VAE.build(), images(5), ["fid"], num_samples=1, extractor=extractor)
    with pytest.raises(ValueError, match="the metric 'fid' has no option 'bins'"):
        evaluate_model(VAE.build(), images(5), ["fid"], extractor=extractor, options={"fid": {"bins": 3}})
    with pytest.raises(ValueError, match="num_samples must be 1 or more"):
        evaluate_model(VAE.build(), images(5), ["fid"], num_samples=0)
    monkeypatch.setattr("gae_hub.metrics.networks.extractors.PUBLISHED_URL", "http://127.0.0.1:9/inception.pth")
    with pytest.raises(OSError, match=r"cannot be downloaded from .*: download them .* --weights PATH"):
        evaluate_model(VAE.build(), images(5), ["fid"])


def test_reference_statistics_are_kept_by_the_fingerprint_of_the_data(extractor, monkeypatch):
    model, x = VAE.build(), images(40, seed=9)
    first = evaluate_model(model, x, ["fid"], num_samples=30, extractor=extractor)
    seen = []
    inner = extractor.extract
    monkeypatch.setattr(extractor, "extract", lambda batch: seen.append(len(batch)) or inner(batch))
    extractor._last.clear()
    assert evaluate_model(model, x, ["fid"], num_samples=30, extractor=extractor) == first
    assert sum(seen) == 30  # the samples only
    evaluate_model(model, images(40, seed=10), ["fid"], num_samples=30, extractor=extractor)
    assert sum(seen) == 30 + 40 + (0 if len(extractor._last) else 30)  # other data, the same samples


def test_samples_and_features_stream(extractor, monkeypatch):
    """No more than a thousand images are made at a time, and features are kept only where a metric needs them all:
    with the same value."""
    from gae_hub import GenerationPipeline
    from gae_hub.metrics.evaluation import Evaluation

    model, x, sizes = VAE.build(), images(150, seed=4), []
    pipe = GenerationPipeline(model)
    expected = torch.cat(list(pipe.generate_batches(1100, seed=5)))
    inner = model.generate
    monkeypatch.setattr(model, "generate", lambda num, **kwargs: sizes.append(num) or inner(num, **kwargs))
    run = Evaluation(model, x, num_samples=1100, seed=5)
    torch.testing.assert_close(torch.cat(list(run.samples())), expected)
    assert sizes == [1000, 100]
    given = {"num_samples": 1100, "seed": 5, "extractor": extractor}
    found, features = {}, []
    keep = Evaluation.features
    monkeypatch.setattr(Evaluation, "features", lambda run, which: features.append(which) or keep(run, which))
    for names in (["fid", "reconstruction_fid"], ["fid", "kid"]):
        features.clear()
        found[names[1]] = evaluate_model(model, x, names, **given)["fid"]
        assert bool(features) == ("kid" in names)
    assert found["kid"] == found["reconstruction_fid"]
    direct = frechet_distance(Moments(extractor(expected)), Moments(extractor(x)))
    assert found["kid"] == pytest.approx(direct, rel=1e-4)
    extrapolated = evaluate_model(model, x, ["fid"], options={"fid": {"extrapolate": True}}, **given)
    assert features[-1] == "samples" and extrapolated["fid_infinity"] < float(extrapolated["fid"])


def test_weights_of_one_name_and_two_urls_are_two_files(tmp_path):
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    from gae_hub.metrics.networks.weights import published_weights

    for value in (0, 1):
        (tmp_path / str(value)).mkdir()
        torch.save({"a": torch.full((2,), float(value))}, tmp_path / str(value) / "heads.pth")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        urls = [f"http://127.0.0.1:{server.server_port}/{value}/heads.pth" for value in (0, 1)]
        first = [published_weights(url, None, "net", "give its path", progress=False) for url in urls]
    finally:
        server.shutdown()
        server.server_close()
    again = [published_weights(url, None, "net", "give its path") for url in urls]  # with nobody at the other end
    assert [state["a"].tolist() for state in (*first, *again)] == 2 * [[0.0, 0.0], [1.0, 1.0]]


def test_weights_are_read_from_safetensors_after_the_first_time(tmp_path, monkeypatch):
    import hashlib

    from gae_hub.metrics.networks.weights import published_weights, sha256_of

    state = {"a": torch.rand(3), "b": torch.arange(4)}
    torch.save(state, tmp_path / "net.pth")
    digest = hashlib.sha256((tmp_path / "net.pth").read_bytes()).hexdigest()
    first = published_weights(tmp_path / "net.pth", digest[:8], "net", "give its path")
    monkeypatch.setattr("torch.load", None)
    (tmp_path / "net.pth").unlink()
    again = published_weights(tmp_path / "net.pth", digest[:8], "net", "give its path")
    assert sha256_of(first) == sha256_of(again) == sha256_of(state) != sha256_of({**state, "a": torch.zeros(3)})
    with pytest.raises(OSError, match="the weights of net are not at"):
        published_weights(tmp_path / "other.pth", digest[:8], "net", "give its path")
    save_file(state, tmp_path / "x.safetensors")
