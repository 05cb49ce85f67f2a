"""Guards against divergence by themselves: the host guard and the device guard make the same decisions."""

import math

import pytest
import torch
from cases import MODELS, generator, images

from gae_hub.training.divergence import DeviceDivergenceGuard, HostDivergenceGuard, make_divergence_guard

GUARDS = pytest.mark.parametrize("guard_class", [HostDivergenceGuard, DeviceDivergenceGuard])


def diverges(guard, loss, terms=None):
    """Whether a step with this loss raises the guard's flag."""
    guard.observe_loss(torch.as_tensor(loss), terms or {})
    guard.end_step()
    return bool(guard.diverged)


def test_the_factory_chooses_by_device():
    assert type(make_divergence_guard(5.0, 3, torch.device("cpu"))) is HostDivergenceGuard
    guard = make_divergence_guard(5.0, 3, torch.device("cuda"))
    assert type(guard) is DeviceDivergenceGuard and (guard.threshold, guard.max_restarts) == (5.0, 3)


@GUARDS
def test_a_loss_far_above_its_mean(guard_class):
    """By 100 mean absolute deviations and by the mean itself, after 20 steps. A smaller loss never diverges."""
    noise = torch.linspace(-0.1, 0.1, 5)
    terms = {"kl": torch.tensor(1.0), "kl_per_dimension": torch.ones(3)}

    def last_diverges(last, steps=30, threshold=100.0):
        guard = guard_class(threshold, 3)
        assert not any(diverges(guard, 5 + noise[step % 5], terms) for step in range(steps))
        return diverges(guard, last, terms)

    assert not last_diverges(9.5) and last_diverges(30.0) and not last_diverges(-1000.0)
    assert not last_diverges(30.0, steps=5)
    assert not last_diverges(9.5, threshold=10.0) and last_diverges(10.5, threshold=10.0)


@GUARDS
def test_a_loss_that_crosses_zero(guard_class):
    """The negative log likelihood of a density has any sign. Near 0, only the deviations bound it."""
    guard = guard_class(100.0, 3)
    assert not any(diverges(guard, 1 - step / 200 + 0.1 * (-1) ** step) for step in range(400))
    assert guard.running[0] < 0
    assert not diverges(guard, guard.running[0] + 50 * guard.running[1])
    assert diverges(guard, guard.running[0] + 200 * guard.running[1] + 1)


@GUARDS
def test_a_threshold_of_0_checks_for_nan_and_infinite_values_only(guard_class):
    guard = guard_class(0.0, 3)
    assert not any(diverges(guard, 1.0) for _ in range(30)) and not diverges(guard, 1e9)
    assert diverges(guard, math.inf)


@GUARDS
def test_the_first_bad_step_is_named(guard_class):
    """Later bad values do not change `first_bad`."""
    guard = guard_class(100.0, 3)
    assert not diverges(guard, 1.0, {"kl": torch.tensor(1.0)})
    assert diverges(guard, math.nan, {"kl": torch.tensor(math.nan)})
    assert diverges(guard, math.nan, {"kl": torch.tensor(1.0)})
    assert guard.names == ["kl", "loss", "gradient"]
    assert torch.as_tensor(guard.first_bad).tolist() == [True, True, False]


@GUARDS
def test_a_step_without_losses_changes_nothing(guard_class):
    """As with a custom compute_loss."""
    guard = guard_class(100.0, 3)
    guard.observe_gradient(torch.tensor(math.nan))
    guard.end_step()
    assert guard.diverged is None and guard.first_bad is None


