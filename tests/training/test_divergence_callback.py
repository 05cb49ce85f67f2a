"""Divergence in training: detected before the optimizer steps, undone, and continued with a smaller learning rate."""

import math
from functools import partial

import pytest
import torch
from cases import MODELS, VAE, images
from trainers import flat_weights, make_trainer
from transformers import TrainerCallback

from gae_hub import GAETrainer, VAEModel
from gae_hub.training import trainer as trainer_module
from gae_hub.training.divergence import DeviceDivergenceGuard, HostDivergenceGuard
from gae_hub.training.divergence_callback import DivergenceCallback


class Faulty(VAEModel):
    """A model with faults: `faults` maps the number of a forward pass in training to a function of its output."""

    faults: dict = {}
    num_passes = 0

    def forward(self, pixel_values, return_loss=True, generator=None):
        out = super().forward(pixel_values, return_loss, generator)
        if self.training:
            if self.faults.get(self.num_passes):
                out = self.faults[self.num_passes](out)
            self.num_passes += 1
        return out


class FaultyTerm(Faulty):
    """A model whose reconstruction term is nan at the given passes."""

    def log_prob(self, *args, **kwargs):
        log_p, reconstruction = super().log_prob(*args, **kwargs)
        return (log_p * math.nan if self.training and self.num_passes in self.faults else log_p), reconstruction


class Record(TrainerCallback):
    """Records the weights and the learning rate after every step."""

    def __init__(self):
        self.weights, self.rates = [], []

    def on_step_end(self, args, state, control, model=None, optimizer=None, **kwargs):
        self.weights.append(flat_weights(model))
        self.rates.append(optimizer.param_groups[0]["lr"])


def infinite(out):
    out.loss = out.loss * math.inf
    return out


def huge(out):
    out.loss = out.loss * 1e6
    return out


def nan_gradient(out):
    """A finite loss whose gradient is nan."""
    out.loss = out.loss + (out.latents.sum() * 0).sqrt()
    return out


def build(cls=Faulty, faults=None, **fields):
    torch.manual_seed(0)
    model = cls(VAE.build(**fields).config)
    model.faults = faults or {}
    return model


def build_trainer(folder, model, callbacks=(), **changes):
    """Four steps in each of eight epochs, and a checkpoint after each epoch."""
    fields = {"per_device_train_batch_size": 4, "num_train_epochs": 8, **changes}
    return make_trainer(folder, model, images(16), callbacks=callbacks, **fields)


def train(folder, model, resume=None, callbacks=(), **changes):
    trainer = build_trainer(folder, model, callbacks, **changes)
    trainer.train(resume_from_checkpoint=resume)
    return trainer


@pytest.mark.parametrize(
    ("cls", "fault", "term"),
    [
        (FaultyTerm, None, "reconstruction"),  # the first bad term, not the loss that it made bad
        (Faulty, infinite, "loss"),
        (Faulty, huge, "loss"),
        (Faulty, nan_gradient, "gradient"),
    ],
    ids=["term", "infinite", "spike", "gradient"],
)
def test_divergence_is_detected_named_and_undone(tmp_path, cls, fault, term):
    """In step 27, the third of the seventh epoch; the last checkpoint is of step 24."""
    record = Record()
    trainer = train(tmp_path, build(cls, {26: fault}), callbacks=[record])
    assert trainer.guard.events == [{"step": 27, "term": term, "restored_step": 24}]
    assert trainer.state.global_step == 32 and len(record.weights) == 32
    assert all(weights.isfinite().all() for weights in record.weights)
    assert torch.equal(record.weights[26], record.weights[23])  # those of step 24
    assert not torch.equal(record.weights[27], record.weights[26])  # training continues
    assert record.rates[25] == 1e-3 and record.rates[26:] == pytest.approx([1e-4] * 6)
    assert trainer.lr_scheduler.get_last_lr() == pytest.approx([1e-4])
    entries = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert all(math.isfinite(value) for entry in entries for value in entry.values())
    saved = FaultyTerm.from_pretrained(tmp_path / "checkpoint-32")
    assert torch.equal(flat_weights(saved), record.weights[-1])


def test_a_loss_below_the_threshold_is_not_divergence(tmp_path):
    def larger(out):
        out.loss = out.loss * 2
        return out

    trainer = train(tmp_path, build(faults={26: larger}), divergence_threshold=1e9)
    assert trainer.guard.events == []
    off = train(tmp_path / "off", build(faults={26: huge}), divergence_threshold=0.0)
    assert off.guard.events == []


