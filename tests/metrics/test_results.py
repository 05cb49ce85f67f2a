"""Measurements compare only if they were measured in the same way."""

import json
import operator
import pickle

import pytest
import torch
from cases import VAE, images

from gae_hub.metrics import MEASURES, Estimate, Measurement, Passport, evaluate_model

OPERATORS = ("lt", "le", "gt", "ge", "eq", "ne", "add", "sub", "truediv")
COMPARISONS = [max, *(getattr(operator, name) for name in OPERATORS)]


def measured(value=1.0, **fields):
    return Measurement(value, Passport(**{"metric": "fid", "extractor": "a", "extractor_sha256": "1", **fields}))


def measure(name, predictions, references, **options):
    engine = MEASURES[name](**options)
    engine.add(predictions, references)
    return engine.compute()


@pytest.mark.parametrize(
    "other",
    [
        {"extractor": "b"},
        {"extractor_sha256": "2"},
        {"resize": "x"},
        {"metric": "kid"},
        {"settings": {"k": 3}},
        {"references_fingerprint": "0f"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_comparing_different_passports_raises(other):
    for compare in COMPARISONS:
        with pytest.raises(ValueError, match=f"cannot be compared: their {next(iter(other))} is"):
            compare(measured(), measured(**other))


def test_measurement_behaves_like_a_float():
    one, two = measured(1.0), measured(2.0)
    assert one < two and measured(3.0) - one == 2 and one < 2 and 5 - two == 3.0 and two / 2 == 1
    assert one == 1.0 and one != two and sum([one, two]) == 3
    assert hash(one) == hash(1.0) and {one: "a"}[1.0] == "a"
    assert float(one) == float(measured(1.0, extractor="b"))  # float() drops the passport
    assert pickle.loads(pickle.dumps(two)).passport == two.passport


def test_passport_survives_json():
    passport = Passport("fid", biased_by=("num_samples",), interval=(0.0, 1.0))
    assert Passport.from_dict(json.loads(json.dumps(passport.to_dict()))) == passport
    with pytest.raises(ValueError, match="Passport has no field colour; its fields are biased_by, details"):
        Passport.from_dict({"metric": "fid", "colour": 1})


def test_biased_numbers_compare_at_equal_counts_only(extractor):
    x, y, other = images(60), images(60, seed=1), images(60, seed=2)
    by = {"feature_extractor": extractor}
    for name, options in (("fid", {}), ("kid", {"num_subsets": 3, "subset_size": 10}), ("inception_score", {})):
        whole, part = (measure(name, samples, y, **by, **options)[name] for samples in (x, x[:30]))
        with pytest.raises(ValueError, match="their num_samples is 60 and 30"):
            _ = whole == part
        assert isinstance(whole < measure(name, other, y, **by, **options)[name], bool)
    for key, value in measure("prdc", x, y, **by).items():
        with pytest.raises(ValueError, match="their num_samples is 30 and 60"):
            _ = measure("prdc", x[:30], y, **by)[key] > value


def test_unbiased_numbers_compare_at_all_counts(extractor):
    x, y = images(60), images(60, seed=1)
    whole, part = (measure("kid", x[:num], y, feature_extractor=extractor)["kid"] for num in (60, 30))
    assert isinstance(whole < part, bool)
    whole, part = (
        measure("fid", x[:num], y, feature_extractor=extractor, extrapolate=True)["fid_infinity"] for num in (60, 50)
    )
    assert isinstance(whole < part, bool)


def test_numbers_against_other_references_do_not_compare(extractor):
    """Equal references in another order, batch size or container do compare."""
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
    assert fid(y[:40], y[40:]).passport == whole.passport
    for other in (fid(y[:59]), fid(torch.cat([y[:59], y[:1]]))):
        with pytest.raises(ValueError, match="their references_fingerprint is"):
            _ = other == whole


def test_evaluations_on_other_data_do_not_compare(extractor):
    x, y, model = images(60), (images(60, seed=1) * 255).round() / 255, VAE.build()
    names = ["fid", "reconstruction_fid", "mse", "log_likelihood"]
    given = {"num_samples": 60, "extractor": extractor}
    first = evaluate_model(model, y, names, **given)
    by_measure = measure("fid", x, y, feature_extractor=extractor)["fid"]
    fingerprints = {first[name].passport.references_fingerprint for name in ("fid", "reconstruction_fid")}
    assert fingerprints == {by_measure.passport.references_fingerprint}
    for name, value in evaluate_model(model, images(60, seed=3), ["fid", "mse", "log_likelihood"], **given).items():
        with pytest.raises(ValueError, match="their references_fingerprint is"):
            _ = value < first[name]


def test_estimates():
    values = torch.tensor([1.0, 2.0, 3.0])
    mean = Estimate.mean(values, lower_bound=1.5)
    assert mean.value == 2 and mean.error == pytest.approx(1 / 3**0.5)
    assert mean.interval == pytest.approx((1.5, 2 + 4.3027 / 3**0.5), abs=1e-4)  # cut off at the lower bound
    assert Estimate.mean(values[:1]).interval is None
    refits = Estimate.mean_of_refits(values)
    assert refits.refit_std == pytest.approx((2 / 3) ** 0.5) and refits.details == {"num_refits": 3}
    assert refits.value == 2 and refits.interval is None and refits.error is None
    low, high = Estimate.proportion(torch.tensor([True] * 9 + [False])).interval
    assert (low, high) == pytest.approx((0.5958, 0.9821), abs=1e-4)  # Wilson's interval for 9 of 10


def test_jackknife_of_a_mean_and_of_a_difference():
    """For linear functions, the jackknife is the textbook's standard error."""
    x, y = torch.rand(2, 30, dtype=torch.float64)

    def without_one(values):
        return (values.sum() - values) / (len(values) - 1)

    left_out = without_one(x) - y.mean(), x.mean() - without_one(y)
    found = Estimate.jackknife((x.mean() - y.mean()).item(), *left_out)
    assert found.error == pytest.approx((x.var() / 30 + y.var() / 30).sqrt().item())
    assert found.interval_name == "same_count_interval"


def test_jackknife_of_a_proportion():
    """The interval contains Wilson's, and ends at 0 and 1."""
    hits = torch.tensor([1.0] * 9 + [0.0], dtype=torch.float64)
    found = Estimate.jackknife(0.9, (hits.sum() - hits) / 9, num_cases=10)
    assert found.error == pytest.approx(0.1)  # (0.9 * 0.1 / 9) ** 0.5
    assert found.interval == (pytest.approx(0.5958, abs=1e-4), 1.0)  # Wilson's low end for 9 of 10; 0.9 + 1.96 * 0.1
    dependent = Estimate.jackknife(0.9, torch.tensor([0.8, 1.0]), num_cases=1000)
    assert dependent.error == pytest.approx(0.1) and dependent.interval == (pytest.approx(0.704, abs=1e-4), 1.0)
    for value, ends in ((1.0, (0.7225, 1.0)), (0.0, (0.0, 0.2775))):
        assert Estimate.jackknife(value, torch.ones(10), num_cases=10).interval == pytest.approx(ends, abs=1e-4)
