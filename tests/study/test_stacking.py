"""Models that train together have the weights, logs and best epochs of models that train alone."""

import json

import pytest
import torch
from cases import generator

from gae_hub import AutoGAE, BetaVAEConfig, GAETrainer, GAETrainingArguments, InMemoryDataset
from gae_hub.study.stacked_guard import StackGuard
from gae_hub.study.stacked_trainer import CHECKPOINT_FILE, StackedTrainer
from gae_hub.study.stacking import NOT_STACKABLE, STACKABLE, can_stack_arguments, stack_key
from gae_hub.training.checkpointing import load_tree, save_tree
from gae_hub.training.divergence import HostDivergenceGuard

# method to its options, and to three values for each field that may differ
CASES = {
    "aae": ({"discriminator_hidden_sizes": [16]}, {"adversarial_weight": (0.1, 1.0, 3.0)}),
    "beta_tc_vae": ({}, {"alpha": (1.0, 0.5, 2.0), "beta": (0.1, 1.0, 4.0), "gamma": (1.0, 1.0, 0.3)}),
    "beta_vae": ({}, {"beta": (0.01, 1.0, 5.0)}),
    "factor_vae": ({"discriminator_hidden_sizes": [16, 16]}, {"gamma": (1.0, 5.0, 20.0)}),
    "info_vae": ({}, {"alpha": (0.0, 0.5, -1.0), "mmd_weight": (1.0, 10.0, 100.0), "bandwidth": (0.1, 1.0, 2.0)}),
    "msssim_vae": ({"window_size": 3}, {"beta": (0.01, 0.1, 1.0)}),
    "rae_gp": ({}, {"embedding_weight": (1e-3, 0.1, 1.0), "decoder_penalty_weight": (0.0, 0.1, 1.0)}),
    "rae_l2": ({}, {"embedding_weight": (1e-3, 0.1, 1.0), "decoder_penalty_weight": (0.0, 1e-3, 0.1)}),
    "vq_vae": (
        {"num_embeddings": 8, "codebook_update": "gradient"},
        {"commitment_weight": (0.25, 1.0, 2.0), "codebook_weight": (1.0, 0.5, 2.0)},
    ),
    "wae_mmd": ({"kernel": "rbf"}, {"mmd_weight": (0.1, 1.0, 10.0), "bandwidth": (0.5, 1.0, 2.0)}),
}
VARIANTS = {
    "codes as moving averages": ("vq_vae", {"num_embeddings": 8}, {"commitment_weight": (0.25, 1.0, 2.0)}),
    "imq kernel": ("wae_mmd", {"kernel": "imq"}, {"bandwidth": (0.5, 1.0, 2.0)}),
    "kl warm-up": ("beta_vae", {"kl_warmup_fraction": 0.7}, {"beta": (0.01, 1.0, 5.0)}),
    "optimal std": ("beta_vae", {"observation_std": "optimal"}, {"beta": (0.01, 1.0, 5.0)}),
    "binary cross entropy": ("beta_vae", {"likelihood": "bernoulli"}, {"beta": (0.01, 1.0, 5.0)}),
}
BETAS = {"beta": (0.01, 1.0, 5.0)}


def digits(num, seed):
    """(num, 1, 8, 8): smooth random images in [0, 1]."""
    coarse = torch.rand(num, 1, 3, 3, generator=generator(seed))
    return torch.nn.functional.interpolate(coarse, size=8, mode="bilinear").round(decimals=4)


DATA, VALIDATION = digits(50, seed=0), digits(20, seed=1)  # the last batch of an epoch has 10 of 20 images
LABELLED, LABELLED_VALIDATION = (InMemoryDataset(x, torch.arange(len(x)) % 7 % 3) for x in (DATA, VALIDATION))


def build_models(method, options, values, dtype=torch.float64, **networks):
    """One model for each place in the tuples of `values`, all with the same weights."""
    model_class = AutoGAE.model_class(method)
    networks = {"encoder_config": {"model_type": "gae_mlp_encoder", "hidden_sizes": [24]}, **networks}
    models = []
    for fields in zip(*values.values(), strict=True):
        torch.manual_seed(7)
        config = model_class.config_class(
            input_shape=(1, 8, 8), latent_dim=3, **networks, **options, **dict(zip(values, fields, strict=True))
        )
        models.append(model_class(config).to(dtype))
    return models


