"""Divergence is seen before the optimizer steps, named, and undone; training goes on with a smaller learning rate."""

import math

import pytest
import torch
from cases import MODELS, VAE, generator, images
from transformers import TrainerCallback

from gae_hub import AutoGAE, GAETrainer, GAETrainingArguments, VAEModel
from gae_hub.training.divergence import DivergenceGuard, GuardCallback


class Breaking(VAEModel):
    """Something goes wrong at given steps of training: `faults` maps a step to a function of the output."""

    faults: dict = {}
    calls = 0

    def forward(self, pixel_values, return_loss=True, generator=None):
        out = super().forward(pixel_values, return_loss, generator)
        if self.training:
            if self.faults.get(self.calls):
                out = self.faults[self.calls](out)
            self.calls += 1
        return out


class BreakingTerm(Breaking):
    def log_prob(self, *args, **kwargs):
        log_p, reconstruction = super().log_prob(*args, **kwargs)
        return (log_p * math.nan if self.training and self.calls in self.faults else log_p), reconstruction


class Watch(TrainerCallback):
    """The weights after every step, and whether they were ever bad."""

    def __init__(self):
        self.weights, self.rates = [], []

    def on_step_end(self, args, state, control, model=None, optimizer=None, **kwargs):
        self.weights.append(torch.cat([p.detach().flatten().clone() for p in model.parameters()]))
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


def build(cls=Breaking, **faults):
    torch.manual_seed(0)
    model = cls(VAE.build().config)
    model.faults = {int(step[1:]): fault for step, fault in faults.items()}
    return model


def train(folder, model, resume=None, callbacks=(), **changes):
    fields = {"per_device_train_batch_size": 4, "num_train_epochs": 8, "disable_tqdm": True, "save_total_limit": None}
    args = GAETrainingArguments(str(folder), **{**fields, **changes})
    run = GAETrainer(model, args, train_dataset=images(16), callbacks=list(callbacks))
    run.train(resume_from_checkpoint=resume)
    return run


@pytest.mark.parametrize(
    ("cls", "fault", "term"),
    [
        (BreakingTerm, None, "reconstruction"),  # the first bad term, not the loss that it made bad
        (Breaking, infinite, "loss"),
        (Breaking, huge, "loss"),
        (Breaking, nan_gradient, "gradient"),
    ],
    ids=["term", "infinite", "spike", "gradient"],
)
def test_it_is_seen_named_and_undone(tmp_path, cls, fault, term):
    """In step 27, the third of the seventh epoch; the last checkpoint is of step 24."""
    watch = Watch()
    model = build(cls, _26=fault)
    run = train(tmp_path, model, callbacks=[watch])
    assert run.guard.events == [{"step": 27, "term": term, "restored_step": 24}]
    assert run.state.global_step == 32 and len(watch.weights) == 32
    assert all(weights.isfinite().all() for weights in watch.weights)
    assert torch.equal(watch.weights[26], watch.weights[23])  # after 24 steps
    assert not torch.equal(watch.weights[27], watch.weights[26])  # and it goes on
    assert watch.rates[25] == 1e-3 and watch.rates[26:] == pytest.approx([1e-4] * 6)
    assert run.lr_scheduler.get_last_lr() == pytest.approx([1e-4])
    entries = [entry for entry in run.state.log_history if "loss" in entry]
    assert all(math.isfinite(value) for entry in entries for value in entry.values())
    saved = AutoGAE.from_pretrained(tmp_path / "checkpoint-32")
    assert torch.equal(torch.cat([p.flatten() for p in saved.parameters()]), watch.weights[-1])


def test_a_loss_that_only_grows_slowly_is_no_divergence(tmp_path):
    def larger(out):
        out.loss = out.loss * 2
        return out

    run = train(tmp_path, build(_26=larger), divergence_threshold=1e9)
    assert run.guard.events == []
    off = train(tmp_path / "off", build(_26=huge), divergence_threshold=0.0)
    assert off.guard.events == []


