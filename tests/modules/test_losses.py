"""The MMD, against its definition and a closed form, and calls with frozen parameters."""

import pytest
import torch
from cases import generator

from gae_hub.modules.losses import call_frozen, mmd


def by_hand(x, y, kernel, bandwidth):
    """The U-statistic as a sum over pairs."""
    c = 2 * x.shape[1] * bandwidth**2

    def k(a, b):
        d = (a - b).square().sum()
        if kernel == "rbf":
            return (-d / c).exp()
        return sum(s * c / (s * c + d) for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0))

    n = len(x)
    within = sum(k(t[i], t[j]) for t in (x, y) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return within - 2 * sum(k(a, b) for a in x for b in y) / n**2


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_mmd_by_definition(kernel):
    x, y = torch.randn(2, 5, 3, generator=generator(), dtype=torch.float64)
    torch.testing.assert_close(mmd(x, y, kernel, 0.7), by_hand(x, y, kernel, 0.7))
    with pytest.raises(ValueError, match="at least 2 examples in a batch, got 1"):
        mmd(x[:1], y[:1])


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_mmd_is_unbiased_and_detects_a_difference(kernel):
    g = generator()
    same = torch.stack([mmd(*torch.randn(2, 8, 2, generator=g), kernel) for _ in range(2000)])
    assert abs(same.mean()) < 4 * same.std() / 2000**0.5
    x, y = torch.randn(2, 500, 2, generator=g)
    assert mmd(x, y + 1, kernel) > 20 * abs(mmd(x, y, kernel))


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
@pytest.mark.parametrize("shift", [(3000.0, 3000.0), (3000.0, 0.0)])
def test_mmd_far_from_the_origin(kernel, shift):
    """Values of float32 points, computed in float32, equal those of the same points in float64."""
    points = torch.randn(2, 30, 3, generator=generator(6))
    x, y = points[0] + shift[0], points[1] + shift[1]
    torch.testing.assert_close(
        mmd(x, y, kernel).double(), by_hand(x.double(), y.double(), kernel, 1.0), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_mmd_of_distant_clusters(kernel):
    x, y = torch.randn(2, 30, 3, generator=generator(6))
    x[:15], y[:15], x[0] = x[:15] + 1e4, y[:15] + 1e4, 1e5
    expected = by_hand(x.double(), y.double(), kernel, 1.0)
    torch.testing.assert_close(mmd(x, y, kernel).double(), expected, atol=1e-5, rtol=0)


def test_mmd_ignores_autocast():
    """Distances are small differences of products, which half precision would lose."""
    x = 3 + 0.1 * torch.randn(50, 8, generator=generator())
    exact = mmd(x, x.flip(0) + 0.05, "rbf", 0.05)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mmd(x, x.flip(0) + 0.05, "rbf", 0.05), exact)


def test_mmd_of_gaussians_in_closed_form():
    """If the difference is N(m, 2 I), E exp(-d^2 / C) = (1 + 4 / C)^(-dim / 2) exp(-|m|^2 / (C + 4))."""
    d, shift = 2, 1.5
    x, y = torch.randn(2, 3000, d, generator=generator(), dtype=torch.float64)
    y[:, 0] += shift
    c = 2.0 * d
    within = (1 + 4 / c) ** (-d / 2)
    across = within * torch.exp(torch.tensor(-(shift**2) / (c + 4)))
    assert mmd(x, y, "rbf").item() == pytest.approx(2 * within - 2 * across.item(), abs=0.01)


def test_call_frozen():
    layer = torch.nn.Linear(3, 2)
    x = torch.randn(4, 3, requires_grad=True)
    call_frozen(layer, x).sum().backward()
    assert layer.weight.grad is None and torch.equal(x.grad, layer.weight.sum(0).expand(4, 3))