def arguments(folder, **changes):
    fields = {"num_train_epochs": 2, "per_device_train_batch_size": 20, "logging_steps": 2, "report_to": []}
    return GAETrainingArguments(str(folder), disable_tqdm=True, **{**fields, **changes})


def train_alone(models, folder, validation=VALIDATION, data=DATA, **changes):
    for place, model in enumerate(models):
        trainer = GAETrainer(
            model, arguments(folder / str(place), **changes), train_dataset=data, eval_dataset=validation
        )
        trainer.train()
    return models


def stack(models, folder, validation=VALIDATION, data=DATA, **changes):
    return StackedTrainer(models, arguments(folder / "stack", **changes), data, validation, progress=False)


def assert_equal_runs(models, others, tolerance=1e-9):
    """Compare weights, logs and best steps of two lists of trained models.

    Args:
        models, others: the models.
        tolerance: largest norm of the difference of two states, relative to their norm.
    """
    for model, other in zip(models, others, strict=True):
        assert state_error(model, other) < tolerance
        assert model.facts["steps"] == other.facts["steps"]
        assert model.facts["best_step"] == other.facts["best_step"]
        logs = [plain_log(run.facts["log"]) for run in (model, other)]
        assert [entry.keys() for entry in logs[0]] == [entry.keys() for entry in logs[1]]
        for entry, expected in zip(*logs, strict=True):
            assert entry == pytest.approx(expected, rel=max(tolerance, 1e-6), abs=1e-6)


def state_error(model, other):
    """Norm of the difference of two states, relative to their norm."""
    assert model.state_dict().keys() == other.state_dict().keys()
    one, two = (torch.cat([v.double().flatten() for v in m.state_dict().values()]) for m in (model, other))
    return ((one - two).norm() / two.norm()).item()


def plain_log(log):
    """A log without times, gradient norms and the summary at its end."""
    left_out = ("runtime", "per_second", "grad_norm", "total_flos")
    return [
        {name: value for name, value in entry.items() if not name.endswith(left_out)}
        for entry in log
        if "train_loss" not in entry
    ]


# Equality with training alone


@pytest.mark.parametrize(
    ("method", "options", "values"),
    [pytest.param(name, *case, id=name) for name, case in CASES.items()]
    + [pytest.param(*case, id=name) for name, case in VARIANTS.items()],
)
def test_weights_equal_those_of_training_alone(tmp_path, method, options, values):
    """In float64, where rounding hides no other difference. All fields of the method that may differ do."""
    together = build_models(method, options, values)
    assert stack(together, tmp_path).train() == [None] * 3
    assert_equal_runs(together, train_alone(build_models(method, options, values), tmp_path))
    first, second, third = (torch.cat([p.flatten() for p in model.parameters()]) for model in together)
    assert not torch.allclose(first, second, rtol=1e-6) and not torch.allclose(second, third, rtol=1e-6)


@pytest.mark.parametrize("injection", ["concatenation", "film"])
@pytest.mark.parametrize("method", CASES)
def test_conditional_models_equal_those_that_train_alone(tmp_path, method, injection):
    """All get the labels of the data, and the same labels are dropped."""
    options, values = CASES[method]
    options = {**options, "num_classes": 3, "condition_dropout": 0.3, "condition_injection": injection}
    together, alone = build_models(method, options, values), build_models(method, options, values)
    assert stack(together, tmp_path, LABELLED_VALIDATION, LABELLED).train() == [None] * 3
    assert_equal_runs(together, train_alone(alone, tmp_path, LABELLED_VALIDATION, LABELLED))
    assert together[2].class_shares.tolist() == pytest.approx([22 / 50, 14 / 50, 14 / 50])
    embeddings = [model.decoder.embedding.project.weight for model in together]
    assert not torch.allclose(embeddings[0], embeddings[1], rtol=1e-6)


