"""Logging, evaluation, the model that is kept, data, seeds and hyperparameter searches."""

import pytest
import torch
from cases import MODELS, VAE, images
from torch import nn
from trainers import make_arguments, make_trainer, same_state
from transformers import EarlyStoppingCallback

from gae_hub import AutoGAE, BetaVAEConfig, BetaVAEModel, GAETrainer, GAETrainingArguments, VAEModel

CASES = {case.id: case for case in MODELS}
EVAL = images(8, seed=1)

# Logging and evaluation


def test_logged_terms_are_exact_means(tmp_path):
    """Weighted by the number of images over unequal batches, in training and in evaluation."""
    data, held_out = images(20), images(11, seed=1)
    trainer = make_trainer(tmp_path, data=data, eval_data=held_out, learning_rate=0.0, per_device_eval_batch_size=4)
    trainer.train()
    entry = next(entry for entry in trainer.state.log_history if "loss" in entry)
    assert entry["step"] == 3 and {"loss", "reconstruction", "kl", "epoch", "learning_rate"} <= entry.keys()
    model = trainer.model.eval()
    assert entry["kl"] == pytest.approx(model.encode(data).kl().mean().item(), rel=1e-5)
    evaluation = trainer.evaluate()
    assert evaluation["eval_kl"] == pytest.approx(model.encode(held_out).kl().mean().item(), rel=1e-5)
    assert evaluation["eval_loss"] == pytest.approx(
        evaluation["eval_kl"] + evaluation["eval_reconstruction"], rel=1e-5
    )


def test_vectors_are_in_the_evaluation_but_not_in_the_log(tmp_path):
    trainer = make_trainer(tmp_path, eval_data=images(11, seed=1), per_device_eval_batch_size=4)
    found = trainer.evaluate()
    exact = trainer.model.eval().encode(images(11, seed=1)).kl_per_dimension().mean(0)
    assert found["eval_kl_per_dimension"] == pytest.approx(exact.tolist(), rel=1e-4)
    assert sum(found["eval_kl_per_dimension"]) == pytest.approx(found["eval_kl"], rel=1e-4)
    assert not any("per_dimension" in name for entry in trainer.state.log_history for name in entry)


def test_evaluation_repeats_its_noise_and_restores_the_random_state(tmp_path):
    trainer = make_trainer(tmp_path, eval_data=EVAL)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second = trainer.evaluate(), trainer.evaluate()
    assert first["eval_loss"] == second["eval_loss"] and torch.equal(before, torch.get_rng_state())


# The model that is kept


def test_the_best_model_is_kept(tmp_path):
    class Worsening(VAEModel):
        """Its validation loss is best after the first epoch and rises from then on."""

        def forward(self, pixel_values, return_loss=True, generator=None):
            out = super().forward(pixel_values, return_loss, generator)
            out.loss = out.loss if self.training else out.loss + 1e3 * self.steps.square()
            self.steps += self.training
            return out

        def setup(self, config):
            super().setup(config)
            self.register_buffer("steps", torch.zeros(()))

    torch.manual_seed(0)
    trainer = make_trainer(tmp_path, Worsening(VAE.build().config), eval_data=EVAL, num_train_epochs=3)
    trainer.train()
    assert trainer.state.best_global_step == 3 and trainer.model.steps == 3


