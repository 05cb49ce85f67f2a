"""Solvers of the inverse: their cost, their precision, and fixed points; in float64."""

import pytest
import torch
from flow_checks import build_step, noise

from gae_hub.modules.made import MADE
from gae_hub.modules.made_inverse import invert_sequentially, solve_fixed_point


def test_sequential_inverse_computes_each_hidden_unit_once():
    """Its matrix products take half the multiply-adds of one pass, and not d passes."""
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
        invert_sequentially(made, lambda x, mean, scale: x + mean, torch.randn(10, d))
    one_pass = 10 * (d * hidden + 2 * hidden**2 + 2 * d * hidden)
    assert 0.4 * one_pass < count < 0.6 * one_pass


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [3, 0, 5, 1, 4, 2]])
@pytest.mark.parametrize(("size", "rounds"), [(10.0, 6), (1e-6, 4)])
def test_fixed_point_takes_at_most_one_update_per_dimension(order, size, rounds):
    """For y = x + A y, where A is strictly triangular in some order. Rows of large numbers do not affect others."""
    a, place = torch.zeros(6, 6).double(), torch.tensor(order)
    a[place[:, None], place] = size * noise(6, 6).tril(-1)
    x, count = noise(3, 6, seed=1) * torch.tensor([[1.0], [1e12], [1e-12]]).double(), 0

    def update(y):
        nonlocal count
        count += 1
        return x + y @ a.T

    found = solve_fixed_point(update, torch.zeros_like(x))
    assert count == rounds
    expected = torch.linalg.solve(torch.eye(6).double() - a, x.T).T
    scale = expected.abs().amax(-1, keepdim=True)
    torch.testing.assert_close(found / scale, expected / scale, atol=1e-12, rtol=0)


def test_fixed_point_is_exact_for_small_numbers_beside_large_ones():
    a = 0.5 * torch.diag(torch.ones(15), -1)
    a[15] = 0
    x = torch.ones(1, 16)
    x[0, 15] = 1e6
    expected = torch.linalg.solve(torch.eye(16).double() - a.double(), x.double().T).T.float()
    assert torch.equal(solve_fixed_point(lambda y: x + y @ a.T, torch.zeros_like(x)), expected)


@pytest.mark.parametrize("kind", ["gated", "affine"])
def test_inverse_with_gradients_is_finite_if_updates_overflow(kind):
    """With large weights and no bound, intermediate values overflow although the solution is finite."""
    options = {"log_scale_bound": None} if kind == "affine" else {}
    step = build_step(kind, 64, 3.0, hidden_size=128, **options).float()
    z = 3 * noise(200, 64).float()
    with torch.no_grad():
        moved = step(z)[0]
        sequential = step.inverse(moved)
        updates = solve_fixed_point(lambda y: step.invert(moved, *step.made(y)), moved)
    assert sequential[0].isfinite().all() and not updates.isfinite().all()  # else this tests nothing
    found = step.inverse(moved)
    near = (found[0] - sequential[0]).abs() <= 1e-2 * (1 + sequential[0].abs())  # both lose a few digits
    assert near.double().mean() > 0.999 and found[0].isfinite().all() and found[1].isfinite().all()


@pytest.mark.parametrize(
    ("weights", "given", "expected"),
    [
        (torch.float32, torch.float64, torch.float32),
        (torch.float64, torch.float32, torch.float64),
        (torch.bfloat16, torch.float32, torch.float32),
    ],
)
@pytest.mark.parametrize("grad", [True, False])
def test_inverse_has_the_dtype_of_the_weights(weights, given, expected, grad):
    """In float32 at least."""
    step, moved = build_step("gated", 3).to(weights), noise(4, 3).to(given)
    with torch.set_grad_enabled(grad):
        assert {t.dtype for t in step.inverse(moved)} == {expected}
