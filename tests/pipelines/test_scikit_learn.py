"""GAETransformer: scikit-learn's own checks, and equality with the models' methods."""

import random
import tempfile
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from cases import MODELS, generator
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from gae_hub import AutoGAE, BetaVAEModel, GAETrainer, GAETrainingArguments, GAETransformer, InMemoryDataset
from gae_hub.training.checkpointing import get_rng_state

NETWORKS = {"encoder_config": {"hidden_sizes": [16]}, "decoder_config": {"hidden_sizes": [16]}}
QUICK = {"num_train_epochs": 1, "num_likelihood_samples": 5, "random_state": 0, "device": "cpu"}
DIGITS = (load_digits().data[:120] / 16).astype(np.float32)
IMAGES = torch.from_numpy(DIGITS).view(-1, 1, 8, 8)


def estimator(method="beta_vae", config=None, **params):
    return GAETransformer(method, **{"latent_dim": 3, **QUICK, "config": {**NETWORKS, **(config or {})}, **params})


@pytest.fixture(scope="module")
def fitted():
    return estimator(input_shape=(1, 8, 8)).fit(DIGITS)


# scikit-learn


@pytest.mark.slow
@pytest.mark.parametrize("method", ["beta_vae", "ae"])
def test_checks_of_scikit_learn(method):
    """All hold: `expected_failed_checks` is not needed."""
    results = check_estimator(estimator(method), on_skip=None)
    assert len(results) > 40
    skipped = {result["check_name"] for result in results if result["status"] != "passed"}
    assert skipped == {"check_array_api_input"}  # needs an environment variable, and array libraries


def test_clone_has_equal_parameters_and_is_not_fitted(fitted):
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params() and not hasattr(copy, "model_")
    assert copy.get_params()["config__encoder_config"] == {"hidden_sizes": [16]}
    np.testing.assert_array_equal(copy.fit(DIGITS).transform(DIGITS), fitted.transform(DIGITS))


def test_fields_of_the_config_are_parameters():
    given = {"beta": 2.0}
    model = GAETransformer(config=given).set_params(config__beta=4.0, training_arguments__weight_decay=0.1)
    assert model.config == {"beta": 4.0} and model.training_arguments == {"weight_decay": 0.1} and given == {"beta": 2}
    with pytest.raises(ValueError, match="Invalid parameter 'beta'"):
        model.set_params(beta=1.0)


def test_grid_search_over_latent_dim_and_beta():
    """Every candidate has the score of an estimator with its parameters, and the best is fitted again."""
    grid = {"latent_dim": [2, 4], "config__beta": [0.1, 10.0]}
    folds = [(np.arange(80), np.arange(80, 120))]
    search = GridSearchCV(estimator(), grid, cv=folds).fit(DIGITS)
    assert len(search.cv_results_["params"]) == 4
    for params, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
        one = estimator(config={"beta": params["config__beta"]}, latent_dim=params["latent_dim"]).fit(DIGITS[:80])
        assert score == pytest.approx(one.score(DIGITS[80:]), rel=1e-6)
    best = search.best_estimator_.model_.config
    assert best.latent_dim == search.best_params_["latent_dim"] and best.beta == search.best_params_["config__beta"]


def test_pipeline_names_and_data_frames():
    iris = load_iris(as_frame=True)
    pipe = make_pipeline(estimator(), LogisticRegression()).fit(iris.data, iris.target)
    assert pipe.predict(iris.data[:5]).shape == (5,)
    encoder = estimator().set_output(transform="pandas").fit(iris.data)
    names = ["gaetransformer0", "gaetransformer1", "gaetransformer2"]
    frame = encoder.transform(iris.data)
    assert isinstance(frame, pd.DataFrame) and list(frame) == names == list(encoder.get_feature_names_out())
    assert encoder.processor_.column_names == tuple(iris.data.columns) == tuple(encoder.feature_names_in_)


@pytest.mark.slow
def test_search_in_several_processes():
    scores = cross_val_score(estimator(), DIGITS, cv=2, n_jobs=2)
    np.testing.assert_allclose(scores, cross_val_score(estimator(), DIGITS, cv=2), rtol=1e-5)


# Equality with the model


@pytest.mark.parametrize("method", ["vae", "ae", "vq_vae", "svae", "poincare_vae"])
def test_transform_and_inverse_transform_equal_the_model(method):
    """VQ-VAE on a convolutional network has maps of latents, which are flattened."""
    networks = {"encoder_config": "conv", "decoder_config": "conv"} if method == "vq_vae" else NETWORKS
    one = estimator(method, input_shape=(1, 8, 8)).set_params(config=networks).fit(DIGITS)
    latents = one.transform(DIGITS)
    torch.testing.assert_close(torch.from_numpy(latents), one.model_.embed(IMAGES).flatten(1))
    assert latents.dtype == np.float32 and latents.shape[1] == len(one.get_feature_names_out())
    assert latents.shape[1] > 3 if method == "vq_vae" else latents.shape[1] == 3
    expected = one.model_.reconstruct(IMAGES).flatten(1)
    torch.testing.assert_close(torch.from_numpy(one.inverse_transform(latents)), expected)


