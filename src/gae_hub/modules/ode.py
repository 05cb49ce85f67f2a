"""Solvers of ordinary differential equations dy/dt = f(t, y) for batches of examples that do not depend on each other.

A field is called as `field(times, states, rows)` and returns dy/dt, (num, dim). `times` is (num,), or (1,) if all
examples have the same; `states` is (num, dim); `rows` are the places of these examples in the batch, as a slice or as
indices (num,), so that a field can look up what it knows of each example.

An example's solution does not depend on the other examples: the adaptive solver has a step size for each of them,
unlike torchdiffeq, where the batch shares one.
"""

__all__ = ["Field", "solve_dopri5", "solve_heun"]

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor

Field = Callable[[Tensor, Tensor, Tensor | slice], Tensor]

# Dormand & Prince, 1980, doi:10.1016/0771-050X(80)90013-3. The last row is the solution of order 5, whose slope is the
# first of the next step.
_NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
# The solution of order 5 minus that of order 4
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)

_FIRST_STEP = 0.05  # share of the interval
_SAFETY, _SMALLEST, _LARGEST = 0.9, 0.2, 10.0  # how a step size follows from the last one


def solve_heun(field: Field, states: Tensor, start: float, end: float, num_steps: int) -> Tensor:
    """States (num, dim) at `end`, from those at `start`, by Heun's method: order 2, two calls per step.

    Args:
        field: the field.
        states: (num, dim).
        start, end: times; `end` may be the smaller one.
        num_steps: number of steps, all of the same size.
    """
    step = (end - start) / num_steps
    for index in range(num_steps):
        time = states.new_full((1,), start + index * step)
        slope = field(time, states, slice(None))
        following = field(time + step, states + step * slope, slice(None))
        states = states + step / 2 * (slope + following)
    return states


def solve_dopri5(
    field: Field,
    states: Tensor,
    start: float,
    end: float,
    relative_tolerance: float,
    absolute_tolerance: float,
    max_num_steps: int = 10_000,
) -> Tensor:
    """States (num, dim) at `end`, from those at `start`, by the method of Dormand and Prince: order 5, adaptive steps.

    A step is accepted if the root mean square over dimensions of error / (absolute_tolerance + relative_tolerance
    |state|) is at most 1, where the error is the difference from a solution of order 4.

    Args:
        field: the field.
        states: (num, dim).
        start, end: times; `end` may be the smaller one.
        relative_tolerance, absolute_tolerance: of each step.
        max_num_steps: largest number of steps, rejected ones included.

    Raises:
        RuntimeError: if an example needs more steps, because the field is too stiff for the tolerances, or not finite.
    """
    solution = states.clone()
    rows = torch.arange(len(states), device=states.device)
    times = states.new_full((len(states),), start)
    steps = torch.full_like(times, _FIRST_STEP * (end - start))
    slopes = field(times, states, rows)
    for _ in range(max_num_steps):
        remaining = end - times
        is_last = steps.abs() >= remaining.abs()
        steps = torch.where(is_last, remaining, steps)
        size, stages, proposal = steps.unsqueeze(1), [slopes], states
        for node, weights in zip(_NODES, _STAGES, strict=True):
            proposal = states + size * _combine(weights, stages)
            stages.append(field(times + node * steps, proposal, rows))
        scale = absolute_tolerance + relative_tolerance * torch.maximum(states.abs(), proposal.abs())
        error = (size * _combine(_ERROR, stages) / scale).square().mean(1).sqrt()
        accepted = error <= 1  # False for nan
        states = torch.where(accepted.unsqueeze(1), proposal, states)
        slopes = torch.where(accepted.unsqueeze(1), stages[-1], slopes)
        times = torch.where(accepted, times + steps, times)
        is_done = accepted & is_last
        factor = (_SAFETY * error.clamp(min=1e-8).pow(-1 / 5)).clamp(_SMALLEST, _LARGEST)
        steps = steps * factor.nan_to_num(_SMALLEST)
        solution[rows[is_done]] = states[is_done]
        goes_on = ~is_done
        rows, times, steps, states, slopes = (t[goes_on] for t in (rows, times, steps, states, slopes))
        if not len(rows):
            return solution
    raise RuntimeError(
        f"{len(rows)} of {len(solution)} examples are not solved after {max_num_steps} steps: raise the tolerances, "
        "or use a solver with a fixed number of steps"
    )


def _combine(weights: Sequence[float], stages: Sequence[Tensor]) -> Tensor:
    """The sum of stages with weights."""
    return reduce(torch.add, [w * stage for w, stage in zip(weights, stages, strict=True) if w])
