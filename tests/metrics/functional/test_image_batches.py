"""Images of every kind become the same batch."""

import pytest
import torch
from cases import generator
from PIL import Image

from gae_hub.metrics.functional.image_batches import as_float, as_uint8


def test_all_kinds_of_images_become_the_same_bytes():
    x = torch.randint(0, 256, (5, 3, 6, 7), generator=generator(), dtype=torch.uint8)
    pictures = [Image.fromarray(image.movedim(0, 2).numpy()) for image in x]
    for same in (x, x.numpy(), x.movedim(1, 3).numpy(), x.float() / 255, x.double() / 255, list(x), pictures):
        assert torch.equal(as_uint8(same), x)
    assert as_uint8(x[:, 0]).shape == (5, 1, 6, 7)
    torch.testing.assert_close(as_float(x), x / 255)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.full((2, 1, 4, 4), 200.0), "divide by 255"),
        (torch.full((2, 1, 4, 4), float("nan")), "nan or infinite"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.int32), "must be uint8, or floats in"),
        ([], "there are no images"),
        ([torch.zeros(1, 4, 4), torch.zeros(1, 5, 4)], "must have one shape"),
        (torch.zeros(2, 2, 4, 4), "1 or 3 channels"),
    ],
    ids=lambda value: value.replace(" ", "_") if isinstance(value, str) else "",
)
def test_invalid_images(given, message):
    with pytest.raises(ValueError, match=message):
        as_uint8(given)
