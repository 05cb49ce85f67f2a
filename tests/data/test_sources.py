"""Which images are held out for validation. `test_loading.py` tests the kinds of sources."""

import pytest
import torch
from cases import images

from gae_hub.data.sources import Source, _num_validation, open_source


def test_default_validation_size():
    """10,000 of the paper's large training sets, a tenth of smaller ones."""
    for num, size in ((60_000, 10_000), (50_000, 10_000), (1397, 140)):
        assert _num_validation(num, None, "x") == size
    with pytest.raises(ValueError, match="validation_size 30 leaves no training or no validation images: 'x' has 30"):
        _num_validation(30, 30, "x")


def test_hold_out_validation_takes_the_end_and_leaves_other_splits():
    whole = open_source(images(10)).get_split("train")
    test = open_source(images(3)).get_split("train")
    found = Source("x", {"train": whole, "test": test}).hold_out_validation(4)
    assert torch.equal(found.get_split("train").pixel_values, whole.pixel_values[:6])
    assert torch.equal(found.get_split("validation").pixel_values, whole.pixel_values[6:])
    assert found.get_split("test") is test


def test_default_split():
    rows = open_source(images(3)).get_split("train")
    assert Source("x", {"dev": rows}).default_split == "dev"
    assert Source("x", {"dev": rows, "train": rows}).default_split == "train"