def test_each_restart_is_slower_and_their_number_is_bounded(tmp_path):
    faults = {f"_{step}": infinite for step in (5, 6, 9, 10)}
    model, watch = build(**faults), Watch()
    with pytest.raises(
        FloatingPointError, match=r"diverged at step 11: 'loss' is nan.*after 3 restarts.*Try a smaller"
    ):
        train(tmp_path, model, callbacks=[watch])
    assert watch.rates == pytest.approx([1e-3] * 5 + [1e-4] + [1e-5] * 3 + [1e-6])
    assert torch.equal(torch.cat([p.detach().flatten() for p in model.parameters()]), watch.weights[7])
    with pytest.raises(FloatingPointError, match="after 0 restarts"):
        train(tmp_path / "none", build(_5=infinite), divergence_restarts=0)


def test_before_the_first_checkpoint_there_is_the_beginning(tmp_path):
    fields = {"save_strategy": "no", "load_best_model_at_end": False}
    run = train(tmp_path, build(_1=infinite), **fields)
    assert run.guard.events[0]["restored_step"] == 0
    run = train(tmp_path / "later", build(_9=infinite), **fields)
    assert run.guard.events[0]["restored_step"] == 8


def test_a_run_that_has_diverged_resumes_to_the_bit(tmp_path):
    whole = build(_9=infinite)
    train(tmp_path, whole)
    for checkpoint, calls in (("checkpoint-8", 8), ("checkpoint-12", 12)):
        resumed = build(_9=infinite)
        resumed.calls = calls
        run = train(tmp_path, resumed, resume=str(tmp_path / checkpoint))
        assert [event["step"] for event in run.guard.events] == [10]
        assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_a_fused_optimizer_leaves_the_step_out_by_itself(tmp_path, monkeypatch):
    """As on a GPU: the host looks when it logs, here at the end of the epoch, and nothing has moved meanwhile."""
    monkeypatch.setattr(GuardCallback, "skips_on_device", lambda self: True)
    watch = Watch()
    run = train(tmp_path, build(_25=infinite), callbacks=[watch], logging_steps=1000)
    assert run.guard.events == [{"step": 28, "term": "loss", "restored_step": 24}]
    assert torch.equal(watch.weights[25], watch.weights[24]) and torch.equal(watch.weights[26], watch.weights[24])
    saved = AutoGAE.from_pretrained(tmp_path / "checkpoint-28")  # whoever looks at the epoch's end sees what is good
    assert torch.equal(torch.cat([p.flatten() for p in saved.parameters()]), watch.weights[23])
    assert not torch.equal(watch.weights[28], watch.weights[23])


def test_a_loss_of_ones_own_is_not_seen(tmp_path, monkeypatch):
    """On a GPU, the optimizer has no flag then."""
    monkeypatch.setattr(GuardCallback, "skips_on_device", lambda self: True)
    monkeypatch.setattr(GAETrainer, "compute_loss", lambda self, model, inputs, **kwargs: model(**inputs).loss)
    assert train(tmp_path, build(), max_steps=2, eval_strategy="no").state.global_step == 2


def test_a_pause_does_not_save_what_is_bad(tmp_path, monkeypatch):
    """Ctrl-C in the step that diverges, where the host has not looked yet; running statistics are bad by then."""
    monkeypatch.setattr(GuardCallback, "skips_on_device", lambda self: True)

    def pause(out):
        run.interrupt.interrupted = True
        model.likelihood.variance.fill_(math.nan)
        return infinite(out)

    torch.manual_seed(0)
    model = Breaking(VAE.build(observation_std="optimal").config)
    model.faults = {5: pause}
    args = GAETrainingArguments(str(tmp_path), per_device_train_batch_size=4, num_train_epochs=8, disable_tqdm=True)
    run = GAETrainer(model, args, train_dataset=images(16))
    with pytest.raises(KeyboardInterrupt):
        run.train()
    saved = AutoGAE.from_pretrained(tmp_path / "checkpoint-6")
    assert saved.likelihood.variance.isfinite() and run.guard.events[0]["restored_step"] == 4