def test_both_guards_make_the_same_decisions():
    """Losses with heavy tails and bad values, two passes for each step, and gradients that are bad now and then."""
    draw = generator(0)
    host, device = guards = [HostDivergenceGuard(5.0, 3), DeviceDivergenceGuard(5.0, 3)]
    found = []
    for step in range(400):
        losses = 3 + torch.randn(2, generator=draw) / torch.rand(2, generator=draw)
        terms = {"kl": torch.rand((), generator=draw), "kl_per_dimension": torch.ones(3)}
        if step % 50 == 49:
            terms["kl"] = torch.tensor([math.nan, math.inf][step // 50 % 2])
        norm = torch.tensor(math.nan if step % 70 == 69 else 1.0)
        for guard in guards:
            for loss in losses:
                guard.observe_loss(loss, terms)
            guard.observe_gradient(norm)
            guard.end_step()
        assert type(host.diverged) is bool and torch.is_tensor(device.diverged)
        assert host.diverged == bool(device.diverged) and host.first_bad == device.first_bad.tolist(), step
        assert host.running == pytest.approx(device.running.tolist(), rel=1e-4, abs=1e-3)
        assert host.names == device.names and host.num_losses == device.num_losses
        found += [name for name, bad in zip(host.names, host.first_bad, strict=True) if bad][:1]
        if step % 3:  # in other steps the flag stays, as when the host looks later
            for guard in guards:
                guard.diverged = guard.first_bad = None
    assert set(found) == {"kl", "loss", "gradient"} and len(found) < 250


@pytest.mark.parametrize("saving", [HostDivergenceGuard, DeviceDivergenceGuard])
@GUARDS
def test_either_guard_loads_the_state_of_either(saving, guard_class):
    """A run can resume on another device."""
    saved, unbroken, resumed = saving(100.0, 3), guard_class(100.0, 3), guard_class(100.0, 3)
    for step in range(25):
        for guard in (saved, unbroken):
            assert not diverges(guard, 5 + 0.1 * (-1) ** step)
    resumed.load_state_dict(saved.state_dict())
    assert resumed.num_losses == 25 and resumed.events == []
    for loss in (5.05, 30.0):
        assert diverges(resumed, loss) == diverges(unbroken, loss) == (loss == 30.0)
    assert [float(x) for x in resumed.running] == pytest.approx([float(x) for x in unbroken.running], rel=1e-4)


def test_the_device_guard_moves_its_state_to_the_device_of_the_loss():
    """A checkpoint is read on the CPU; the meta device stands for a GPU."""
    guard = DeviceDivergenceGuard(100.0, 3)
    guard.load_state_dict({"running": torch.ones(2), "num_losses": 5, "events": []})
    guard.observe_loss(torch.tensor(1.0).to("meta"), {})
    assert guard.running.device.type == "meta"


@GUARDS
def test_a_bad_first_loss_does_not_start_the_mean(guard_class):
    """The running mean starts at the first loss after it, not at 0."""
    guard, model = guard_class(100.0, 3), torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    guard.save_good_state(model, optimizer, 0)
    assert diverges(guard, math.nan)
    guard.recover(model, optimizer, None, 1)
    for _ in range(3):
        guard.observe_loss(torch.tensor(5.0), {})
    assert float(guard.running[0]) == pytest.approx(5.0)


@GUARDS
def test_recovery_restores_the_good_state_until_restarts_run_out(guard_class):
    guard, model = guard_class(100.0, 2), torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1.0)
    good = model.weight.detach().clone()
    guard.save_good_state(model, optimizer, 7)
    for restart in range(3):
        with torch.no_grad():
            model.weight.add_(1.0)
        assert diverges(guard, math.inf)
        if restart < 2:
            guard.recover(model, optimizer, None, 9)
            assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 ** (restart + 1))
        else:
            with pytest.raises(FloatingPointError, match="diverged at step 9: 'loss' is nan.*after 2 restarts"):
                guard.recover(model, optimizer, None, 9)
        assert torch.equal(model.weight, good) and guard.diverged is None
    assert guard.events == [{"step": 9, "term": "loss", "restored_step": 7}] * 2


@GUARDS
def test_without_a_good_state_recovery_raises(guard_class):
    """As with FSDP and DeepSpeed."""
    guard, model = guard_class(100.0, 3), torch.nn.Linear(1, 1)
    assert diverges(guard, math.nan)
    with pytest.raises(FloatingPointError, match="after 0 restarts. Try a smaller learning_rate"):
        guard.recover(model, torch.optim.SGD(model.parameters(), lr=1.0), None, 1)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("case", MODELS, ids=lambda case: case.id)
def test_bad_weights_give_every_method_a_bad_loss(case, value):
    """Not an error, which would end the run instead of restoring its last good state."""
    model = case.build().train()
    model(images(20))  # initialises codebooks
    for parameter in model.encoder.parameters():
        parameter.data.fill_(value)
    loss = model(images(20)).loss
    loss.backward()
    assert not loss.detach().isfinite()
