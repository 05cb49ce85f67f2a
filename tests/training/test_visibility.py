"""What a person sees of a run: pictures on disk and in trackers, a report of its health, a search over settings."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cases import MODELS, VAE, images
from PIL import Image
from transformers import EarlyStoppingCallback, TrainerCallback

from gae_hub import AutoGAE, GAETrainer, GAETrainingArguments
from gae_hub.training.diagnostics import findings
from gae_hub.training.image_callback import SENDERS, send

CASES = {case.id: case for case in MODELS}


def trainer(folder, model=None, callbacks=(), **changes):
    fields = {"per_device_train_batch_size": 8, "num_train_epochs": 2, "disable_tqdm": True}
    args = GAETrainingArguments(str(folder), **{**fields, **changes})
    data = {"train_dataset": images(24), "eval_dataset": images(8, seed=1)}
    return GAETrainer(model or VAE.build(), args, **data, callbacks=list(callbacks))


# Pictures


def test_pictures_lie_on_disk_and_cost_no_randomness(tmp_path):
    models = [VAE.build(), VAE.build()]
    for folder, model, interval in (("with", models[0], 2), ("without", models[1], 0)):
        trainer(tmp_path / folder, model, num_train_epochs=4, image_interval=interval).train()
    assert all(torch.equal(p, q) for p, q in zip(*(m.parameters() for m in models), strict=True))
    found = {path.name for path in (tmp_path / "with" / "assets" / "progress").iterdir()}
    assert found == {f"{n}-{step:08d}.png" for n in ("reconstructions", "samples") for step in (6, 12)}
    grid = np.asarray(Image.open(tmp_path / "with" / "assets" / "progress" / "samples-00000012.png"))
    assert grid.std() > 10
    assert not (tmp_path / "without" / "assets").exists()


def test_pictures_of_the_data_that_are_evaluated(tmp_path):
    args = GAETrainingArguments(str(tmp_path), image_interval=1, disable_tqdm=True)
    GAETrainer(VAE.build(), args).evaluate(images(8))
    assert len(list((tmp_path / "assets" / "progress").iterdir())) == 2


def test_a_method_without_a_prior_has_reconstructions(tmp_path):
    trainer(tmp_path, CASES["ae"].build(), image_interval=1, num_train_epochs=1).train()
    assert [path.name for path in (tmp_path / "assets" / "progress").iterdir()] == ["reconstructions-00000003.png"]


def test_pictures_reach_tensorboard(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "logs"))
    trainer(tmp_path / "run", report_to="tensorboard", image_interval=1).train()
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    assert {"images/reconstructions", "images/samples"} <= set(events.Tags()["images"])
    assert [event.step for event in events.Images("images/samples")] == [3, 6]
    assert {"train/kl", "train/reconstruction", "eval/kl"} <= set(events.Tags()["scalars"])


class Recorder:
    """Stands for a tracker's module: remembers what it is called with."""

    def __init__(self):
        self.calls = []

    def Image(self, image):  # noqa: N802 (as the trackers call it)
        return image

    def get_logger(self):
        return self

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.calls.append((name, args, kwargs))


@pytest.mark.parametrize("name", SENDERS)
def test_every_tracker_is_given_the_picture(name):
    recorder = Recorder()
    attributes = ("tb_writer", "_wandb", "_trackio", "_ml_flow", "_experiment", "_clearml_task", "_swanlab")
    callback = type(name, (), dict.fromkeys(attributes, recorder))()
    image = Image.new("L", (4, 6))
    send([SimpleNamespace(), callback], "images/samples", image, 7)
    ((_, args, kwargs),) = recorder.calls
    flat = [*args, *kwargs.values(), *(value for arg in args if isinstance(arg, dict) for value in arg.values())]
    assert any(value is image or getattr(value, "shape", None) == (6, 4, 3) for value in flat)
    assert any(value == 7 for value in flat if isinstance(value, int))


def test_senders_name_callbacks_of_transformers():
    from transformers.integrations import integration_utils

    assert all(issubclass(getattr(integration_utils, name), TrainerCallback) for name in SENDERS)


# Health


@pytest.mark.parametrize(
    ("metrics", "config", "name", "text"),
    [
        ({"active_units": 2.0}, {"latent_dim": 16}, "posterior collapse", "2.0 of 16 latent dimensions"),
        ({"dead_codes": 300.0, "perplexity": 5.0}, {"num_embeddings": 512}, "dead codes", "300 of 512 codes"),
        ({"discriminator_accuracy": 0.99}, {}, "one-sided discriminator", "a smaller learning rate"),
        ({"discriminator_accuracy": 0.2}, {}, "one-sided discriminator", "a larger learning rate"),
        ({"latent_rms": 5e3}, {}, "exploding latents", "root mean square of 5e+03"),
    ],
)
def test_what_is_unusual_is_named_with_what_helps(metrics, config, name, text):
    found = findings({f"eval_{key}": value for key, value in metrics.items()}, SimpleNamespace(**config))
    assert set(found) == {name} and text in found[name] and "Usually helps" in found[name]


def test_a_healthy_run_has_no_findings():
    metrics = {"active_units": 12.0, "dead_codes": 3.0, "perplexity": 200.0, "discriminator_accuracy": 0.6}
    config = SimpleNamespace(latent_dim=16, num_embeddings=512)
    assert findings({f"eval_{k}": v for k, v in {**metrics, "latent_rms": 1.2}.items()}, config) == {}


def test_a_collapsed_posterior_is_reported_once_and_in_the_facts(tmp_path, caplog):
    run = trainer(tmp_path, CASES["beta_vae"].build(beta=1e4, latent_dim=8), num_train_epochs=8, learning_rate=1e-2)
    run.train()
    told = [record.message for record in caplog.records if "posterior collapse" in record.message]
    assert len(told) == 1 and "0.0 of 8 latent dimensions" in told[0] and "smaller weight of the KL" in told[0]
    assert set(run.model.facts["health"]) == {"posterior collapse"}


# Stopping and searching


def test_early_stopping(tmp_path):
    run = trainer(
        tmp_path, learning_rate=0.0, num_train_epochs=9, callbacks=[EarlyStoppingCallback(early_stopping_patience=2)]
    )
    run.train()
    assert run.state.global_step == 9  # three epochs: the first is the best, and two are no better


def test_a_search_over_settings(tmp_path):
    """By the Trainer's own backends, here Optuna; the models are made by `model_init`, from the trial's settings."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def model_init(trial):
        return CASES["beta_vae"].build(beta=trial.suggest_float("beta", 0.1, 1.0) if trial else 1.0)

    args = GAETrainingArguments(
        str(tmp_path), per_device_train_batch_size=8, num_train_epochs=1, disable_tqdm=True, max_steps=2
    )
    run = GAETrainer(None, args, model_init=model_init, train_dataset=images(24), eval_dataset=images(8, seed=1))
    best = run.hyperparameter_search(
        hp_space=lambda trial: {"learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)},
        backend="optuna",
        n_trials=2,
        direction="minimize",
    )
    assert {"learning_rate", "beta"} == set(best.hyperparameters)
    assert len(list(tmp_path.glob("run-*"))) == 2
    checkpoint = next((tmp_path / f"run-{best.run_id}").glob("checkpoint-*"))
    assert AutoGAE.from_pretrained(checkpoint).config.beta == best.hyperparameters["beta"]