@pytest.mark.parametrize("method", CASES)
def test_float32_weights_equal_those_of_training_alone(tmp_path, method):
    """Up to rounding, which Adam amplifies for gradients near 0, such as those of a VQ-VAE's tokens at their codes."""
    options, values = CASES[method]
    together = build_models(method, options, values, dtype=torch.float32)
    stack(together, tmp_path, num_train_epochs=3).train()
    alone = build_models(method, options, values, dtype=torch.float32)
    for model, other in zip(together, train_alone(alone, tmp_path, num_train_epochs=3), strict=True):
        assert state_error(model, other) < (1e-2 if method == "vq_vae" else 1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"max_steps": 4},
        {"num_train_epochs": 1.5},
        {"dataloader_drop_last": True},
        {"lr_scheduler_type": "linear", "weight_decay": 0.1},
        {"optim": "sgd", "learning_rate": 1e-5, "seed": 3, "data_seed": 5},
        {"eval_strategy": "no"},
        {"logging_strategy": "epoch"},
    ],
    ids=lambda changes: ", ".join(changes),
)
def test_arguments_have_their_effect(tmp_path, changes):
    together = build_models("beta_vae", {}, BETAS)
    validation = None if "eval_strategy" in changes else VALIDATION
    stack(together, tmp_path, validation, **changes).train()
    assert_equal_runs(together, train_alone(build_models("beta_vae", {}, BETAS), tmp_path, validation, **changes))


def test_groups_have_their_learning_rates(tmp_path):
    changes = {"group_learning_rates": {"discriminator": 1e-2}}
    together = build_models("factor_vae", *CASES["factor_vae"])
    stack(together, tmp_path, **changes).train()
    assert_equal_runs(together, train_alone(build_models("factor_vae", *CASES["factor_vae"]), tmp_path, **changes))


def test_learning_rates_and_best_epochs_are_those_of_each_model(tmp_path):
    """With a learning rate so high that the losses rise now and then, in another epoch for each model."""
    values = {"beta": (1e-3, 1.0, 30.0)}
    changes = {
        "learning_rate": 0.05,
        "num_train_epochs": 8,
        "lr_scheduler_type": "reduce_lr_on_plateau",
        "lr_scheduler_kwargs": {"factor": 0.5, "patience": 1},
    }
    together = build_models("beta_vae", {}, values)
    stack(together, tmp_path, **changes).train()
    assert_equal_runs(together, train_alone(build_models("beta_vae", {}, values), tmp_path, **changes), tolerance=1e-7)
    last_rates = {plain_log(model.facts["log"])[-2]["learning_rate"] for model in together}
    assert len(last_rates) > 1
    assert any(model.facts["best_step"] < model.facts["steps"] for model in together)


# Interruptions


def interrupt(trainer, step):
    """Make a trainer raise before a step."""
    take_step = trainer._take_step

    def take_step_or_stop(*args):
        if trainer._step + 1 == step:
            raise KeyboardInterrupt
        take_step(*args)

    trainer._take_step = take_step_or_stop


@pytest.mark.parametrize("method", ["beta_vae", "factor_vae", "vq_vae"])
@pytest.mark.parametrize("step", [2, 4, 5, 9])
def test_resumed_training_ends_exactly_as_if_it_had_not_been_interrupted(tmp_path, method, step):
    options, values = CASES[method]
    changes = {"num_train_epochs": 3, "lr_scheduler_type": "reduce_lr_on_plateau", "learning_rate": 0.02}
    whole = build_models(method, options, values)
    stack(whole, tmp_path / "whole", **changes).train()
    interrupted = stack(build_models(method, options, values), tmp_path, **changes)
    interrupt(interrupted, step)
    with pytest.raises(KeyboardInterrupt):
        interrupted.train()
    torch.rand(3)  # another random state
    resumed = build_models(method, options, values)
    assert stack(resumed, tmp_path, **changes).train(resume=True) == [None] * 3
    assert_equal_runs(resumed, whole, tolerance=1e-300)


def test_resuming_a_finished_training_takes_no_step(tmp_path):
    first, second = build_models("beta_vae", {}, BETAS), build_models("beta_vae", {}, BETAS)
    stack(first, tmp_path).train()
    trainer = stack(second, tmp_path)
    interrupt(trainer, 7)
    trainer.train(resume=True)
    assert_equal_runs(second, first, tolerance=1e-300)


def test_a_second_training_needs_resume_or_overwrite(tmp_path):
    stack(build_models("beta_vae", {}, BETAS), tmp_path).train()
    with pytest.raises(ValueError, match=r"already exists: continue with train\(resume=True\)"):
        stack(build_models("beta_vae", {}, BETAS), tmp_path).train()
    models = build_models("beta_vae", {}, BETAS)
    stack(models, tmp_path, overwrite_output_dir=True, num_train_epochs=1).train()
    assert models[0].facts["steps"] == 3


