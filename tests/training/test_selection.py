"""Which metric selects the best model, and whether higher or lower values of it are better."""

import copy

import pytest
import torch
from cases import MODELS, VAE, images
from torch.optim.lr_scheduler import ReduceLROnPlateau
from trainers import make_trainer
from transformers import EarlyStoppingCallback

from gae_hub import GAETrainer

CASES = {case.id: case for case in MODELS}
EVAL = images(8, seed=1)


@pytest.mark.parametrize(
    ("method", "metric", "greater"),
    [
        ("vae", "loss", False),
        ("vae", "reconstruction", False),
        ("vae", "eval_kl", False),
        ("beta_tc_vae", "total_correlation", False),
        ("iwae", "reconstruction", False),  # a metric, because the loss is a bound
        ("factor_vae", "negative_elbo", False),
        ("vq_vae", "dead_codes", False),
        ("vq_vae", "perplexity", True),
        ("vae", "active_units", True),
    ],
)
def test_greater_is_better(tmp_path, method, metric, greater):
    trainer = make_trainer(tmp_path, CASES[method].build(), eval_data=EVAL, metric_for_best_model=metric)
    assert trainer.args.greater_is_better is greater


@pytest.mark.parametrize("greater", [True, False])
def test_greater_is_better_of_the_user(tmp_path, greater):
    for metric in ("reconstruction", "active_units"):
        fields = {"metric_for_best_model": metric, "greater_is_better": greater}
        assert make_trainer(tmp_path, eval_data=EVAL, **fields).args.greater_is_better is greater


def test_terms_of_a_custom_method_are_better_if_they_are_lower(tmp_path):
    model = VAE.build()
    forward = model.forward

    def with_sharpness(*args, **kwargs):
        out = forward(*args, **kwargs)
        out.losses["sharpness"] = out.loss.detach()
        return out

    model.forward = with_sharpness
    trainer = make_trainer(tmp_path, model, eval_data=EVAL, metric_for_best_model="sharpness")
    assert trainer.args.greater_is_better is False


def test_the_best_model_has_the_lowest_reconstruction_term(tmp_path):
    trainer = make_trainer(tmp_path, eval_data=EVAL, num_train_epochs=3, metric_for_best_model="reconstruction")
    trainer.train()
    found = {e["step"]: e["eval_reconstruction"] for e in trainer.state.log_history if "eval_loss" in e}
    assert trainer.state.best_metric == min(found.values()) < max(found.values())
    assert found[trainer.state.best_global_step] == min(found.values())
    assert trainer.evaluate()["eval_reconstruction"] == pytest.approx(min(found.values()))


def test_early_stopping_continues_while_the_reconstruction_term_decreases(tmp_path):
    fields = {"num_train_epochs": 4, "metric_for_best_model": "reconstruction"}
    trainer = make_trainer(tmp_path, eval_data=EVAL, callbacks=[EarlyStoppingCallback(1)], **fields)
    trainer.train()
    assert trainer.state.global_step == 12


@pytest.mark.parametrize(
    ("metric", "kwargs", "mode"),
    [
        ("reconstruction", {}, "min"),
        ("active_units", {}, "max"),
        ("active_units", {"mode": "min"}, "min"),
    ],
)
@pytest.mark.parametrize("schedule", ["reduce_lr_on_plateau", "greedy"])
def test_schedules_follow_the_metric_in_its_direction(tmp_path, schedule, metric, kwargs, mode):
    fields = {"lr_scheduler_type": schedule, "lr_scheduler_kwargs": kwargs, "metric_for_best_model": metric}
    trainer = make_trainer(tmp_path, eval_data=EVAL, num_train_epochs=1, **fields)
    trainer.train()
    (entry,) = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    assert trainer.lr_scheduler.mode == mode and trainer.lr_scheduler.best == entry[f"eval_{metric}"]


NAMES = "active_units, kl, latent_rms, loss, reconstruction"


@pytest.mark.parametrize("metric", ["recon", "eval_recon", "kl_per_dimension"])
@pytest.mark.parametrize("load_best", [True, False])
def test_unknown_metrics_are_errors_before_training(tmp_path, metric, load_best):
    fields = {"metric_for_best_model": metric, "load_best_model_at_end": load_best}
    message = f"metric_for_best_model is '{metric}', which is not a number that the evaluation returns: choose one of "
    with pytest.raises(ValueError, match=message + NAMES + "$"):
        make_trainer(tmp_path, eval_data=EVAL, **fields)


class MeasuringTrainer(GAETrainer):
    """A trainer whose evaluation returns another metric, which increases."""

    def evaluate(self, *args, **kwargs):
        return {**super().evaluate(*args, **kwargs), "eval_psnr": float(self.state.global_step)}


@pytest.mark.parametrize("schedule", ["constant", "reduce_lr_on_plateau"])
def test_metrics_of_a_subclass(tmp_path, schedule):
    """They are known at the first evaluation, and higher values are better, as in transformers."""
    given = make_trainer(tmp_path / "given", lr_scheduler_type=schedule, eval_data=EVAL).args
    data = {"train_dataset": images(24), "eval_dataset": EVAL}
    args = copy.copy(given)
    args.metric_for_best_model, args.greater_is_better, args.output_dir = "psnr", None, str(tmp_path / "known")
    trainer = MeasuringTrainer(VAE.build(), args, **data)
    trainer.train()
    assert trainer.args.greater_is_better is True and trainer.state.best_metric == 6
    if isinstance(trainer.lr_scheduler, ReduceLROnPlateau):
        assert trainer.lr_scheduler.best == 6
    args.metric_for_best_model, args.output_dir = "ssim", str(tmp_path / "unknown")
    with pytest.raises(ValueError, match="metric_for_best_model is 'ssim', .* reconstruction$") as raised:
        MeasuringTrainer(VAE.build(), args, **data).train()
    assert "psnr" in str(raised.value) and "runtime" not in str(raised.value)


def test_looking_up_a_metric_changes_nothing(tmp_path):
    """Neither the random state, nor the mode or buffers of the model."""
    model = CASES["vq_vae"].build().train()  # its codebook is initialised by the first batch
    before, random = copy.deepcopy(model.state_dict()), []
    for metric in ("loss", "perplexity"):  # only the second is looked up
        make_trainer(tmp_path, model, eval_data=EVAL, metric_for_best_model=metric)
        random.append(torch.get_rng_state())
    assert torch.equal(*random) and model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