def test_each_restart_is_slower_and_their_number_is_bounded(tmp_path):
    model, record = build(faults=dict.fromkeys((5, 6, 9, 10), infinite)), Record()
    with pytest.raises(
        FloatingPointError, match=r"diverged at step 11: 'loss' is nan.*after 3 restarts.*Try a smaller"
    ):
        train(tmp_path, model, callbacks=[record])
    assert record.rates == pytest.approx([1e-3] * 5 + [1e-4] + [1e-5] * 3 + [1e-6])
    assert torch.equal(flat_weights(model), record.weights[7])
    with pytest.raises(FloatingPointError, match="after 0 restarts"):
        train(tmp_path / "none", build(faults={5: infinite}), divergence_restarts=0)


def test_without_checkpoints_epochs_are_good_states(tmp_path):
    fields = {"save_strategy": "no", "load_best_model_at_end": False}
    trainer = train(tmp_path, build(faults={1: infinite}), **fields)
    assert trainer.guard.events[0]["restored_step"] == 0
    trainer = train(tmp_path / "later", build(faults={9: infinite}), **fields)
    assert trainer.guard.events[0]["restored_step"] == 8


def test_a_run_that_has_diverged_resumes_to_the_bit(tmp_path):
    whole = build(faults={9: infinite})
    train(tmp_path, whole)
    for checkpoint, num_passes in (("checkpoint-8", 8), ("checkpoint-12", 12)):
        resumed = build(faults={9: infinite})
        resumed.num_passes = num_passes
        trainer = train(tmp_path, resumed, resume=str(tmp_path / checkpoint))
        assert [event["step"] for event in trainer.guard.events] == [10]
        assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_both_guards_train_alike(tmp_path, monkeypatch):
    """The device guard, which GPUs use, gives the same weights and events."""
    weights, events = [], []
    for guard_class in (HostDivergenceGuard, DeviceDivergenceGuard):
        make = partial(lambda guard_class, threshold, restarts, device: guard_class(threshold, restarts), guard_class)
        monkeypatch.setattr(trainer_module, "make_divergence_guard", make)
        model = build(faults={6: nan_gradient, 29: huge})
        trainer = train(tmp_path / guard_class.__name__, model)
        assert type(trainer.guard) is guard_class
        weights.append(flat_weights(model))
        events.append(trainer.guard.events)
    assert torch.equal(*weights) and events[0] == events[1]
    assert [event["step"] for event in events[0]] == [7, 30]


def test_a_custom_compute_loss_is_not_observed(tmp_path, monkeypatch):
    """A fused optimizer then has no flag."""
    monkeypatch.setattr(DivergenceCallback, "optimizer_skips_bad_steps", lambda self: True)
    monkeypatch.setattr(GAETrainer, "compute_loss", lambda self, model, inputs, **kwargs: model(**inputs).loss)
    assert train(tmp_path, build(), max_steps=2, eval_strategy="no").state.global_step == 2


# Bad weights and numerical errors


class SpoilWeights(TrainerCallback):
    """Makes a weight infinite after a step whose loss and gradient are finite."""

    def __init__(self, step):
        self.step = step

    def on_optimizer_step(self, args, state, control, model=None, **kwargs):
        if state.global_step + 1 == self.step:
            next(model.parameters()).data.view(-1)[0] = math.inf
            self.step = None


@pytest.mark.parametrize("step", [30, 32], ids=["in an epoch", "in the last step"])
@pytest.mark.parametrize("ema_decay", [0.0, 0.5])
def test_weights_that_are_not_finite_are_undone(tmp_path, step, ema_decay):
    """With the weight average, which they would spoil for good. The last good state is that of step 28."""
    model = build()
    callbacks = [SpoilWeights(step)]
    trainer = train(tmp_path, model, callbacks=callbacks, ema_decay=ema_decay)
    term = "weights" if step == 32 else "reconstruction"  # in step 31 the loss shows it
    assert trainer.guard.events == [{"step": max(31, step), "term": term, "restored_step": 28}]
    assert flat_weights(model).isfinite().all()
    saved = FaultyTerm.from_pretrained(tmp_path / "checkpoint-32")
    assert torch.equal(flat_weights(saved), flat_weights(model))
    if step == 32:
        good = FaultyTerm.from_pretrained(tmp_path / "checkpoint-28")
        assert torch.equal(flat_weights(saved), flat_weights(good))


def test_an_error_in_the_method_is_divergence(tmp_path):
    """The factorization of a matrix that is not positive definite raises instead of returning nan."""

    class Factorizes(Faulty):
        def forward(self, pixel_values, return_loss=True, generator=None):
            if self.training and self.num_passes in self.faults:
                self.num_passes += 1
                torch.linalg.cholesky(-torch.eye(2))
            return super().forward(pixel_values, return_loss, generator)

    record = Record()
    trainer = train(tmp_path, build(Factorizes, {26: None}), callbacks=[record])
    assert trainer.guard.events == [{"step": 27, "term": "LinAlgError", "restored_step": 24}]
    assert torch.equal(record.weights[26], record.weights[23]) and trainer.state.global_step == 32
    first = train(tmp_path / "first", build(Factorizes, {0: None}), max_steps=2)
    assert [event["step"] for event in first.guard.events] == [1]
    message = r"diverged at step 2: LinAlgError: linalg.cholesky: .* not positive-definite.*, after 1 restarts"
    with pytest.raises(FloatingPointError, match=message):
        train(tmp_path / "none", build(Factorizes, {0: None, 1: None}), divergence_restarts=1)


