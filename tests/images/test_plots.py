"""Plots of signals and tables: what matplotlib is asked to draw, and pixels."""

import numpy as np
import pytest

from gae_hub.images.plots import (
    plot_column_paths,
    plot_histograms,
    plot_plane,
    plot_reconstructed_columns,
    plot_signals,
    value_range,
)
from gae_hub.images.tiles import to_image


def test_signals_are_lines_in_a_grid():
    signals = np.array([[[0.0, 1.0, 0.5]], [[1.0, 0.0, 1.0]], [[np.nan] * 3], [[0.0, 0.0, 0.0]]])
    figure = plot_signals(signals, 2, "a $ title", ["one", "two"])
    picture, (axis,) = to_image(figure), figure.axes
    lines = [path.vertices for path in axis.collections[0].get_paths()]
    assert len(lines) == len(axis.patches) == 3  # the place of nan stays empty
    left, top, (width, height) = 160 + 8, 32 + 8, (190, 90)
    assert picture.size == (160 + 2 * 198 + 8, 32 + 2 * 98 + 8)
    np.testing.assert_allclose(lines[0][:, 0], left + 3 + np.array([0, 0.5, 1]) * (width - 6))
    np.testing.assert_allclose(lines[0][:, 1], top + 4 + np.array([1, 0, 0.5]) * (height - 8))
    np.testing.assert_allclose(lines[1] - lines[0], [[198, -82], [198, 82], [198, -41]])
    np.testing.assert_allclose(lines[2][:, 1], top + 98 + 4 + height - 8)
    assert [text.get_text() for text in axis.texts] == ["a $ title", "one", "two"]
    # blue, at the start of the last line
    assert picture.getpixel((left + 198 + 60, top + 98 + height - 4))[2] > 150
    assert picture.getpixel((left + 60, top + 98 + 45)) == (255, 255, 255)


def test_channels_have_colours():
    figure = plot_signals(np.zeros((3, 12, 5)), 3)
    colours = [tuple(colour) for colour in figure.axes[0].collections[0].get_colors()]
    assert len(colours) == 36 and len(set(colours)) == 10
    assert colours[:12] == colours[12:24] and colours[0] == colours[10]


@pytest.mark.parametrize("length", [1, 100_000])
def test_short_and_long_signals(length):
    """A long one keeps the extremes of each pixel."""
    signal = np.zeros(length)
    signal[length // 3] = 7.0
    figure = plot_signals(signal[None, None], 1)
    (line,) = (path.vertices for path in figure.axes[0].collections[0].get_paths())
    assert len(line) == (2 if length == 1 else 380)
    assert line[:, 1].min() == (8 + 45 if length == 1 else 8 + 4)  # the value 7, at the top
    assert (line[:, 1] == line[:, 1].min()).sum() == (2 if length == 1 else 1)


def test_value_range():
    assert value_range(np.array([np.nan, -1.0, 2.0, np.inf])) == (-1, 2)
    assert value_range(np.array([3.0, 3.0])) == (2.5, 3.5) and value_range(np.array([np.nan])) == (0, 1)


def test_histograms_of_data_and_samples():
    rng = np.random.default_rng(0)
    samples, data = rng.normal(size=(1000, 13)), rng.normal(size=(3000, 13)) * 2
    samples[:, 2], data[:, 2] = 5, 5
    samples[0, 3], samples[:, 4] = np.nan, np.nan
    axes = plot_histograms(samples, data, [f"column {i} " * 3 for i in range(13)], "T").axes
    title = axes[0].get_title()
    assert len(axes) == 12 and title == ("column 0 " * 3)[: len(title) - 1] + "…" and len(title) == 24
    (area, line) = axes[0].patches
    values, edges, _ = line.get_data()
    expected = np.histogram(samples[:, 0], edges)[0] / 1000
    np.testing.assert_allclose(values, expected)
    np.testing.assert_allclose(area.get_data().values, np.histogram(data[:, 0], edges)[0] / 3000)
    assert len(values) == 30 and edges[0] == pytest.approx(np.quantile(data[:, 0], 0.005))
    assert edges[-1] == pytest.approx(np.quantile(data[:, 0], 0.995))
    assert axes[2].patches[1].get_data().values.sum() == 1  # a constant column
    assert axes[4].patches[1].get_data().values.sum() == 0  # nothing finite
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == ["data", "samples"]


def test_histograms_of_samples():
    axes = plot_histograms(np.arange(20.0).reshape(10, 2)).axes
    assert [axis.get_title() for axis in axes] == ["x0", "x1"]
    assert len(axes[0].patches) == 1 and axes[0].get_legend() is None


def test_reconstructions_over_originals():
    x = np.random.default_rng(0).normal(size=(50, 3))
    axes = plot_reconstructed_columns(x, x + 1, ["a", "b", "c"], "T").axes
    axis = axes[1]
    np.testing.assert_allclose(axis.collections[0].get_offsets(), np.stack([x[:, 1], x[:, 1] + 1], 1))
    np.testing.assert_allclose(axis.lines[0].get_xydata(), [[x[:, 1].min()] * 2, [x[:, 1].max()] * 2])
    assert [axis.get_title() for axis in axes] == ["a", "b", "c"]


def test_points_of_the_plane():
    rng = np.random.default_rng(0)
    samples, data = rng.normal(size=(10, 2)), rng.normal(size=(20, 2))
    axis = plot_plane(samples, data, ["a", "b"], "T").axes[0]
    below, above = axis.collections
    np.testing.assert_array_equal(below.get_offsets(), data)
    np.testing.assert_array_equal(above.get_offsets(), samples)
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["data", "samples"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("a", "b")
    (alone,) = plot_plane(samples, None, None, None).axes[0].collections
    np.testing.assert_array_equal(alone.get_offsets(), samples)


def test_columns_along_paths():
    paths = np.random.default_rng(0).normal(size=(9, 5, 3))
    figure = plot_column_paths(paths, [0, 1, 2, 3, 4], "position", [f"path {i}" for i in range(9)], ["a", "b", "c"])
    assert [axis.get_title() for axis in figure.axes] == ["a", "b", "c"]
    for column, axis in enumerate(figure.axes):
        for path, line in zip(paths, axis.lines, strict=True):
            np.testing.assert_array_equal(line.get_xydata(), np.stack([range(5), path[:, column]], 1))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [f"path {i}" for i in range(9)]
    assert figure.axes[0].get_xlabel() == "position"