def test_without_an_eval_dataset_the_last_model_is_kept(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.train()
    assert trainer.state.best_model_checkpoint is None
    assert same_state(AutoGAE.from_pretrained(tmp_path / "checkpoint-6"), trainer.model)


@pytest.mark.parametrize("name", ["piwae", "aae", "factor_vae"])
def test_adversarial_losses_do_not_choose_the_best_model(tmp_path, name):
    """If the loss adds up several networks' objectives, another term is the default for metric_for_best_model."""
    model_class = CASES[name].model_class
    trainer = make_trainer(tmp_path / "a", CASES[name].build(), eval_data=EVAL)
    assert trainer.args.metric_for_best_model == model_class.metric_for_best_model != "loss"
    trainer.train()
    log = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    assert trainer.state.best_metric == min(entry[f"eval_{model_class.metric_for_best_model}"] for entry in log)
    chosen = make_trainer(tmp_path / "b", CASES[name].build(), eval_data=EVAL, metric_for_best_model="eval_loss")
    assert chosen.args.metric_for_best_model == "eval_loss"


def test_weights_are_contiguous_after_training(tmp_path):
    model = VAE.build(encoder_config="conv", decoder_config="conv")
    seen = []
    model.register_forward_pre_hook(lambda *_: seen.append(model.encoder.net[3].weight.is_contiguous()))
    trainer = make_trainer(tmp_path, model, eval_data=EVAL, max_steps=2)
    trainer.train()
    assert seen and not any(seen) and model.encoder.net[3].weight.is_contiguous()
    x = images(8)
    last = AutoGAE.from_pretrained(trainer.state.best_model_checkpoint)
    assert torch.equal(last.reconstruct(x), model.reconstruct(x))


def test_a_model_that_returns_tuples_trains_alike(tmp_path):
    losses = []
    for return_dict in (True, False):
        model = VAE.build()
        model.config.return_dict = return_dict
        trainer = make_trainer(tmp_path / str(return_dict), model, eval_data=EVAL, max_steps=2)
        trainer.train()
        losses.append(trainer.evaluate()["eval_loss"])
    assert losses[0] == losses[1]


# Data and models


def test_arrays_and_lists_are_data(tmp_path):
    for index, data in enumerate([images(8), images(8).numpy(), [{"pixel_values": x, "label": 1} for x in images(8)]]):
        make_trainer(tmp_path / str(index), data=data, max_steps=1).train()


def test_invalid_data(tmp_path):
    with pytest.raises(ValueError, match=r"data has input_shape \(3, 8, 8\), but the model was built for \(1, 8, 8\)"):
        make_trainer(tmp_path, data=torch.rand(8, 3, 8, 8))
    with pytest.raises(ValueError, match="the data set is empty"):
        make_trainer(tmp_path, data=[])
    with pytest.raises(ValueError, match="nan or infinite"):
        make_trainer(tmp_path, data=torch.full((8, 1, 8, 8), torch.nan))
    with pytest.raises(ValueError, match="eval_dataset must be one data set, got a dict of a, b"):
        make_trainer(tmp_path, eval_data={"a": images(8), "b": images(8)})


def test_a_last_batch_that_is_too_small_raises_before_training(tmp_path):
    model = CASES["beta_tc_vae"].build
    with pytest.raises(ValueError, match="train_dataset has 17 images, so that with per_device_train_batch_size=8"):
        make_trainer(tmp_path, model(), data=images(17))
    with pytest.raises(ValueError, match="eval_dataset has 1 images.* the loss of BetaTCVAEModel needs 2"):
        make_trainer(tmp_path, model(), eval_data=images(1))
    make_trainer(tmp_path, model(), data=images(17), dataloader_drop_last=True, num_train_epochs=1).train()
    make_trainer(tmp_path, VAE.build(), data=images(17), overwrite_output_dir=True, num_train_epochs=1).train()


def test_the_plateau_schedule_needs_an_eval_dataset(tmp_path):
    args = GAETrainingArguments.recipe("paper", str(tmp_path))
    with pytest.raises(ValueError, match="'reduce_lr_on_plateau' follows the validation loss: pass an eval_dataset"):
        GAETrainer(VAE.build(), args, train_dataset=images(8))


def test_a_trainer_needs_one_model(tmp_path):
    with pytest.raises(ValueError, match="pass a model, or model_init for a search .* got neither"):
        GAETrainer(None, make_arguments(tmp_path))
    with pytest.raises(ValueError, match="got both"):
        GAETrainer(VAE.build(), make_arguments(tmp_path), model_init=VAE.build)


def test_the_callers_arguments_are_not_changed(tmp_path):
    args = make_arguments(tmp_path, eval_strategy="steps", eval_steps=100)
    trainer = GAETrainer(VAE.build(), args, train_dataset=images(24))
    assert args.eval_strategy == "steps" and trainer.args.eval_strategy == "no"


def test_custom_modules_train(tmp_path):
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU())
    model = BetaVAEModel(BetaVAEConfig(input_shape=(1, 8, 8), latent_dim=2), encoder=trunk)
    make_trainer(tmp_path, model, max_steps=2).train()
    assert (tmp_path / "checkpoint-2" / "model.safetensors").is_file()


def test_models_that_cannot_be_sharded_raise(tmp_path):
    for name in ("piwae", "vae_gan", "kl_gan", "vq_gan", "hvae", "rhvae", "rae_l2", "rae_gp"):
        trainer = make_trainer(tmp_path, CASES[name].build())
        trainer.is_fsdp_enabled = True  # real FSDP needs a GPU
        with pytest.raises(ValueError, match="which FSDP shards: train it with DistributedDataParallel"):
            trainer._check_and_adapt(trainer.model)


def test_a_model_can_be_pushed_before_training(tmp_path):
    """Its facts are those of a run without steps."""
    facts = make_trainer(tmp_path).collect_facts()
    assert facts["steps"] == 0 and facts["warnings"] == {} and facts["divergences"] == []


def test_the_same_seed_gives_the_same_bits(tmp_path):
    """Initial weights included, from the command line; another seed gives other weights."""
    from gae_hub.cli.main import main

    flags = "--dataset digits --latent_dim 3 --max_steps 3 --eval_strategy no --load_best_model_at_end false"
    found = []
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(len(found))
        command = f"train {flags} --disable_tqdm true --seed {seed} --output_dir {tmp_path / folder}"
        assert main(command.split()) == 0
        found.append(AutoGAE.from_pretrained(tmp_path / folder))
    assert same_state(found[0], found[1]) and not same_state(found[0], found[2])


# Early stopping and searches


def test_early_stopping(tmp_path):
    stopping = EarlyStoppingCallback(early_stopping_patience=2)
    trainer = make_trainer(tmp_path, eval_data=EVAL, learning_rate=0.0, num_train_epochs=9, callbacks=[stopping])
    trainer.train()
    assert trainer.state.global_step == 9  # three epochs: the first is the best, and two are not better


def test_hyperparameter_search(tmp_path):
    """With the Trainer's own backends, here Optuna. `model_init` builds the models from each trial's settings."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def model_init(trial):
        return CASES["beta_vae"].build(beta=trial.suggest_float("beta", 0.1, 1.0) if trial else 1.0)

    args = make_arguments(tmp_path, num_train_epochs=1, max_steps=2)
    trainer = GAETrainer(None, args, model_init=model_init, train_dataset=images(24), eval_dataset=EVAL)
    best = trainer.hyperparameter_search(
        hp_space=lambda trial: {"learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)},
        backend="optuna",
        n_trials=2,
        direction="minimize",
    )
    assert {"learning_rate", "beta"} == set(best.hyperparameters)
    assert len(list(tmp_path.glob("run-*"))) == 2
    checkpoint = next((tmp_path / f"run-{best.run_id}").glob("checkpoint-*"))
    assert AutoGAE.from_pretrained(checkpoint).config.beta == best.hyperparameters["beta"]