def test_a_metric_that_is_not_positive_definite_is_divergence(tmp_path):
    """RHVAE, after a step that made its metric overflow."""
    model = next(case for case in MODELS if case.id == "rhvae").build()

    class Overflow(TrainerCallback):
        def on_step_begin(self, args, state, control, model=None, **kwargs):
            if state.global_step == 6 and not trainer.guard.events:
                model.matrices.fill_(-1e30)

    trainer = build_trainer(tmp_path, model, [Overflow()], num_train_epochs=2)
    trainer.train()
    assert trainer.guard.events == [{"step": 7, "term": "kl", "restored_step": 4}]
    assert flat_weights(model).isfinite().all() and trainer.state.global_step == 8


# As on a GPU, where the optimizer skips bad steps by itself and the host looks later


def test_a_fused_optimizer_skips_bad_steps(tmp_path, monkeypatch):
    """The host recovers at the end of the epoch, where it logs; the weights have not changed since the bad step."""
    monkeypatch.setattr(DivergenceCallback, "optimizer_skips_bad_steps", lambda self: True)
    record = Record()
    trainer = train(tmp_path, build(faults={25: infinite}), callbacks=[record], logging_steps=1000)
    assert trainer.guard.events == [{"step": 28, "term": "loss", "restored_step": 24}]
    assert torch.equal(record.weights[25], record.weights[24])
    assert torch.equal(record.weights[26], record.weights[24])
    saved = FaultyTerm.from_pretrained(tmp_path / "checkpoint-28")  # saved after the recovery
    assert torch.equal(flat_weights(saved), record.weights[23])
    assert not torch.equal(record.weights[28], record.weights[23])


def test_an_interruption_does_not_save_a_bad_state(tmp_path, monkeypatch):
    """Ctrl-C in the step that diverges, before the host has looked; running statistics are bad already."""
    monkeypatch.setattr(DivergenceCallback, "optimizer_skips_bad_steps", lambda self: True)

    def interrupt(out):
        trainer.interrupt.interrupted = True
        for name, buffer in model.named_buffers():
            if name != "progress":
                buffer.fill_(math.nan)
        return infinite(out)

    model = build(observation_std="optimal", faults={5: interrupt})
    trainer = build_trainer(tmp_path, model)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    saved = FaultyTerm.from_pretrained(tmp_path / "checkpoint-6")
    assert all(value.isfinite().all() for value in saved.state_dict().values())
    assert trainer.guard.events[0]["restored_step"] == 4


def test_a_gradient_scaler_may_overflow(tmp_path, monkeypatch):
    """The scale of fp16 starts too large and is halved until nothing overflows, which is not divergence."""
    from accelerate import Accelerator

    def large(out):  # with the scale, too large for float32
        out.loss = out.loss * 100
        return out

    monkeypatch.setattr(Accelerator, "mixed_precision", property(lambda self: "fp16"))
    record, model = Record(), build(faults={0: large, 20: infinite})
    trainer = build_trainer(tmp_path, model, [record])
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    trainer.accelerator.native_amp = True
    start = flat_weights(model)
    trainer.train()
    assert torch.equal(record.weights[0], start) and not torch.equal(record.weights[1], start)  # one skipped step
    assert trainer.accelerator.scaler.get_scale() == 2.0**125  # halved then, and by the infinite loss
    assert [event["step"] for event in trainer.guard.events] == [21]
    assert all(weights.isfinite().all() for weights in record.weights)
    assert not torch.equal(record.weights[-1], record.weights[20])


def test_a_failed_run_leaves_no_sums_and_no_average(tmp_path):
    model = build(faults={5: infinite})
    fields = {"num_train_epochs": 2, "ema_decay": 0.5, "divergence_restarts": 0, "overwrite_output_dir": True}
    trainer = build_trainer(tmp_path, model, **fields)
    with pytest.raises(FloatingPointError):
        trainer.train()
    start = [p.detach().clone() for p in model.parameters()]
    seen = []

    class First(TrainerCallback):
        def on_optimizer_step(self, args, state, control, model=None, **kwargs):
            seen.append((trainer.train_sums.count, [value.clone() for value in trainer.average.values]))

    trainer.add_callback(First())
    trainer.train()
    assert seen[0][0] == 4 and not all(torch.equal(p, a) for p, a in zip(start, seen[0][1], strict=True))
    steps = [p.detach() for p in model.parameters()]
    assert len(seen) == 8 and all(torch.equal(p, a) for p, a in zip(steps, seen[-1][1], strict=True))
