"""Warnings about runs that learn badly."""

from types import SimpleNamespace

import pytest
from cases import MODELS, images
from trainers import make_trainer

from gae_hub.training.diagnostics import DiagnosticsCallback, diagnose

CASES = {case.id: case for case in MODELS}


@pytest.mark.parametrize(
    ("metrics", "config", "name", "text"),
    [
        ({"active_units": 2.0}, {"latent_dim": 16}, "posterior collapse", "2 of 16 latent dimensions"),
        ({"dead_codes": 300.0, "perplexity": 5.0}, {"num_embeddings": 512}, "dead codes", "300 of 512 codes"),
        ({"dead_codes": 0.0, "perplexity": 1.0}, {"num_embeddings": 8}, "codebook collapse", "of 8 (perplexity 1.0)"),
        ({"dead_codes": 9.0, "perplexity": 4.9}, {"num_embeddings": 512}, "codebook collapse", "(perplexity 4.9)"),
        ({"discriminator_accuracy": 0.99}, {}, "one-sided discriminator", "a smaller learning rate"),
        ({"discriminator_accuracy": 0.2}, {}, "one-sided discriminator", "a larger learning rate"),
        ({"latent_rms": 5e3}, {}, "exploding latents", "root mean square of 5e+03"),
    ],
)
def test_warnings_name_a_remedy(metrics, config, name, text):
    warnings = diagnose({f"eval_{key}": value for key, value in metrics.items()}, SimpleNamespace(**config))
    assert set(warnings) == {name} and text in warnings[name] and "Usual remedy" in warnings[name]


def test_informative_dimensions_are_counted():
    metrics = {"eval_active_units": 1.0, "eval_kl_per_dimension": [0.5, 0.02, 0.001, 0.0]}
    assert "2 carry more than 0.01 nats" in diagnose(metrics, SimpleNamespace(latent_dim=8))["posterior collapse"]


def test_good_metrics_give_no_warnings():
    metrics = {"active_units": 12.0, "dead_codes": 3.0, "perplexity": 200.0, "discriminator_accuracy": 0.6}
    config = SimpleNamespace(latent_dim=16, num_embeddings=512)
    assert diagnose({f"eval_{k}": v for k, v in {**metrics, "latent_rms": 1.2}.items()}, config) == {}


def test_a_collapsed_posterior_is_logged_once_and_in_the_facts(tmp_path, caplog):
    model = CASES["beta_vae"].build(beta=1e4, latent_dim=8)
    trainer = make_trainer(tmp_path, model, eval_data=images(8, seed=1), num_train_epochs=8, learning_rate=1e-2)
    trainer.train()
    logged = [record.message for record in caplog.records if "posterior collapse" in record.message]
    assert len(logged) == 1 and ": 0 of 8 latent dimensions" in logged[0] and "smaller KL weight" in logged[0]
    assert set(model.facts["warnings"]) == set(trainer.diagnostics.warnings) == {"posterior collapse"}


@pytest.mark.parametrize("steps", [4, 8])
def test_a_resumed_run_keeps_its_warnings(tmp_path, caplog, steps):
    """Also if no step and no evaluation is left. A warning is logged once."""
    found = []
    for name, lengths in (("whole", [8]), ("resumed", [steps, 8])):
        for part, length in enumerate(lengths):
            model = CASES["beta_vae"].build(beta=1e4, latent_dim=8)
            settings = {"num_train_epochs": length, "learning_rate": 1e-2}
            trainer = make_trainer(tmp_path / name, model, eval_data=images(8, seed=1), **settings)
            trainer.train(resume_from_checkpoint=part > 0)
        assert model.facts["warnings"]["posterior collapse"] == trainer.diagnostics.warnings["posterior collapse"]
        found.append(trainer.diagnostics.warnings)
    assert found[0] == found[1] and set(found[1]) == {"posterior collapse"}
    assert sum("posterior collapse" in record.message for record in caplog.records) == 2


@pytest.mark.parametrize(
    ("metrics", "name", "num_logged"),
    [
        ({"eval_active_units": 0.0}, "posterior collapse", {10: 0, 24: 0, 25: 1, 26: 1}),
        ({"eval_latent_rms": 5e3}, "exploding latents", {10: 1, 24: 1, 25: 1, 26: 1}),
    ],
)
def test_warnings_wait_for_a_quarter_of_training_except_exploding_latents(caplog, metrics, name, num_logged):
    callback = DiagnosticsCallback()
    evaluation = {"metrics": metrics, "model": SimpleNamespace(config=SimpleNamespace(latent_dim=16))}
    for step, expected in num_logged.items():
        state = SimpleNamespace(is_world_process_zero=True, global_step=step, max_steps=100)
        callback.on_evaluate(args=None, state=state, control=None, **evaluation)
        assert set(callback.warnings) == {name}
        assert len(caplog.records) == expected
