"""evaluate_model: every metric, its streaming and caching, and its errors."""

import json
import re
from copy import copy, deepcopy

import pytest
import torch
from cases import METRICS, VAE, generator, images
from fuzzing import check_reading, safetensors_variants
from safetensors.torch import load_file
from torch import nn

from gae_hub import GenerationPipeline
from gae_hub.data.datasets import InMemoryDataset
from gae_hub.metrics import MEASURES, Moments, Passport, evaluate_model, frechet_distance, to_results
from gae_hub.metrics import METRICS as REGISTRY
from gae_hub.metrics.evaluation_run import EvaluationRun
from gae_hub.metrics.functional import moments
from gae_hub.metrics.networks.extractors import Extractor, load_extractor


def dataset(num=60):
    """8-bit images with labels and two factors."""
    data = InMemoryDataset((255 * images(num, (1, 16, 16))).byte(), torch.arange(num) % 3)
    data.factors = torch.stack([torch.arange(num) % 3, torch.arange(num) // 3 % 2], 1)
    return data


def test_every_metric_has_a_row():
    assert set(METRICS) == set(REGISTRY)
    assert set(MEASURES) <= set(REGISTRY)


@pytest.mark.parametrize("name", METRICS)
def test_metric_returns_its_numbers_reproducibly(name, extractor, lpips):
    quick = {"beta_vae_score": {"num_votes": 50}, "dci": {"num_trees": 3}}
    given = {"num_samples": 20, "extractor": extractor, "lpips": lpips, "options": quick}
    fields = {"num_classes": 3} if name in ("class_accuracy", "fid_per_class") else {}
    model = VAE.build(input_shape=(1, 16, 16), **fields)
    runs = [evaluate_model(model, dataset(), [name], **given) for _ in range(2)]
    assert set(runs[0]) == METRICS[name] and runs[0] == runs[1]
    for key, value in runs[0].items():
        assert torch.isfinite(torch.tensor(value)), key
        passport = value.passport.to_dict()
        assert passport["library"].startswith("gae_hub") and passport["num_samples"] > 0 and "seed" in passport
        assert Passport.from_dict(json.loads(json.dumps(passport))) == Passport.from_dict(passport)
        low, high = value.passport.interval or (float(value), float(value))
        assert low <= float(value) <= high, key
    assert json.loads(json.dumps(to_results(runs[0])))["metrics"].keys() == METRICS[name]


def test_metrics_of_classes(extractor):
    """Accuracy and FID per class, of a sampler that returns images of the data, computed by hand."""

    class Copies:
        num_classes, config = 3, None

        def sample(self, num_samples, generator=None, class_labels=None):
            return torch.stack([means[classes == label][0] for label in class_labels.tolist()])

    data, model = dataset(), VAE.build(input_shape=(1, 16, 16))
    classes, means = data.labels, model.embed(data[:]["pixel_values"])
    given = {"num_samples": 30, "extractor": extractor}
    found = evaluate_model(model, data, ["class_accuracy", "fid_per_class"], sampler=Copies(), **given)
    decoded = model.decode(torch.stack([means[classes == label][0] for label in range(3)]))
    read = load_extractor(extractor)
    right = read.compute_logits(read((255 * decoded).round().byte())).argmax(1) == torch.arange(3)
    assert found["class_accuracy"] == pytest.approx(right.double().mean().item())
    details = found["class_accuracy"].passport.details["accuracy_of_classes"]
    assert details == {str(label): float(value) for label, value in enumerate(right)}
    features, drawn = read((255 * data[:]["pixel_values"]).round().byte()), read((255 * decoded).round().byte())
    each = [
        frechet_distance(Moments(drawn[label].expand(10, -1)), Moments(features[classes == label]))
        for label in range(3)
    ]
    assert found["fid_per_class"] == pytest.approx(sum(each) / 3, rel=1e-6)
    with pytest.raises(ValueError, match="'class_accuracy' needs samples of chosen classes: a model with num_classes"):
        evaluate_model(model, data, ["class_accuracy"], **given)


def test_mean_squared_error():
    model, x = VAE.build(), images(50)
    errors = (x - model.reconstruct(x)).square().flatten(1).mean(1).double()
    found = evaluate_model(model, x, ["mse"])
    assert found["mse"] == pytest.approx(errors.mean().item())
    assert found["mse_x1000"] == pytest.approx(1000 * errors.mean().item())
    assert found["mse"].passport.standard_error == pytest.approx((errors.std() / 50**0.5).item(), rel=1e-4)
    with pytest.raises(ValueError, match="the metric 'mse' has no option 'bins'; its options are none"):
        evaluate_model(model, x, ["mse"], options={"mse": {"bins": 3}})


def test_reference_statistics_are_cached_by_the_content_of_the_data(extractor, monkeypatch):
    model, x = VAE.build(), images(40, seed=9)
    first = evaluate_model(model, x, ["fid"], num_samples=30, extractor=extractor)
    seen = []
    inner = type(extractor).extract
    monkeypatch.setattr(type(extractor), "extract", lambda self, x: seen.append(len(x)) or inner(self, x))
    extractor._recent.clear()
    assert evaluate_model(model, x, ["fid"], num_samples=30, extractor=extractor) == first
    assert sum(seen) == 30  # the samples only
    extractor._recent.clear()
    evaluate_model(model, images(40, seed=10), ["fid"], num_samples=30, extractor=extractor)
    assert sum(seen) == 30 + 40 + 30  # other data


class Flattened(Extractor):
    """Custom features: random sums of pixels, times an attribute."""

    def __init__(self, scale, name="mine"):
        super().__init__(nn.Linear(64, 5, bias=False), name, "as they are")
        nn.init.normal_(self.network.weight, generator=generator(0))
        self.scale = scale

    def prepare(self, images):
        return self.scale * images.flatten(1) / 255

    def extract(self, inputs):
        return self.network(inputs).square()


def test_statistics_of_custom_extractors_are_not_cached(tmp_path, monkeypatch, extractor):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))

    def fid(extractor):
        return evaluate_model(VAE.build(), images(40), ["fid"], num_samples=30, extractor=extractor)["fid"]

    values = {scale: fid(Flattened(scale)) for scale in (1.0, 0.1)}
    assert not (tmp_path / "gae_hub" / "statistics").exists()
    # features 0.01 times as large have a distance 1e-4 times as large
    assert float(values[0.1]) == pytest.approx(1e-4 * float(values[1.0]), rel=1e-3)
    fid(extractor)
    changed = copy(extractor)
    changed.extract = lambda inputs: -type(extractor).extract(changed, inputs)
    fid(changed)
    assert len(list((tmp_path / "gae_hub" / "statistics").iterdir())) == 1


