"""Quality of paths with known values."""

import pytest
import torch

from gae_hub.metrics import interpolation_quality

START, END = torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])
ENDS = torch.stack([START, END], 1)


def values(paths, ends=ENDS):
    return [estimate.value for estimate in interpolation_quality(paths, ends).values()]


def test_known_paths():
    straight = torch.lerp(START, END, torch.linspace(0, 1, 6).unsqueeze(1)).unsqueeze(0)
    assert values(straight) == pytest.approx([0, 1, 1], abs=1e-6)
    jump = torch.cat([START, START, START, END]).unsqueeze(0)
    assert interpolation_quality(jump, ENDS)["path_smoothness"].value == pytest.approx(1 / (1 + 2**0.5))
    corner = torch.stack([START, torch.tensor([[3.0, 0.0]]), END], 1)
    assert interpolation_quality(corner, ENDS)["path_straightness"].value == pytest.approx(5 / 7)
    assert interpolation_quality(straight + 0.5, ENDS)["end_point_mse"].value == pytest.approx(0.25)
    assert values(torch.zeros(1, 3, 2), torch.zeros(1, 2, 2)) == [0, 1, 1]


def test_invalid_input():
    with pytest.raises(ValueError, match=r"ends must be \(1, 2, 2\)"):
        interpolation_quality(torch.zeros(1, 6, 2), ENDS[:, :1])
    with pytest.raises(ValueError, match=r"paths must be \(num, 3 or more steps"):
        interpolation_quality(torch.zeros(1, 2, 2), ENDS)
    with pytest.raises(ValueError, match="paths of the interpolation quality must be finite, but 6 of 6"):
        interpolation_quality(torch.full((1, 3, 2), float("nan")), ENDS)
