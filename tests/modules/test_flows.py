"""Chains of steps, standardisation and batch normalisation as steps; in float64."""

import torch
from flow_checks import assert_log_det, build_step, noise

from gae_hub.modules.flows import BatchNormStep, Flow, Inverted, Standardization


def test_flow():
    flow = Flow(
        build_step("masked", 4), Inverted(build_step("affine", 4, seed=1, reverse=True)), BatchNormStep(4).double()
    ).eval()
    z = noise(9, 4)
    moved, log_det = flow(z)
    assert_log_det(flow, z[:3])
    again, inverse_log_det = flow.inverse(moved)
    torch.testing.assert_close(again, z, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(inverse_log_det, -log_det)


def test_standardization():
    step, z = Standardization(3).double(), noise(50, 3) * torch.tensor([2.0, 0.1, 0.0]) + 5
    step.fit(z)
    moved, log_det = step(z)
    torch.testing.assert_close(moved.std(0, correction=0), torch.tensor([1.0, 1.0, 0.0]).double(), atol=1e-9, rtol=0)
    assert_log_det(step, z[:4])
    torch.testing.assert_close(step.inverse(moved)[0], z)
    torch.testing.assert_close(step.inverse(moved)[1], -log_det)


def test_batch_norm():
    step, z = BatchNormStep(3, momentum=1.0).double(), 3 * noise(50, 3) + 1
    with torch.no_grad():
        step.log_scale.copy_(noise(3, seed=1))
        step.shift.copy_(noise(3, seed=2))
    moved, log_det = step(z)
    torch.testing.assert_close(moved.mean(0), step.shift)
    torch.testing.assert_close(moved.std(0, correction=0), step.log_scale.exp(), atol=1e-4, rtol=1e-4)
    step.eval()
    again, eval_log_det = step(z)
    torch.testing.assert_close(again, moved)
    torch.testing.assert_close(eval_log_det, log_det)
    assert_log_det(step, z[:5])
    torch.testing.assert_close(step.inverse(moved)[0], z)
    torch.testing.assert_close(step.inverse(moved)[1], -log_det)
