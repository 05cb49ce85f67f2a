"""Pictures of examples of each kind."""

import numpy as np
import pytest
import torch
from cases import images

from gae_hub.images import examples
from gae_hub.images.examples import can_draw, draw_reconstructions, draw_rows, draw_samples, name_of, num_to_draw
from gae_hub.images.grids import image_grid


def tiles(picture, rows, columns, top=28):
    """Grey levels of the centres of a grid's images of 48 x 48 pixels."""
    centres = range(4 + 24, 4 + 24 + 52 * max(rows, columns), 52)
    return [[picture.convert("L").getpixel((x, top + y)) for x in centres[:columns]] for y in centres[:rows]]


def test_names_of_examples():
    shapes = [(3,), (2, 9), (1, 8, 8), (1, 4, 8, 8), (1,) * 5]
    assert [name_of(shape) for shape in shapes] == ["rows", "signals", "images", "volumes", "examples"]
    assert [can_draw(shape) for shape in shapes] == [True] * 4 + [False]
    assert [num_to_draw(shape, 24) for shape in shapes[:4]] == [500, 24, 24, 24]
    for draw in (lambda: draw_samples(torch.zeros(2, *shapes[4])), lambda: num_to_draw(shapes[4], 24)):
        with pytest.raises(ValueError, match=r"cannot draw examples of shape \(1, 1, 1, 1, 1\): expected 1 to 4 axes"):
            draw()
    with pytest.raises(ValueError, match="a picture needs 1 or more signals, got none"):
        draw_samples(torch.zeros(0, 2, 9))


# Images and volumes


def test_images_are_drawn_as_they_are():
    """Also if a few values lie a little outside [0, 1]."""
    x = images(9, (3, 8, 8))
    assert draw_samples(x).tobytes() == image_grid(x).tobytes()
    x[0, 0, 0, :2] = torch.tensor([-0.3, 1.4])
    assert draw_samples(x, "New images").tobytes() == image_grid(x, title="New images").tobytes()


def test_values_in_other_units_are_scaled():
    x = torch.tensor([-100.0, 0.0, 100.0, 300.0]).view(4, 1, 1, 1).expand(4, 1, 48, 48)
    picture = draw_samples(x)
    assert tiles(picture, 2, 2) == [[0, 64], [128, 255]]
    assert picture.tobytes() == image_grid((x + 100) / 400, title="black is -100, white 300").tobytes()


def test_the_middle_slice_of_a_volume_and_the_first_of_many_channels():
    volumes = images(4, (1, 5, 8, 8))
    assert draw_samples(volumes, "T").tobytes() == image_grid(volumes[:, :, 2], title="T: slice 3 of 5").tobytes()
    x = images(4, (2, 8, 8))
    assert draw_samples(x).tobytes() == image_grid(x[:, :1], title="channel 1 of 2").tobytes()
    both = images(4, (2, 5, 8, 8))
    expected = image_grid(both[:, :1, 2], title="slice 3 of 5, channel 1 of 2")
    assert draw_samples(both).tobytes() == expected.tobytes()


def test_reconstructions_are_below_their_originals(monkeypatch):
    monkeypatch.setitem(examples._COLUMNS, "images", 2)
    white, black = torch.full((3, 1, 48, 48), 0.8), torch.zeros(3, 1, 48, 48)
    grid = draw_reconstructions(white, black)
    assert tiles(grid, 4, 2) == [[204, 204], [0, 0], [204, 255], [0, 255]] and grid.height == 28 + 4 + 4 * 52


def test_reconstructions_are_scaled_by_the_originals():
    x = torch.tensor([0.0, 100.0]).view(2, 1, 1, 1).expand(2, 1, 48, 48)
    assert tiles(draw_reconstructions(x, x * 3 - 100), 2, 2) == [[0, 255], [0, 255]]


def test_rows_of_examples():
    x = images(6, (1, 3, 48, 48)).unflatten(0, (2, 3))
    expected = image_grid(x[:, :, :, 1].flatten(0, 1), 3, "T: slice 2 of 3", row_labels=["a", "b"])
    assert draw_rows(x, "T", ["a", "b"]).tobytes() == expected.tobytes()
    with pytest.raises(ValueError, match="a table's rows cannot be drawn one by one"):
        draw_rows(torch.zeros(2, 3, 5), "T")


# Signals and tables


@pytest.fixture
def plotted(monkeypatch):
    """The arguments of the plots that are drawn."""
    calls = []
    monkeypatch.setattr(examples, "to_image", lambda figure: figure)
    for name in ("plot_signals", "plot_histograms", "plot_reconstructed_columns", "plot_plane"):
        monkeypatch.setattr(examples, name, lambda *args, **kwargs: calls.append((args, kwargs)))
    return calls


def test_the_first_signals(plotted):
    x = images(50, (2, 9))
    x[0, 0, 0], x[1, 1, 1] = -2, 3.14159
    draw_samples(x, "New signals")
    draw_samples(x[:3])
    (((many, columns, title, labels), _), ((few, few_columns, few_title, _), _)) = plotted
    np.testing.assert_array_equal(many, x[:48].double())
    assert (columns, title, labels) == (5, "New signals: 48 of 50 signals, values from -2 to 3.14", None)
    assert len(few) == few_columns == 3 and few_title == "values from -2 to 3.14"


def test_rows_of_signals(plotted):
    originals, reconstructions = images(7, (1, 9)), images(7, (1, 9), seed=1)
    draw_reconstructions(originals, reconstructions)
    draw_rows(images(6, (1, 9)).unflatten(0, (2, 3)), "T", ["a", "b"])
    ((signals, columns, title, _), _), ((paths, path_columns, _, labels), _) = plotted
    np.testing.assert_array_equal(signals[:6], originals[:6])
    np.testing.assert_array_equal(signals[6:12], reconstructions[:6])
    np.testing.assert_array_equal(signals[[12, 18]], torch.stack([originals[6], reconstructions[6]]))
    assert columns == 6 and len(signals) == 24 and np.isnan(signals[[*range(13, 18), *range(19, 24)]]).all()
    assert title.startswith("Originals, each with its reconstruction below: values from ")
    assert len(paths) == 6 and path_columns == 3 and labels == ["a", "b"]


def test_tables(plotted):
    x, y, names = images(5, (13,)), images(6, (13,)), [f"c{i}" for i in range(13)]
    draw_samples(x, "New rows", y, names)
    draw_samples(x[:, :12])
    draw_reconstructions(x, x + 1, names)
    ((samples, data, found, title), _), ((_, none, _, no_title), _), ((one, other, _, heading), _) = plotted
    np.testing.assert_array_equal(samples, x.double())
    np.testing.assert_array_equal(data, y.double())
    assert found == names and title == "New rows: 12 of 13 columns" and none is None and no_title is None
    np.testing.assert_array_equal(other, (x + 1).double())
    np.testing.assert_array_equal(one, x.double())
    assert heading == "Reconstructions over originals: 12 of 13 columns"


def test_two_columns_are_points(plotted):
    x, y = images(5, (2,)), images(6, (2,))
    draw_samples(x, "T", y, ["a", "b"])
    (((samples, data, names, title), _),) = plotted
    np.testing.assert_array_equal(samples, x.double())
    np.testing.assert_array_equal(data, y.double())
    assert names == ["a", "b"] and title == "T"
