"""The linear probe: accuracy against scikit-learn, Newton's method on the stated objective, and closed forms."""

import numpy as np
import pytest
import torch
from cases import generator
from scipy.optimize import brentq
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch.autograd.functional import hessian, jacobian

from gae_hub.metrics import MEASURES, linear_probe


def classes_in_space(num, num_classes, dim=8, spread=1.0):
    """Latents with correlated dimensions of different scales, and their classes 3, 4, ..."""
    g = generator()
    centres = spread * torch.randn(num_classes, dim, generator=g)
    labels = torch.arange(num) % num_classes
    noise = torch.randn(num, dim, generator=g) @ torch.randn(dim, dim, generator=g) / dim**0.5
    return (centres[labels] + noise) * torch.logspace(-2, 2, dim), labels + 3


def predict_by_newton(latents, labels, test, l2_weight, num_steps=30):
    """Classes of `test`, from the minimum of the objective in the probe's docstring, by Newton's method in float64."""
    mean, deviation = latents.double().mean(0), latents.double().std(0, correction=0)
    x, test = ((rows.double() - mean) / deviation for rows in (latents, test))
    classes, targets = labels.unique(return_inverse=True)
    num_classes, dim = len(classes), x.shape[1]
    shape = (1 if num_classes == 2 else num_classes, dim + 1)  # two classes have one weight vector

    def compute_logits(w, rows):
        w = torch.cat([torch.zeros_like(w), w]) if num_classes == 2 else w
        return rows @ w[:, :-1].T + w[:, -1]

    def objective(flat):
        w = flat.view(shape)
        loss = torch.nn.functional.cross_entropy(compute_logits(w, x), targets, reduction="sum")
        return loss + 0.5 * l2_weight * w[:, :-1].square().sum()

    flat = torch.zeros(shape, dtype=torch.float64).flatten()
    for _ in range(num_steps):  # damped by halving
        gradient, curvature = jacobian(objective, flat), hessian(objective, flat)
        step, length = torch.linalg.pinv(curvature, hermitian=True) @ gradient, 1.0
        while objective(flat - length * step) > objective(flat):
            length /= 2
            if length < 1e-6:
                break
        flat = flat - length * step
    assert jacobian(objective, flat).abs().max() < 1e-6
    return classes[compute_logits(flat.view(shape), test).argmax(1)]


@pytest.mark.parametrize("num", [200, 2000, 20_000])
def test_accuracy_equals_scikit_learn(num):
    latents, labels = classes_in_space(num + 5000, 10, 16, 0.3)
    train, test = (latents[:num], labels[:num]), (latents[num:], labels[num:])
    found = linear_probe(*train, *test)["probe_accuracy"]
    (x, y), (test_x, test_y) = ((rows.double().numpy(), classes.numpy()) for rows, classes in (train, test))
    scaler = StandardScaler().fit(x)
    model = LogisticRegression(max_iter=5000, tol=1e-6).fit(scaler.transform(x), y)
    expected = model.score(scaler.transform(test_x), test_y)
    assert found.value == pytest.approx(expected, abs=0.002) and 0.4 < expected < 0.97
    assert found.details == {"num_training_rows": num}


@pytest.mark.parametrize(("num_classes", "l2_weight"), [(2, 1.0), (3, 1.0), (3, 30.0)])
def test_accuracy_equals_newton(num_classes, l2_weight):
    latents, labels = classes_in_space(700, num_classes)
    train, test = (latents[:100], labels[:100]), (latents[100:], labels[100:])
    predicted = predict_by_newton(*train, test[0], l2_weight)
    found = linear_probe(*train, *test, l2_weight)["probe_accuracy"]
    assert found.value == pytest.approx((predicted == test[1]).double().mean().item(), abs=0.002)


@pytest.mark.parametrize("l2_weight", [1.0, 25.0])
def test_boundary_of_separable_classes_in_one_dimension(l2_weight):
    """60 latents at 0 and 20 at 5: the penalty decides where the boundary lies, in closed form up to one root.

    With m the expected number of errors of either class at the optimum, the derivatives by bias and weight vanish
    where l2_weight * w = m (z1 - z0), w z0 + b = logit(m / 60) and w z1 + b = -logit(m / 20).
    """
    positions, counts = np.array([0.0, 5.0]), np.array([60, 20])
    labels = torch.tensor([0, 1]).repeat_interleave(torch.tensor(counts))
    latents = torch.tensor(positions).repeat_interleave(torch.tensor(counts)).unsqueeze(1)
    mean, deviation = latents.mean().item(), latents.std(correction=0).item()
    z0, z1 = (positions - mean) / deviation
    m = brentq(lambda m: m * (z1 - z0) ** 2 / l2_weight + logit(m / 20) + logit(m / 60), 1e-12, 20 - 1e-9, xtol=1e-14)
    w = m * (z1 - z0) / l2_weight
    boundary = mean + deviation * (z0 - logit(m / 60) / w)
    grid = torch.linspace(0, 5, 50_001, dtype=torch.float64).unsqueeze(1)
    found = linear_probe(latents, labels, grid, torch.ones(len(grid), dtype=torch.long), l2_weight)["probe_accuracy"]
    assert 5 * (1 - found.value) == pytest.approx(boundary, abs=0.005)


def test_interval_is_that_of_a_proportion():
    """81 of 100 test latents are right: 0.81, standard error sqrt(0.81 * 0.19 / 100), Wilson's interval."""
    train, labels = torch.tensor([[-1.0], [1.0]]).repeat(10, 1), torch.arange(20) % 2
    test_labels = torch.cat([torch.ones(81), torch.zeros(19)]).long()
    found = linear_probe(train, labels, torch.ones(100, 1), test_labels)["probe_accuracy"]
    assert found.value == pytest.approx(0.81) and found.error == pytest.approx((0.81 * 0.19 / 100) ** 0.5)
    assert found.interval == pytest.approx((0.72222, 0.87486), abs=1e-4)


def test_passport_tells_penalty_and_number_of_training_rows():
    latents, labels = classes_in_space(120, 3)
    measure = MEASURES["probe"]()
    measure.add(latents, labels)
    passport = measure.compute()["probe_accuracy"].passport
    assert passport.settings["l2_weight"] == 1.0 and passport.details == {"num_training_rows": 60}
    given = {"train_latents": latents, "train_labels": labels}
    assert measure.compute(**given)["probe_accuracy"].passport.details == {"num_training_rows": 120}


def test_invalid_input():
    latents, labels = torch.rand(6, 2), torch.arange(6) % 2
    with pytest.raises(ValueError, match="there are 6 latents but 5 labels"):
        linear_probe(latents, labels[:5], latents, labels)
    with pytest.raises(ValueError, match="the probe needs labels of 2 or more classes, got 1"):
        linear_probe(latents, labels * 0, latents, labels * 0)