def test_score_samples_equal_log_likelihood(fitted):
    """Each row has the same noise, alone or among others."""
    expected = [fitted.model_.log_likelihood(x[None], 5, generator(0)) for x in IMAGES]
    scores = fitted.score_samples(DIGITS)
    np.testing.assert_array_equal(scores, torch.cat(expected))
    np.testing.assert_allclose(fitted.score_samples(DIGITS[[7, 3]]), scores[[7, 3]], rtol=1e-6)
    assert fitted.score(DIGITS) == pytest.approx(scores.mean(dtype=np.float64))
    many = clone(fitted).set_params(num_likelihood_samples=2000).fit(DIGITS)
    expected = float(many.model_.log_likelihood(IMAGES[:40], 2000, generator(1)).mean())
    assert many.score(DIGITS[:40]) == pytest.approx(expected, abs=0.05)


def test_training_equals_the_trainer(tmp_path):
    one = estimator(input_shape=(1, 8, 8), random_state=3, config={"beta": 2.0}).fit(DIGITS)
    torch.manual_seed(3)
    model = BetaVAEModel(BetaVAEModel.config_class(input_shape=(1, 8, 8), latent_dim=3, beta=2.0, **NETWORKS))
    arguments = GAETrainingArguments(
        str(tmp_path / "out"), seed=3, num_train_epochs=1, use_cpu=True, report_to="none", disable_tqdm=True
    )
    GAETrainer(model, arguments, train_dataset=InMemoryDataset(IMAGES)).train()
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, one.model_.state_dict()[name]), name
    assert len(one.loss_curve_) == 1 and one.seed_ == 3


def test_units_of_the_data():
    """Rows outside [0, 1] are normalized: reconstructions have their units, and densities their volume."""
    rows = np.random.default_rng(0).normal([100, -3], [20, 0.1], size=(200, 2))
    for config, kind in (({}, "unit"), ({"output_activation": "identity"}, "standardize")):
        one = estimator(config=config, num_train_epochs=30, latent_dim=2, batch_size=20).fit(rows)
        scale = one.processor_.normalization.scale
        assert one.processor_.normalization.kind == kind
        inputs = one.processor_(rows)["pixel_values"]
        expected = inputs[:9].double() * torch.tensor(scale) + torch.tensor(one.processor_.normalization.shift)
        np.testing.assert_allclose(rows[:9], expected, rtol=1e-5)
        assert abs(one.inverse_transform(one.transform(rows)).mean(0) - [100, -3]).max() < 5
        values = [one.model_.log_likelihood(x[None], 5, generator(0)) - np.log(scale).sum() for x in inputs]
        np.testing.assert_allclose(one.score_samples(rows), torch.cat(values), rtol=1e-5)
    assert estimator().fit(DIGITS).processor_.normalization is None
    assert estimator(normalize="unit").fit(DIGITS / 2).processor_.normalization.kind == "unit"


def test_samples(fitted):
    rows = fitted.sample(4, random_state=1)
    assert rows.shape == (4, 64) and rows.min() >= 0 and rows.max() <= 1
    np.testing.assert_array_equal(rows, fitted.sample(4, random_state=1))
    assert not np.array_equal(rows, fitted.sample(4, random_state=2))
    table = estimator().fit(1000 * DIGITS)
    assert table.sample(500, random_state=0).max() > 100


def test_methods_without_likelihood_or_prior():
    one = estimator("ae")
    assert not hasattr(one, "score_samples") and not hasattr(one, "score")
    one.fit(DIGITS)
    assert not hasattr(one, "sample") and hasattr(estimator("vq_vae").fit(DIGITS), "sample")
    assert not hasattr(one, "score_samples") and hasattr(estimator("no_such"), "score_samples")


@pytest.mark.parametrize("case", MODELS, ids=lambda case: case.id)
def test_every_method(case):
    """Fit, transform and reconstruct; a likelihood where the method has one."""
    shape = (1, 8, 8) if case.images_only else None
    config = {name: value for name, value in {**NETWORKS, **case.fields}.items() if name != "latent_dim"}
    one = estimator(case.id, config=config, input_shape=shape).fit(DIGITS)
    assert one.inverse_transform(one.transform(DIGITS)).shape == DIGITS.shape
    assert hasattr(one, "score_samples") == case.has_likelihood
    if case.has_likelihood:
        assert np.isfinite(one.score_samples(DIGITS[:2])).all()


# Side effects