def test_a_gradient_scaler_may_overflow(tmp_path, monkeypatch):
    """fp16's scale begins too large and is halved until nothing overflows: no divergence. A bad loss is one."""
    from accelerate import Accelerator

    def large(out):  # with the scale, too large for float32
        out.loss = out.loss * 100
        return out

    monkeypatch.setattr(Accelerator, "mixed_precision", property(lambda self: "fp16"))
    model = build(_0=large, _20=infinite)
    args = GAETrainingArguments(str(tmp_path), per_device_train_batch_size=4, num_train_epochs=8, disable_tqdm=True)
    run = GAETrainer(model, args, train_dataset=images(16))
    run.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    run.accelerator.native_amp = True
    watch = Watch()
    run.add_callback(watch)
    start = torch.cat([p.detach().flatten() for p in model.parameters()])
    run.train()
    assert torch.equal(watch.weights[0], start) and not torch.equal(watch.weights[1], start)  # one step was skipped
    assert run.accelerator.scaler.get_scale() == 2.0**125  # halved then, and by the loss that is bad
    assert [event["step"] for event in run.guard.events] == [21]
    assert all(weights.isfinite().all() for weights in watch.weights)
    assert not torch.equal(watch.weights[-1], watch.weights[20])


def test_nothing_of_a_run_that_broke_off_is_left(tmp_path):
    """The next one begins with sums and an average of its own."""
    model = build(_5=infinite)
    fields = {"per_device_train_batch_size": 4, "num_train_epochs": 2, "disable_tqdm": True, "ema_decay": 0.5}
    args = GAETrainingArguments(str(tmp_path), **fields, divergence_restarts=0, overwrite_output_dir=True)
    run = GAETrainer(model, args, train_dataset=images(16))
    with pytest.raises(FloatingPointError):
        run.train()
    start = [p.detach().clone() for p in model.parameters()]
    seen = []

    class First(TrainerCallback):
        def on_optimizer_step(self, args, state, control, model=None, **kwargs):
            seen.append((run.sums[True].count, [a.clone() for a in run.average.average]))

    run.add_callback(First())
    run.train()
    assert seen[0][0] == 4 and not all(torch.equal(p, a) for p, a in zip(start, seen[0][1], strict=True))
    steps = [p.detach() for p in model.parameters()]
    assert len(seen) == 8 and all(torch.equal(p, a) for p, a in zip(steps, seen[-1][1], strict=True))


HOSTS = pytest.mark.parametrize("on_host", [True, False])


@HOSTS
def test_what_is_far_above(on_host):
    """By 100 mean absolute deviations and by the mean itself, after 20 steps; a smaller loss never is."""
    noise = torch.linspace(-0.1, 0.1, 5)

    def flag(last, steps=30, threshold=100.0):
        guard = DivergenceGuard(threshold, 3, on_host)
        for step in range(steps):
            guard.see(5 + noise[step % 5], {"kl": torch.tensor(1.0), "kl_per_dimension": torch.ones(3)})
            guard.conclude()
        assert guard.flag == 0
        guard.see(torch.tensor(last), {"kl": torch.tensor(1.0), "kl_per_dimension": torch.ones(3)})
        guard.conclude()
        return bool(guard.flag)

    assert not flag(9.5) and flag(30.0) and not flag(-1000.0)
    assert not flag(30.0, steps=5)
    assert not flag(9.5, threshold=10.0) and flag(10.5, threshold=10.0)  # above 10 deviations, and the mean


@HOSTS
def test_a_loss_that_crosses_zero(on_host):
    """A negative log likelihood of a density has any sign: about 0 its deviations alone say what is far above."""
    guard = DivergenceGuard(100.0, 3, on_host)

    def flag(loss):
        guard.see(torch.as_tensor(loss), {})
        guard.conclude()
        return bool(guard.flag)

    assert not any(flag(1 - step / 200 + 0.1 * (-1) ** step) for step in range(400))
    assert guard.running[0] < 0
    assert not flag(guard.running[0] + 50 * guard.running[1])
    assert flag(guard.running[0] + 200 * guard.running[1] + 1)


