"""Normalisation: fitted in float64 by chunks, applied on the way in, undone on the way out."""

import json

import numpy as np
import pytest
import torch

from gae_hub import GAEImageProcessor, Normalization
from gae_hub.images.normalization import NormalizationFit

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(57, 4), (57, 2, 9), (57, 3, 5, 4), (57, 1, 2, 3, 4)])
@pytest.mark.parametrize("kind", ["unit", "standardize"])
def test_fit_by_chunks_equals_the_whole(shape, kind):
    values = RNG.normal(size=shape) * 100 + 1e6
    fit = NormalizationFit(kind)
    for chunk in np.array_split(values, 5):
        fit.add(chunk)
    found = fit.compute()
    axes = (0, *range(2, len(shape)))
    if kind == "unit":
        shift, scale = values.min(axes), values.max(axes) - values.min(axes)
    else:
        shift, scale = values.mean(axes), values.std(axes)
    np.testing.assert_allclose(found.shift, shift, rtol=1e-12)
    np.testing.assert_allclose(found.scale, scale, rtol=1e-9)
    applied = found.apply(values)
    assert applied.dtype == torch.float32 and applied.shape == shape
    np.testing.assert_allclose(found.invert(applied), values, rtol=1e-6)
    assert found.log_scale(shape[1:]) == pytest.approx(np.log(scale).sum() * np.prod(shape[2:]))


def test_large_offsets_keep_their_digits():
    """In float32 before the shift, neighbouring seconds of 2024 would be equal."""
    seconds = np.array([[1.7e9], [1.7e9 + 1], [1.7e9 + 2]])
    fit = NormalizationFit("unit")
    fit.add(seconds)
    found = fit.compute()
    assert found.apply(seconds).squeeze().tolist() == [0, 0.5, 1]
    assert found.invert(found.apply(seconds)).squeeze().tolist() == seconds.squeeze().tolist()


def test_constant_columns():
    fit = NormalizationFit("standardize")
    fit.add(np.full((10, 1), 0.1))
    assert fit.compute() == Normalization("standardize", (0.1,), (1.0,))


def test_unit_clips_other_data():
    found = Normalization("unit", (10.0,), (5.0,))
    assert found.apply(np.array([[9.0], [10], [12.5], [15], [99]])).squeeze().tolist() == [0, 0, 0.5, 1, 1]


def test_it_travels_with_the_processor(tmp_path):
    normalization = Normalization("standardize", (1.5, -2.0), (0.1, 1e6))
    processor = GAEImageProcessor(
        (2,), normalization=normalization, column_names=["a", "b"], data={"column": ["a", "b"]}
    )
    processor.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert written["normalization"] == {"kind": "standardize", "shift": [1.5, -2.0], "scale": [0.1, 1e6]}
    loaded = GAEImageProcessor.from_pretrained(tmp_path)
    assert loaded.normalization == normalization and loaded.column_names == ("a", "b")
    assert loaded.data == {"column": ["a", "b"]}
    values = np.array([[1.6, -2.0], [1.5, 1e6]])
    pixel_values = loaded(values)["pixel_values"]
    torch.testing.assert_close(pixel_values, torch.tensor([[1.0, 0.0], [0.0, 1.000002]]))
    np.testing.assert_allclose(loaded.restore(pixel_values), values, rtol=1e-6, atol=1e-6)
    plain = GAEImageProcessor((2,))
    assert plain.restore(pixel_values) is pixel_values


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Normalization("max", (0,), (1,)), "normalize must be one of unit, standardize, got the text 'max'"),
        (lambda: Normalization("unit", (0,), ()), "scale must be finite numbers"),
        (lambda: Normalization("unit", (0, 1), (1,)), "as many shifts as scales"),
        (lambda: Normalization("unit", (0,), (0,)), "scales above 0"),
        (lambda: Normalization("unit", (float("nan"),), (1,)), "shift must be finite numbers"),
        (lambda: Normalization("unit", ("0",), (1,)), "shift must be finite numbers"),
        (lambda: Normalization.from_dict([1]), "must be a dict of kind, shift and scale, got an object of type list"),
        (lambda: NormalizationFit("unit").compute(), "cannot fit a normalization to no data"),
        (lambda: Normalization("unit", (0,), (1,)).apply(np.zeros((3, 2))), "fitted to 1 columns or channels, got 2"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