def test_features_follow_the_weights(extractor):
    """An extractor remembers its last batches, but not after its weights changed."""
    changed, x = deepcopy(extractor), torch.rand(4, 1, 8, 8)
    before, key = changed(x), changed.sha256
    assert torch.equal(changed(x), before)
    nn.init.zeros_(changed.network.to_features.weight)
    assert not torch.allclose(changed(x), before) and changed.sha256 != key != changed.cache_key


def test_damaged_statistics_are_computed_again(extractor, tmp_path, monkeypatch):
    """Of features that were folded, and of rows that wait."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    monkeypatch.setattr(moments, "BLOCK", 16)
    run = EvaluationRun(VAE.build(), images(40, seed=9), extractor=extractor)
    expected = run.load_data_moments().compute_statistics()
    (file,) = (tmp_path / "gae_hub" / "statistics").iterdir()
    assert load_file(file).keys() == {"count", "mean", "scatter", "rows"}
    harmless = re.compile("full of|metadata|longer")  # a cache is trusted to have the values that were written
    variants = [pair for pair in safetensors_variants(file.read_bytes()) if not harmless.search(pair[0])]

    def load():
        torch.testing.assert_close(run.load_data_moments().compute_statistics(), expected)

    outcomes = check_reading(file, variants, load, allowed=())
    assert outcomes == {"read": len(variants)} and len(variants) > 40


def test_samples_are_generated_in_parts(monkeypatch):
    """At most a thousand images are generated at a time, the same ones as by the pipeline."""
    model, sizes = VAE.build(), []
    expected = torch.cat(list(GenerationPipeline(model).generate_batches(1100, seed=5)))
    inner = model.generate
    monkeypatch.setattr(model, "generate", lambda num, **kwargs: sizes.append(num) or inner(num, **kwargs))
    run = EvaluationRun(model, images(150, seed=4), num_samples=1100, seed=5)
    torch.testing.assert_close(torch.cat(list(run.iterate_samples())), expected)
    assert sizes == [1000, 100]


def test_features_are_stored_only_where_a_metric_needs_all(extractor, monkeypatch):
    model, x = VAE.build(), images(150, seed=4)
    given = {"num_samples": 1100, "seed": 5, "extractor": extractor}
    found, stored = {}, []
    inner = EvaluationRun.all_features
    monkeypatch.setattr(EvaluationRun, "all_features", lambda run, which: stored.append(which) or inner(run, which))
    for names in (["fid", "reconstruction_fid"], ["fid", "kid"]):
        stored.clear()
        found[names[1]] = evaluate_model(model, x, names, **given)["fid"]
        assert bool(stored) == ("kid" in names)
    assert found["kid"] == found["reconstruction_fid"]
    samples = torch.cat(list(GenerationPipeline(model).generate_batches(1100, seed=5)))
    direct = frechet_distance(Moments(extractor(samples)), Moments(extractor(x)))
    assert found["kid"] == pytest.approx(direct, rel=1e-4)
    extrapolated = evaluate_model(model, x, ["fid"], options={"fid": {"extrapolate": True}}, **given)
    assert stored[-1] == "samples" and extrapolated["fid_infinity"] < float(extrapolated["fid"])


def test_errors_about_the_request(extractor):
    model, x = VAE.build(), images(5)
    with pytest.raises(ValueError, match="unknown metric 'fidd': did you mean 'fid'"):
        evaluate_model(model, x, ["fidd"])
    with pytest.raises(ValueError, match="'array' has no labels, which the metric 'clustering' needs"):
        evaluate_model(model, x, ["clustering"])
    with pytest.raises(ValueError, match="cannot compute the metric 'mig': 'array' has no factors of variation"):
        evaluate_model(model, x, ["mig"])
    with pytest.raises(ValueError, match="a covariance needs 2 or more images on each side, got 1"):
        evaluate_model(model, x, ["fid"], num_samples=1, extractor=extractor)
    with pytest.raises(ValueError, match="the metric 'fid' has no option 'bins'"):
        evaluate_model(model, x, ["fid"], extractor=extractor, options={"fid": {"bins": 3}})
    with pytest.raises(ValueError, match="num_samples must be 1 or more"):
        evaluate_model(model, x, ["fid"], num_samples=0)


def test_error_about_weights_that_cannot_be_downloaded(monkeypatch):
    monkeypatch.setattr("gae_hub.metrics.networks.extractors.PUBLISHED_URL", "http://127.0.0.1:9/inception.pth")
    with pytest.raises(OSError, match="cannot download the weights of inception .*; download it .* --weights PATH"):
        evaluate_model(VAE.build(), images(5), ["fid"])
