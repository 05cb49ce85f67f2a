"""Tiles as figures: the images that are drawn, their places, and labels."""

import numpy as np
import pytest
import torch
from cases import images

from gae_hub.images.grids import image_grid
from gae_hub.images.tiles import Tiles, to_figure, to_image


def extents(figure):
    """(num, 4): left, right, bottom and top of each image, in inches."""
    return np.array([image.get_extent() for image in figure.axes[0].images])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_each_image_is_drawn_with_its_pixels(channels):
    x = images(7, (channels, 5, 9))
    figure = to_figure(Tiles(x, columns=3))
    drawn = figure.axes[0].images
    assert len(drawn) == 7 and all(image.get_interpolation() == "nearest" for image in drawn)
    for image, pixels in zip(drawn, (255 * x).round(), strict=True):
        expected = pixels[0] if channels == 1 else pixels.movedim(0, 2)
        np.testing.assert_array_equal(image.get_array(), expected.numpy())
        assert image.get_clim() == (0, 255) or channels > 1


def test_places():
    """Row by row from the top, with equal gaps and square pixels, inside the figure."""
    figure = to_figure(Tiles(images(7, (1, 5, 9)), columns=3))
    left, right, bottom, top = extents(figure).T
    assert (top < bottom).all()  # the vertical axis points down
    np.testing.assert_allclose((bottom - top) / (right - left), 5 / 9)
    assert left[0] == left[3] == left[6] and top[0] == top[2] < top[3]
    gap_x, gap_y = left[1] - right[0], top[3] - bottom[0]
    assert gap_x == pytest.approx(gap_y) and gap_x > 0
    width, height = figure.get_size_inches()
    assert right.max() < width and bottom.max() < height and left.min() > 0 and top.min() > 0


def test_pixels_of_the_saved_picture():
    """Black and white tiles on white, read at their centres."""
    x = torch.tensor([0.0, 0.4, 1.0, 0.0]).view(4, 1, 1, 1).expand(4, 1, 8, 8)
    figure = to_figure(Tiles(x, columns=2))
    picture = np.asarray(to_image(figure).convert("L"))
    centres = [(int((t + b) / 2 * figure.dpi), int((left + r) / 2 * figure.dpi)) for left, r, b, t in extents(figure)]
    assert [picture[place] for place in centres] == [0, 102, 255, 0] and picture[0, 0] == 255


def test_title_and_labels():
    tiles = Tiles(images(6), 3, "a $ title", ["one", "two"], ["a", "b", "c"])
    figure = to_figure(tiles)
    texts = {text.get_text(): text.get_position() for text in figure.axes[0].texts}
    left, right, bottom, top = extents(figure).T
    assert set(texts) == {"a $ title", "one", "two", "a", "b", "c"}
    assert texts["one"][0] < left[0] and texts["two"][1] == pytest.approx((top[3] + bottom[3]) / 2)
    assert texts["b"][0] == pytest.approx((left[1] + right[1]) / 2) and texts["a $ title"][1] < texts["a"][1] < top[0]
    assert to_image(tiles).tobytes() == image_grid(tiles.images, 3, "a $ title", row_labels=["one", "two"]).tobytes()


def test_figures_fit_a_page():
    for num, columns in ((64, 8), (24, 12), (90, 10), (1, 1)):
        width, _ = to_figure(Tiles(images(num), columns)).get_size_inches()
        assert width <= 6.7
