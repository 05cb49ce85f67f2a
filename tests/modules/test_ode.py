"""Solvers of differential equations: order of convergence, tolerances, and independence of the examples."""

from math import log

import pytest
import torch

from gae_hub.modules.ode import solve_dopri5, solve_heun

RATES = torch.tensor([[-1.0], [0.5], [2.0]], dtype=torch.float64)
STATES = torch.tensor([[1.0, -2.0], [0.5, 3.0], [2.0, 1.0]], dtype=torch.float64)


def field(times, states, rows):
    """dy/dt = rate cos(3 t) y, with a rate for each example."""
    return RATES[rows] * (3 * times).cos().unsqueeze(1) * states


def exact(end):
    return STATES * (RATES * torch.tensor(3.0 * end).double().sin() / 3).exp()


def count_calls(calls):
    def counted(times, states, rows):
        calls.append(len(states))
        return field(times, states, rows)

    return counted


def test_heun_has_order_2():
    errors = [(solve_heun(field, STATES, 0.0, 2.0, num) - exact(2.0)).abs().max().item() for num in (500, 1000, 2000)]
    assert 3.8 < errors[0] / errors[1] < 4.2 and 3.8 < errors[1] / errors[2] < 4.2


def test_dopri5_has_order_5():
    """The error falls with the fifth power of the number of calls, and is of the size of the tolerance."""
    errors, counts = [], []
    for tolerance in (1e-5, 1e-7, 1e-9, 1e-11):
        calls: list[int] = []
        found = solve_dopri5(count_calls(calls), STATES, 0.0, 6.0, tolerance, tolerance)
        errors.append((found - exact(6.0)).abs().max().item())
        counts.append(sum(calls))
        assert errors[-1] < 20 * tolerance
    order = log(errors[0] / errors[-1]) / log(counts[-1] / counts[0])
    assert 4.7 < order < 6.5


@pytest.mark.parametrize("solver", ["heun", "dopri5"])
def test_backwards_in_time(solver):
    """Solving back from the solution returns to the start."""
    if solver == "heun":
        found = solve_heun(field, exact(2.0), 2.0, 0.0, 2000)
    else:
        found = solve_dopri5(field, exact(2.0), 2.0, 0.0, 1e-8, 1e-8)
    torch.testing.assert_close(found, STATES, atol=1e-6, rtol=1e-6)


def test_examples_do_not_depend_on_each_other():
    """A slow example has few steps beside a fast one."""
    together = solve_dopri5(field, STATES, 0.0, 2.0, 1e-6, 1e-6)
    for row in range(3):
        alone = solve_dopri5(lambda t, y, rows, row=row: field(t, y, row), STATES[row : row + 1], 0.0, 2.0, 1e-6, 1e-6)
        assert torch.equal(alone[0], together[row])
    calls: list[int] = []
    solve_dopri5(count_calls(calls), STATES, 0.0, 2.0, 1e-6, 1e-6)
    assert calls[0] == 3 and calls[-1] < 3


def test_fields_that_cannot_be_solved():
    for bad in (lambda t, y, rows: y * torch.nan, lambda t, y, rows: y**3 * 1e3):  # the second diverges
        with pytest.raises(RuntimeError, match="3 of 3 examples are not solved after 200 steps: raise the tolerances"):
            solve_dopri5(bad, STATES.abs() + 1, 0.0, 1.0, 1e-6, 1e-6, max_num_steps=200)
