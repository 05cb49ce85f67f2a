"""Parameter groups: learning rates, gradient clipping; and accumulation of gradients."""

from copy import deepcopy

import pytest
import torch
from cases import AE, MODELS, VAE, images
from trainers import make_trainer, same_state
from transformers import TrainerCallback

from gae_hub import GAETrainer, GAETrainingArguments, VAEModel

CASES = {case.id: case for case in MODELS}


def test_groups_have_their_own_learning_rates(tmp_path):
    class TwoGroups(VAEModel):
        def parameter_groups(self):
            encoder = [*self.encoder.parameters(), *self.head.parameters()]
            return {"encoder": encoder, "decoder": list(self.decoder.parameters())}

    model = TwoGroups(VAE.build().config)
    start = deepcopy(model)
    make_trainer(tmp_path, model, group_learning_rates={"encoder": 0.0}).train()
    assert same_state(model.encoder, start.encoder) and not same_state(model.decoder, start.decoder)
    with pytest.raises(ValueError, match="no parameter group 'critic'; this model has encoder, decoder"):
        make_trainer(tmp_path / "other", model, group_learning_rates={"critic": 0.0}).train()


def test_each_group_is_clipped_separately(tmp_path):
    limits = {"encoder": 1e-3, "discriminator": 1e6}  # the decoder has the common limit
    model, norms = CASES["vae_gan"].build(margin=None), []

    class Norms(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
            groups = model.parameter_groups().items()
            norms.append({n: torch.nn.utils.get_total_norm([q.grad for q in p]).item() for n, p in groups})

    fields = {"max_grad_norm": 2e-3, "group_max_grad_norm": limits, "max_steps": 2, "logging_steps": 1}
    trainer = make_trainer(tmp_path, model, images(16), callbacks=[Norms()], **fields)
    trainer.train()
    for norm in norms:
        assert norm["encoder"] == pytest.approx(1e-3, rel=1e-3) and norm["decoder"] == pytest.approx(2e-3, rel=1e-3)
        assert 0 < norm["discriminator"] < 1e6
    logged = [entry["grad_norm"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(logged) == 2 and min(logged) > 0.1  # the norm of all groups, before clipping
    with pytest.raises(
        ValueError, match="no parameter group 'critic'; this model has encoder, decoder, discriminator"
    ):
        make_trainer(tmp_path / "other", CASES["vae_gan"].build(), group_max_grad_norm={"critic": 1.0}).train()


def test_groups_of_a_given_optimizer_are_clipped_by_name(tmp_path):
    model = VAE.build()
    (name, parameters), *_ = model.parameter_groups().items()
    before = [p.detach().clone() for p in parameters]

    def fit(folder, **named):
        optimizer = torch.optim.SGD([{"params": parameters, **named}], lr=1.0)
        args = GAETrainingArguments(
            str(tmp_path / folder), max_steps=1, group_max_grad_norm={name: 1e-3}, disable_tqdm=True, use_cpu=True
        )
        GAETrainer(model, args, train_dataset=images(8), optimizers=(optimizer, None)).train()

    with pytest.raises(ValueError, match=f"limits '{name}', but the given optimizer has no group of that name"):
        fit("unnamed")
    fit("named", name=name)
    moved = torch.stack([(p - b).square().sum() for p, b in zip(parameters, before, strict=True)]).sum().sqrt()
    assert moved.item() == pytest.approx(1e-3, rel=1e-2)


def test_a_given_optimizer_class_is_used(tmp_path):
    args = GAETrainingArguments(str(tmp_path), disable_tqdm=True)
    sgd = (torch.optim.SGD, {"lr": 0.5})
    trainer = GAETrainer(VAE.build(), args, train_dataset=images(24), optimizer_cls_and_kwargs=sgd)
    assert isinstance(trainer.create_optimizer(), torch.optim.SGD)


def test_accumulated_gradients_equal_a_larger_batch(tmp_path):
    """2 x 4 equals 1 x 8 for a deterministic loss."""
    models = [AE.build(), AE.build()]
    for model, size in zip(models, (8, 4), strict=True):
        make_trainer(
            tmp_path / str(size),
            model,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=8 // size,
            optim="sgd",
            learning_rate=1e-3,
            max_steps=6,
        ).train()
    for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


COUPLED = {"beta_tc_vae", "info_vae", "wae_mmd", "factor_vae", "rhvae", "vq_vae", "hrq_vae", "kl_gan", "vq_gan"}


@pytest.mark.parametrize("case", [case for case in MODELS if case.id not in COUPLED], ids=lambda case: case.id)
def test_accumulated_gradients_of_every_method(case, tmp_path, monkeypatch):
    """2 x 4 equals 1 x 8 for every per-example loss. All images get the same noise: its rows are equal."""
    real = {name: getattr(torch, name) for name in ("randn", "rand")}

    def with_equal_rows(name):
        def draw(shape, generator=None, **kwargs):
            row = real[name](shape[1:], generator=torch.Generator().manual_seed(len(shape)), **kwargs)
            return row.expand(shape).clone()

        return draw

    data = images(24)
    for name in real:
        monkeypatch.setattr(torch, name, with_equal_rows(name))
    fields = {"margin": None} if case.id == "vae_gan" else {}
    start, *models = (case.build(**fields) for _ in range(3))
    for model, size in zip(models, (8, 4), strict=True):
        make_trainer(
            tmp_path / str(size),
            model,
            data,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=8 // size,
            optim="sgd",
            learning_rate=1e-4,
            max_steps=3,
            save_strategy="no",
            load_best_model_at_end=False,
            divergence_restarts=0,
        ).train()
    moved = 0.0
    for p, q, s in zip(*(m.parameters() for m in (*models, start)), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)
        moved = max(moved, (p - s).abs().max().item())
    assert moved > 1e-5