def test_fit_leaves_no_files_and_no_random_state(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    before = get_rng_state()
    first = estimator().fit(DIGITS).transform(DIGITS)
    after = get_rng_state()
    assert before["python"] == after["python"] and torch.equal(before["cpu"], after["cpu"])
    np.testing.assert_array_equal(before["numpy"]["state"]["key"], after["numpy"]["state"]["key"])
    assert list(tmp_path.iterdir()) == [] and capfd.readouterr() == ("", "")
    torch.manual_seed(2)
    np.testing.assert_array_equal(estimator().fit(DIGITS).transform(DIGITS), first)


def test_random_state_of_numpy():
    embeddings = []
    for random_state in (np.random.RandomState(0), np.random.RandomState(0), np.random.RandomState(1)):
        embeddings.append(estimator(random_state=random_state).fit(DIGITS).transform(DIGITS))
    np.random.seed(0)
    embeddings.append(estimator(random_state=None).fit(DIGITS).transform(DIGITS))
    np.testing.assert_array_equal(embeddings[0], embeddings[1])
    np.testing.assert_array_equal(embeddings[0], embeddings[3])
    assert not np.array_equal(embeddings[0], embeddings[2])


def test_progress_bar(capfd):
    estimator(verbose=True).fit(DIGITS)
    assert "loss" in capfd.readouterr().err


# Models and files


def test_estimator_of_a_model(trained, model):
    one = GAETransformer.from_pretrained(trained)
    other = GAETransformer.from_model(model, num_likelihood_samples=7)
    np.testing.assert_array_equal(one.transform(DIGITS), other.transform(DIGITS))
    np.testing.assert_array_equal(one.transform(DIGITS), model.embed(IMAGES))
    assert one.method == "beta_vae" and one.input_shape == (1, 8, 8) and one.config["beta"] == 0.1
    assert one.config.keys() == {"beta", "encoder_config", "decoder_config"}
    assert other.score_samples(DIGITS[:3]).shape == (3,) and other.num_likelihood_samples == 7
    again = clone(one).set_params(**QUICK).fit(DIGITS)
    assert again.model_.config.beta == 0.1 and again.model_.config.latent_dim == 4
    with pytest.raises(ValueError, match="from_model needs a model, got the text 'vae'"):
        GAETransformer.from_model("vae")


def test_estimator_of_a_model_keeps_its_networks():
    fields = {"input_shape": (1, 8, 8), "latent_dim": 4, "encoder_config": "conv", "likelihood": "bernoulli"}
    model = AutoGAE.from_config(AutoGAE.config_class("vae")(**fields))
    again = clone(GAETransformer.from_model(model)).set_params(**QUICK).fit(DIGITS)
    assert again.model_.encoder.config.to_dict() == model.encoder.config.to_dict()
    assert again.model_.decoder.config.to_dict() == model.decoder.config.to_dict()
    assert again.model_.config.likelihood == "bernoulli"


def test_saving_and_loading(tmp_path):
    """Also the normalization, by `save_pretrained` and by joblib."""
    rows = load_iris().data
    one = estimator().fit(rows)
    one.save_pretrained(tmp_path / "model")
    joblib.dump(one, tmp_path / "model.joblib")
    loaded = GAETransformer.from_pretrained(tmp_path / "model").set_params(num_likelihood_samples=5)
    for again in (loaded, joblib.load(tmp_path / "model.joblib")):
        latents = again.transform(rows)
        np.testing.assert_array_equal(latents, one.transform(rows))
        np.testing.assert_array_equal(again.inverse_transform(latents), one.inverse_transform(latents))
        np.testing.assert_array_equal(again.score_samples(rows[:5]), one.score_samples(rows[:5]))
    assert again.normalize == "auto" and loaded.normalize == "unit"
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "README.md"} <= {
        path.name for path in Path(tmp_path / "model").iterdir()
    }


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"method": "beta_ave"}, "no autoencoder is called 'beta_ave'; did you mean 'beta_vae'"),
        ({"input_shape": (1, 28, 28)}, r"input_shape \(1, 28, 28\) has 784 values, but the rows have 64 columns"),
        ({"config": {"latent_dim": 3}}, "config has the field 'latent_dim', which is a parameter: pass latent_dim=3"),
        ({"config": 3}, "config must be a dict of fields, or None, got 3"),
        ({"config": {"gamma": 3}}, "gamma"),
        ({"training_arguments": {"seed": 3}}, "training_arguments has 'seed', which fit sets"),
        ({"normalize": "log"}, "normalize must be one of unit, standardize, got the text 'log'"),
        ({"num_likelihood_samples": 0}, "num_likelihood_samples must be 1 or more, got 0"),
        ({"device": "tpu"}, "device is 'tpu', but training would run on "),
        ({"batch_size": 0}, "per_device_train_batch_size must be 1 or more, got 0"),
    ],
)
def test_errors_of_fit(params, message):
    with pytest.raises((ValueError, TypeError), match=message):
        GAETransformer(**{**QUICK, **params}).fit(DIGITS)


def test_errors_of_use(fitted):
    with pytest.raises(ValueError, match="latents must have 3 columns, as transform returns them, got 4"):
        fitted.inverse_transform(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="num_samples must be 1 or more, got 0"):
        fitted.sample(0)