def test_numbers_and_tensors_see_the_same():
    """Losses with heavy tails and bad values, two passes for each step, and gradients that are bad now and then."""
    draw = generator(0)
    guards = [DivergenceGuard(5.0, 3, on_host) for on_host in (True, False)]
    found = []
    for step in range(400):
        losses = 3 + torch.randn(2, generator=draw) / torch.rand(2, generator=draw)
        terms = {"kl": torch.rand((), generator=draw), "kl_per_dimension": torch.ones(3)}
        if step % 50 == 49:
            terms["kl"] = torch.tensor([math.nan, math.inf][step // 50 % 2])
        norm = torch.tensor(math.nan if step % 70 == 69 else 1.0)
        for guard in guards:
            for loss in losses:
                guard.see(loss, terms)
            guard.see_gradient(norm)
            guard.conclude()
        flags, firsts = zip(*((bool(g.flag), torch.as_tensor(g.first).tolist()) for g in guards), strict=True)
        assert flags[0] == flags[1] and firsts[0] == firsts[1], step
        assert guards[0].running == pytest.approx(guards[1].running.tolist(), rel=1e-4, abs=1e-3)
        found += [name for name, bad in zip(guards[0].names, firsts[0], strict=True) if bad][:1]
        for guard in guards:
            guard.flag = guard.first = None
    assert set(found) == {"kl", "loss", "gradient"} and len(found) < 200


def test_the_running_loss_follows_to_the_device():
    """That of a checkpoint is read onto the host; the device here is one of shapes only."""
    guard = DivergenceGuard(100.0, 3, on_host=False)
    guard.load_state_dict({"running": torch.ones(2), "seen": 5, "events": []})
    guard.see(torch.tensor(1.0).to("meta"), {})
    assert guard.running.device.type == "meta"
    for on_host in (True, False):  # and one that had seen nothing
        guard = DivergenceGuard(100.0, 3, on_host)
        guard.load_state_dict({"running": None, "seen": 0, "events": []})
        guard.see(torch.tensor(3.0), {})
        assert float(guard.running[0]) == 3.0


@HOSTS
def test_a_first_loss_that_is_bad_is_no_beginning(on_host):
    """The running mean begins at the first loss after it, and not at 0."""
    guard, model = DivergenceGuard(100.0, 3, on_host), torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    guard.remember(model, optimizer, 0)
    guard.see(torch.tensor(float("nan")), {})
    guard.conclude()
    guard.recover(model, optimizer, None, 1)
    for _ in range(3):
        guard.see(torch.tensor(5.0), {})
    assert float(guard.running[0]) == pytest.approx(5.0)


# Clipping


def test_each_player_is_clipped_by_itself(tmp_path):
    case = next(case for case in MODELS if case.id == "vae_gan")
    limits = {"encoder": 1e-3, "discriminator": 1e6}  # the decoder has the common one
    model, norms = case.build(margin=None), []

    class Norms(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
            groups = model.parameter_groups().items()
            norms.append({n: torch.nn.utils.get_total_norm([q.grad for q in p]).item() for n, p in groups})

    fields = {"max_grad_norm": 2e-3, "group_max_grad_norm": limits, "max_steps": 2}
    run = train(tmp_path, model, callbacks=[Norms()], **fields, logging_steps=1)
    for found in norms:
        assert found["encoder"] == pytest.approx(1e-3, rel=1e-3) and found["decoder"] == pytest.approx(2e-3, rel=1e-3)
        assert 0 < found["discriminator"] < 1e6
    logged = [entry["grad_norm"] for entry in run.state.log_history if "loss" in entry]
    assert len(logged) == 2 and min(logged) > 0.1  # before it was clipped, of all players
    with pytest.raises(
        ValueError, match="no parameter group 'critic'; this model has encoder, decoder, discriminator"
    ):
        train(tmp_path / "other", case.build(), group_max_grad_norm={"critic": 1.0})


def test_groups_of_an_optimizer_of_ones_own(tmp_path):
    """It is clipped by the names of its groups; where it has none, that is said."""
    model = VAE.build()
    (name, parameters), *_ = model.parameter_groups().items()
    before = [p.detach().clone() for p in parameters]

    def fit(folder, **named):
        optimizer = torch.optim.SGD([{"params": parameters, **named}], lr=1.0)
        args = GAETrainingArguments(
            str(tmp_path / folder), max_steps=1, group_max_grad_norm={name: 1e-3}, disable_tqdm=True, use_cpu=True
        )
        GAETrainer(model, args, train_dataset=images(8), optimizers=(optimizer, None)).train()

    with pytest.raises(ValueError, match=f"limits '{name}', but the given optimizer has no such group"):
        fit("unnamed")
    fit("named", name=name)
    moved = torch.stack([(p - b).square().sum() for p, b in zip(parameters, before, strict=True)]).sum().sqrt()
    assert moved.item() == pytest.approx(1e-3, rel=1e-2)
