"""Inverses of flows, their gradients, and zuko's flows as an independent oracle; in float64."""

from functools import partial

import pytest
import torch
import zuko
from cases import generator
from torch.autograd.functional import jacobian

from gae_hub.modules.flows import (
    BatchNormStep,
    Flow,
    InverseAutoregressiveStep,
    Inverted,
    MaskedAutoregressiveStep,
    SplineAutoregressiveStep,
    Standardization,
    rational_quadratic,
)
from gae_hub.modules.made import MADE, fixed_point
from gae_hub.modules.planar_radial import ELEMENTARY_FLOWS, planar_inverse, radial_inverse

STEPS = {
    "gated": partial(InverseAutoregressiveStep, update="gated"),
    "affine": partial(InverseAutoregressiveStep, update="affine"),
    "masked": MaskedAutoregressiveStep,
    "spline": partial(SplineAutoregressiveStep, num_bins=5, tail_bound=3.0),
}
ORDERS = {"natural": {}, "reversed": {"reverse": True}, "any": {"order": [2, 0, 4, 1, 3]}}
KINDS = pytest.mark.parametrize("kind", STEPS)


def noise(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def build(kind, d, scale=2.0, seed=0, hidden_size=11, **made):
    """A step with weights large enough to matter."""
    torch.manual_seed(seed)
    step = STEPS[kind](d, hidden_size=hidden_size, **made).double()
    with torch.no_grad():
        for p in step.parameters():
            p.mul_(scale)
    return step


def assert_log_det(step, z):
    log_det = step(z)[1]
    blocks = torch.einsum("bibj->bij", jacobian(lambda z: step(z)[0], z))
    torch.testing.assert_close(log_det, torch.linalg.slogdet(blocks)[1])


@KINDS
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("layers", [1, 3])
def test_there_and_back(kind, order, layers):
    step, z = build(kind, 5, num_hidden_layers=layers, **ORDERS[order]), 2 * noise(40, 5)
    moved, log_det = step(z)
    assert_log_det(step, z[:4])
    with torch.no_grad():
        again, back = step.inverse(moved)
    torch.testing.assert_close(again, z, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(back, -log_det, atol=1e-7, rtol=1e-7)
    again, back = step.inverse(moved)  # the differentiable one
    torch.testing.assert_close(again, z, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(back, -log_det, atol=1e-7, rtol=1e-7)


@KINDS
@pytest.mark.parametrize(("d", "hidden_size"), [(1, 3), (2, 1), (9, 4), (4, 30)])
def test_any_size_has_an_inverse(kind, d, hidden_size):
    """Narrow networks have degrees without a hidden unit, wide ones several units of a degree."""
    step, z = build(kind, d, hidden_size=hidden_size, num_hidden_layers=2, context_size=2), noise(6, d)
    context = noise(6, 2, seed=1)
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            torch.testing.assert_close(step.inverse(step(z, context)[0], context)[0], z, atol=1e-8, rtol=1e-8)


@KINDS
@pytest.mark.parametrize("order", ORDERS)
def test_gradients_of_the_inverse_are_those_of_one_pass_per_dimension(kind, order):
    """Plain autograd through d passes that each make one dimension right is slow, and exact."""
    step, moved = build(kind, 5, num_hidden_layers=3, context_size=2, **ORDERS[order]), noise(7, 5)
    context = noise(7, 2, seed=1).requires_grad_()
    moved.requires_grad_()
    weights, tilt = noise(7, 5, seed=2), noise(7, seed=3)

    def slow():
        z = torch.zeros_like(moved)
        for _ in range(5):
            z = step.invert(moved, *step.made(z, context))
        return z, -step.transform(z, *step.made(z, context))[1].sum(-1)

    leaves = [moved, context, *step.parameters()]
    found = []
    for z, log_det in (slow(), step.inverse(moved, context)):
        loss = (z * weights).sum() + (z.square().sum(-1) * tilt).sum() + (log_det * tilt).sum()
        found.append(torch.autograd.grad(loss, leaves))
    for expected, gradient in zip(*found, strict=True):
        torch.testing.assert_close(gradient, expected, atol=1e-8, rtol=1e-7)
    assert all(gradient.abs().max() > 0 for gradient in found[1])


def test_the_inverse_computes_each_hidden_unit_once():
    """Products of matrices inside take half the multiply-adds of a pass, and not d passes."""
    d, hidden = 64, 128
    made = MADE(d, hidden, 3)
    count = 0

    class Count(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal count
            if function is torch.ops.aten.addmm.default or function is torch.ops.aten.addmm.out:
                count += args[1].shape[0] * args[1].shape[1] * args[2].shape[1]
            return function(*args, **(kwargs or {}))

    with torch.no_grad(), Count():
        made.solve(lambda x, m, s: x + m, torch.randn(10, d))
    one_pass = 10 * (d * hidden + 2 * hidden**2 + 2 * d * hidden)
    assert 0.4 * one_pass < count < 0.6 * one_pass


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [3, 0, 5, 1, 4, 2]])
@pytest.mark.parametrize(("size", "rounds"), [(10.0, 6), (1e-6, 4)])
def test_a_fixed_point_takes_a_round_for_each_dimension_at_most(order, size, rounds):
    """For y = x + A y with A strictly triangular in some order; a row of large numbers loosens no other row's."""
    a, place = torch.zeros(6, 6).double(), torch.tensor(order)
    a[place[:, None], place] = size * noise(6, 6).tril(-1)
    x, count = noise(3, 6, seed=1) * torch.tensor([[1.0], [1e12], [1e-12]]).double(), 0

    def update(y):
        nonlocal count
        count += 1
        return x + y @ a.T

    found = fixed_point(update, torch.zeros_like(x))
    assert count == rounds
    expected = torch.linalg.solve(torch.eye(6).double() - a, x.T).T
    scale = expected.abs().amax(-1, keepdim=True)
    torch.testing.assert_close(found / scale, expected / scale, atol=1e-12, rtol=0)


def test_a_fixed_point_has_all_digits_of_small_numbers_beside_large_ones():
    a = 0.5 * torch.diag(torch.ones(15), -1)
    a[15] = 0
    x = torch.ones(1, 16)
    x[0, 15] = 1e6
    expected = torch.linalg.solve(torch.eye(16).double() - a.double(), x.double().T).T.float()
    assert torch.equal(fixed_point(lambda y: x + y @ a.T, torch.zeros_like(x)), expected)


@pytest.mark.parametrize(("kind", "scale"), [("gated", 3.0), ("affine", 3.0)])
def test_the_differentiable_inverse_is_finite_where_the_other_is(kind, scale):
    """With large weights and no bound, rounds overflow on the way to numbers that do not."""
    step = build(kind, 64, scale, hidden_size=128, **({"log_scale_bound": None} if kind == "affine" else {})).float()
    z = 3 * noise(200, 64).float()
    with torch.no_grad():
        moved = step(z)[0]
        plain = step.inverse(moved)
        through = fixed_point(lambda y: step.invert(moved, *step.made(y)), moved)
    assert plain[0].isfinite().all() and not through.isfinite().all()  # else there is nothing to see
    found = step.inverse(moved)
    near = (found[0] - plain[0]).abs() <= 1e-2 * (1 + plain[0].abs())  # which few digits lose on the way, in both
    assert near.double().mean() > 0.999 and found[0].isfinite().all() and found[1].isfinite().all()


def test_the_inverse_has_the_precision_of_its_weights():
    """With gradients and without; half precision's is float32."""
    for weights, given, expected in (
        (torch.float32, torch.float64, torch.float32),
        (torch.float64, torch.float32, torch.float64),
        (torch.bfloat16, torch.float32, torch.float32),
    ):
        step, moved = build("gated", 3).to(weights), noise(4, 3).to(given)
        for grad in (True, False):
            with torch.set_grad_enabled(grad):
                assert {t.dtype for t in step.inverse(moved)} == {expected}


def test_an_order_that_is_none_is_named():
    with pytest.raises(ValueError, match=r"order must hold each of 0 to 2 once, got \[0, 0, 1\]"):
        MADE(3, order=[0, 0, 1])


@pytest.mark.parametrize(("name", "inverse"), [("planar", planar_inverse), ("radial", radial_inverse)])
@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_elementary_inverses(name, inverse, scale):
    step, sizes = ELEMENTARY_FLOWS[name]
    parameters, z = scale * noise(20, sum(sizes(3)), seed=1), 2 * noise(20, 4, 3)
    moved, log_det = step(z, parameters)
    again, back = inverse(moved, parameters)
    torch.testing.assert_close(again, z, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(back, -log_det, atol=1e-6, rtol=1e-6)


def test_batch_norm_is_a_step():
    step, z = BatchNormStep(3, momentum=1.0).double(), 3 * noise(50, 3) + 1
    with torch.no_grad():
        step.log_scale.copy_(noise(3, seed=1))
        step.shift.copy_(noise(3, seed=2))
    moved, log_det = step(z)
    torch.testing.assert_close(moved.mean(0), step.shift)
    torch.testing.assert_close(moved.std(0, correction=0), step.log_scale.exp(), atol=1e-4, rtol=1e-4)
    step.eval()
    again, evaluated = step(z)
    torch.testing.assert_close(again, moved)
    torch.testing.assert_close(evaluated, log_det)
    assert_log_det(step, z[:5])
    torch.testing.assert_close(step.inverse(moved)[0], z)
    torch.testing.assert_close(step.inverse(moved)[1], -log_det)


def test_standardization():
    step, z = Standardization(3).double(), noise(50, 3) * torch.tensor([2.0, 0.1, 0.0]) + 5
    step.fit(z)
    moved, log_det = step(z)
    torch.testing.assert_close(moved.std(0, correction=0), torch.tensor([1.0, 1.0, 0.0]).double(), atol=1e-9, rtol=0)
    assert_log_det(step, z[:4])
    torch.testing.assert_close(step.inverse(moved)[0], z)
    torch.testing.assert_close(step.inverse(moved)[1], -log_det)


def test_a_flow_chains_its_steps():
    flow = Flow(
        build("masked", 4), Inverted(build("affine", 4, seed=1, reverse=True)), BatchNormStep(4).double()
    ).eval()
    z = noise(9, 4)
    moved, log_det = flow(z)
    assert_log_det(flow, z[:3])
    again, back = flow.inverse(moved)
    torch.testing.assert_close(again, z, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(back, -log_det)


# zuko as oracle


@pytest.mark.parametrize("kind", ["masked", "affine"])
def test_affine_steps_are_those_of_zuko(kind):
    step, z = build(kind, 5, num_hidden_layers=2, order=ORDERS["any"]["order"]), noise(8, 5)

    def meta(z):
        shift, scale = step.made(z)
        log_scale = 5 * torch.tanh(scale / 5) * (1 if kind == "affine" else -1)
        transform = zuko.transforms.MonotonicAffineTransform(shift, scale)
        transform.log_scale, transform.scale = log_scale, log_scale.exp()  # which are bounded in another way there
        if kind == "masked":
            transform.shift = -shift * transform.scale
        return transform

    oracle = zuko.transforms.AutoregressiveTransform(meta, passes=5)
    moved, log_derivatives = oracle.call_and_ladj(z)
    torch.testing.assert_close(step(z)[0], moved)
    torch.testing.assert_close(step(z)[1], log_derivatives.sum(-1))
    torch.testing.assert_close(step.inverse(moved)[0], oracle.inv(moved))


@pytest.mark.parametrize("num_bins", [1, 2, 8])
def test_splines_are_those_of_zuko(num_bins):
    x, parameters = 3 * noise(2000), noise(2000, 3 * num_bins - 1, seed=1)
    widths, heights, slopes = parameters.split([num_bins, num_bins, num_bins - 1], -1)
    oracle = zuko.transforms.MonotonicRQSTransform(widths, heights, slopes, bound=4.0)
    floor, start = 1e-3, torch.tensor(torch.e).double()
    for name, sizes in (("horizontal", widths), ("vertical", heights)):
        shares = floor + (1 - num_bins * floor) * sizes.softmax(-1)
        setattr(oracle, name, 4 * (2 * torch.nn.functional.pad(shares, (1, 0)).cumsum(-1) - 1))
    inner = floor + torch.nn.functional.softplus(slopes + (start ** (1 - floor) - 1).log())
    oracle.derivatives = torch.nn.functional.pad(inner, (1, 1), value=1.0)
    moved, log_slope = oracle.call_and_ladj(x)
    found = rational_quadratic(x, parameters, 4.0)
    torch.testing.assert_close(found[0], moved)
    torch.testing.assert_close(found[1], log_slope)
    back = rational_quadratic(moved, parameters, 4.0, inverse=True)
    torch.testing.assert_close(back[0], x, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(back[1], -log_slope, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(rational_quadratic(x, torch.zeros_like(parameters), 4.0)[0], x)


def test_splines_are_increasing_and_finite():
    x = torch.linspace(-12, 12, 4001).expand(50, -1)
    parameters = (30 * noise(50, 1, 23)).float().expand(50, 4001, 23).requires_grad_()
    moved, log_slope = rational_quadratic(x, parameters, 5.0)
    assert (moved.diff(dim=1) > -1e-5).all() and moved.isfinite().all() and log_slope.isfinite().all()
    assert torch.autograd.grad(moved.sum() + log_slope.sum(), parameters)[0].isfinite().all()