@pytest.mark.parametrize(
    ("name", "values", "changes"),
    [
        ("configs", {"beta": (0.01, 1.0, 6.0)}, {}),
        ("learning_rate", BETAS, {"learning_rate": 1e-2}),
        ("num_train_epochs", BETAS, {"num_train_epochs": 3}),
    ],
)
def test_resuming_with_other_settings_raises(tmp_path, name, values, changes):
    stack(build_models("beta_vae", {}, BETAS), tmp_path).train()
    with pytest.raises(ValueError, match=f"belongs to a training with other values of {name}: use"):
        stack(build_models("beta_vae", {}, values), tmp_path, **changes).train(resume=True)


@pytest.mark.parametrize("damage", ["truncated", "not a state", "other sizes"])
def test_a_damaged_checkpoint_raises(tmp_path, damage):
    stack(build_models("beta_vae", {}, BETAS), tmp_path).train()
    file = tmp_path / "stack" / CHECKPOINT_FILE
    tree = load_tree(file)
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-100])
    elif damage == "not a state":
        del tree["members"][1]["optimizer"]
        save_tree(tree, file)
    else:
        tree["members"][1]["optimizer"]["state"][0]["exp_avg"] = torch.zeros(3)
        save_tree(tree, file)
    with pytest.raises(OSError, match="corrupt|damaged"):
        stack(build_models("beta_vae", {}, BETAS), tmp_path).train(resume=True)


# Divergence


@pytest.mark.parametrize(
    ("dtype", "beta", "tolerance"),
    [
        pytest.param(torch.float64, 1e308, 1e-9, id="infinite loss"),
        pytest.param(torch.float32, 1e25, 1e-5, id="infinite second moments, finite loss"),
    ],
)
def test_a_model_that_diverges_leaves_the_others_unchanged(tmp_path, dtype, beta, tolerance):
    models = build_models("beta_vae", {}, {"beta": (0.01, beta, 5.0)}, dtype)
    first, second, third = stack(models, tmp_path).train()
    assert first is None and third is None
    assert second == f"training with beta={beta} diverged before the end of step 3"
    others = train_alone(build_models("beta_vae", {}, {"beta": (0.01, 5.0)}, dtype), tmp_path)
    assert_equal_runs([models[0], models[2]], others, tolerance)
    assert models[1].facts is None


def test_resuming_after_a_divergence_is_exact(tmp_path):
    values = {"beta": (0.01, 1e308, 5.0)}
    whole, resumed = build_models("beta_vae", {}, values), build_models("beta_vae", {}, values)
    expected = stack(whole, tmp_path / "whole").train()
    interrupted = stack(build_models("beta_vae", {}, values), tmp_path)
    interrupt(interrupted, 5)
    with pytest.raises(KeyboardInterrupt):
        interrupted.train()
    assert stack(resumed, tmp_path).train(resume=True) == expected
    assert_equal_runs([resumed[0], resumed[2]], [whole[0], whole[2]], tolerance=1e-300)


def test_training_ends_when_all_models_have_diverged(tmp_path):
    results = stack(build_models("beta_vae", {}, {"beta": (1e308, 1e308)}), tmp_path).train()
    assert all("diverged" in result for result in results)


def test_guard_finds_what_the_guard_of_one_model_finds():
    """Losses that jump, are nan or grow slowly, over 60 steps, for several thresholds."""
    steps = torch.rand(60, 4, generator=generator(0))
    steps[30, 1], steps[40, 2], steps[:, 3] = 50.0, float("nan"), torch.linspace(1, 100, 60)
    for threshold in (0.0, 3.0, 100.0):
        guard = StackGuard(threshold, 4, torch.device("cpu"))
        alone = [HostDivergenceGuard(threshold, 0) for _ in range(4)]
        found = [False] * 4
        for losses in steps:
            guard.observe(losses, {"reconstruction": losses, "vector": losses[:, None]})
            for place, one in enumerate(alone):
                one.observe_loss(losses[place], {"reconstruction": losses[place]})
                one.end_step()
                found[place] |= bool(one.diverged)
        assert guard.diverged.tolist() == found
        assert found[2] and (found[1] == bool(threshold))


# What can be stacked


