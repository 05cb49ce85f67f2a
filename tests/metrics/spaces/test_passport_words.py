"""Passports in sentences: each field that is set is said, and no other."""

from gae_hub.metrics import Passport
from gae_hub.metrics.spaces.passport_words import describe_passport


def test_every_field_is_said():
    passport = Passport(
        metric="fid",
        settings={"extrapolate": True, "bins": 20, "scale": 0.123456789},
        extractor="user/net",
        extractor_sha256="0123456789abcdef" * 4,
        extractor_training={"dataset": "digits", "accuracy": 0.98},
        resize="bilinear to 299",
        num_samples=1000,
        num_references=2,
        biased_by=("num_samples", "num_references"),
        references_fingerprint="fedcba9876543210" * 4,
        seed=3,
        standard_error=0.0123,
        same_count_interval=(1.5, 2.25),
        refit_std=0.5,
        interval_method="jackknife",
        details={"rank": 7},
        library="gae_hub 9",
    )
    assert describe_passport(passport) == [
        "Measured on 1,000 examples, compared with 2 references.",
        "The expected value depends on the number of predictions and references: compare it with values of the same "
        "numbers only.",
        "Features come from the extractor user/net (SHA-256 0123456789ab…).",
        "The extractor's training: dataset digits, accuracy 0.98.",
        "Images are resized and scaled as bilinear to 299.",
        "Settings: extrapolate on, bins 20, scale 0.123457.",
        "95 % interval of the expected value for as many images: 1.5 to 2.25, by jackknife.",
        "Its standard error is 0.0123.",
        "Refits on the same data have the standard deviation 0.5.",
        "The references have the fingerprint fedcba987654…",
        "Everything random has the seed 3.",
        "Also recorded: rank 7.",
        "Measured with gae_hub 9.",
    ]


def test_missing_fields_are_not_said():
    passport = Passport(metric="mse", extractor="features", num_samples=1, library="gae_hub 9")
    assert describe_passport(passport) == [
        "Measured on 1 example.",
        "The files hold features, which were compared as they are.",
        "No interval is known for this number.",
        "Measured with gae_hub 9.",
    ]
