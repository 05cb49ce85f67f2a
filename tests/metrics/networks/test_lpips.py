"""LPIPS against its formula, and its errors about weights."""

import json

import pytest
import torch
from cases import VAE, images

from gae_hub.metrics import LPIPS, evaluate_model, load


def test_formula(lpips):
    x, y = images(2, (3, 16, 16)), images(2, (3, 16, 16), seed=1)
    shift, scale = torch.tensor([-0.03, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.45])
    total = torch.zeros(2)
    a, b = ((2 * t - 1 - shift.view(3, 1, 1)) / scale.view(3, 1, 1) for t in (x, y))
    taps = {3: 0, 8: 1, 15: 2, 22: 3, 29: 4}
    for index, layer in enumerate(lpips.features):
        a, b = layer(a), layer(b)
        if index in taps:
            difference = torch.nn.functional.normalize(a, dim=1) - torch.nn.functional.normalize(b, dim=1)
            total += (difference**2 * lpips.get_buffer(f"head{taps[index]}")).sum(1).mean((1, 2))
    torch.testing.assert_close(lpips(x, y), total)
    assert lpips(x, x).tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="needs images of at least 16 x 16 pixels, got 16 x 4"):
        lpips(x[..., :4], y[..., :4])


def test_each_remedy_in_the_error_works(tmp_path, lpips, lpips_files):
    backbone, heads = lpips_files
    with pytest.raises(OSError, match="the weights file of lpips-vgg does not exist: .*; download it") as error:
        LPIPS("vgg", tmp_path / "no.pth")
    message = str(error.value).replace("BACKBONE", backbone).replace("HEADS", heads)
    paths = f"weights={backbone}, heads={heads})"
    assert f"LPIPS('vgg', {paths}" in message and f"load('lpips', backbone='vgg', {paths}" in message
    options = json.loads(message.partition("--options '")[2].rpartition("'")[0])
    x = images(5, (1, 16, 16))
    model = VAE.build(input_shape=(1, 16, 16))
    expected = lpips(model.reconstruct(x), x).mean().item()
    assert evaluate_model(model, x, ["lpips"], options=options)["lpips"] == pytest.approx(expected)
    metric = load("lpips", backbone="vgg", weights=backbone, heads=heads)
    assert metric.compute(predictions=model.reconstruct(x), references=x)["lpips"] == pytest.approx(expected)


def test_invalid_weights(tmp_path, lpips_files):
    with pytest.raises(OSError, match="the weights file of lpips-alex does not exist"):
        LPIPS("alex", tmp_path / "no.pth")
    torch.save({}, tmp_path / "alex.pth")
    with pytest.raises(ValueError, match="is not the published file of lpips-alex"):
        LPIPS("alex", tmp_path / "alex.pth")
    with pytest.raises(ValueError, match=r"heads of 'lpips-vgg' must hold lin0.model.1.weight with 64 channels"):
        LPIPS("vgg", lpips_files[0], tmp_path / "alex.pth")
    with pytest.raises(ValueError, match="backbone must be one of alex, vgg"):
        LPIPS("squeeze")