def test_every_method_of_the_paper_is_listed():
    paper = (
        "ae vae vamp iwae vae_lin_nf vae_iaf beta_vae beta_tc_vae factor_vae info_vae aae msssim_vae vae_gan".split()
    )
    paper += "rae_l2 rae_gp wae_mmd vq_vae".split()
    assert {*STACKABLE, *NOT_STACKABLE} == {*paper} and not STACKABLE.keys() & NOT_STACKABLE.keys()
    assert {name: {*CASES[name][1]} for name in CASES} == {name: {*fields} for name, fields in STACKABLE.items()}


def test_keys_are_equal_if_only_the_weights_of_the_loss_differ():
    def key(method="beta_vae", **fields):
        networks = {"encoder_config": "mlp", "decoder_config": "mlp", "input_shape": (1, 8, 8)}
        return stack_key(AutoGAE.config_class(method)(**{**networks, **fields}))

    assert key(beta=1.0) == key(beta=2) is not None
    others = [key(latent_dim=4), key(likelihood="bernoulli"), key(kl_warmup_fraction=0.5), key("msssim_vae")]
    others += [key(num_classes=3), key(num_classes=3, condition_dropout=0.1)]
    assert len({key(), *others, key(encoder_config={"model_type": "gae_mlp_encoder", "hidden_sizes": [9]})}) == 8
    assert key("vq_vae", num_embeddings=4) != key("vq_vae", num_embeddings=8)
    assert key("wae_mmd", bandwidth=2.0) == key("wae_mmd") != key("wae_mmd", kernel="rbf")
    assert key(encoder_config="conv") is None and key(decoder_config="conv") is None
    assert all(key(method) is None for method in NOT_STACKABLE)


def test_subclasses_of_a_config_have_no_key():
    class OwnConfig(BetaVAEConfig):
        pass

    assert stack_key(OwnConfig(encoder_config="mlp", decoder_config="mlp")) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bf16": True, "use_cpu": True}, "bf16 is True, and models that train together support False only"),
        ({"gradient_accumulation_steps": 2}, "gradient_accumulation_steps is 2"),
        ({"ema_decay": 0.9}, "ema_decay is 0.9"),
        ({"max_grad_norm": 1.0}, "max_grad_norm is 1.0"),
        ({"group_max_grad_norm": {"autoencoder": 1.0}}, "group_max_grad_norm is"),
        ({"eval_strategy": "steps", "eval_steps": 5}, "eval_strategy is 'steps', and models"),
    ],
)
def test_arguments_without_an_effect_raise(tmp_path, changes, reason):
    assert can_stack_arguments(arguments(tmp_path)) is None
    assert can_stack_arguments(GAETrainingArguments.recipe("paper", str(tmp_path))) is None
    assert reason in can_stack_arguments(arguments(tmp_path, **changes))
    with pytest.raises(ValueError, match="these arguments cannot be used for several models at once"):
        stack(build_models("beta_vae", {}, BETAS), tmp_path, **changes)


def test_models_of_several_keys_raise(tmp_path):
    mixed = build_models("beta_vae", {}, {"beta": (1.0,)}) + build_models("vae", {}, {"likelihood": ("bernoulli",)})
    for models in (mixed, mixed[1:], []):
        with pytest.raises(ValueError, match="need configs of one stack_key"):
            stack(models, tmp_path)


# Results


def test_facts_share_the_time_of_the_stack(tmp_path):
    models = build_models("beta_vae", {}, BETAS, dtype=torch.float32)
    trainer = stack(models, tmp_path)
    trainer.train()
    total = trainer._cost.read_seconds()
    for model in models:
        assert model.facts["trained_together"] == 3 and model.facts["num_train_images"] == 50
        assert 0 < 3 * model.facts["seconds"] <= total + 0.1


def test_trained_models_are_ordinary_models(tmp_path):
    """They own contiguous weights, keep no gradients, and are saved with a card and loaded again."""
    (model, *_) = build_models("beta_vae", {}, BETAS, dtype=torch.float32)
    models = [model, *build_models("beta_vae", {}, {"beta": (2.0,)}, dtype=torch.float32)]
    stack(models, tmp_path).train()
    for tensor in (*model.parameters(), *model.buffers()):
        assert tensor.is_contiguous() and tensor.grad is None
        assert tensor.untyped_storage().nbytes() == tensor.nbytes
    assert model.progress == 1
    model.save_pretrained(tmp_path / "model")
    loaded = AutoGAE.from_pretrained(tmp_path / "model")
    assert state_error(loaded, model) == 0
    assert json.loads((tmp_path / "model" / "training.json").read_text())["trained_together"] == 2
