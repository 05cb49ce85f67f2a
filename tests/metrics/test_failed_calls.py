"""Calls of metrics that raise change nothing: the corrected call returns the same numbers as a new metric."""

import math

import pytest
import torch
from cases import MEASURES, MeasureCase, images

import gae_hub.metrics
from gae_hub.metrics import MEASURES as REGISTRY


@pytest.fixture
def load(lpips):
    def load(case: MeasureCase):
        options = {"network": lpips} if case.name == "lpips" else {}
        return gae_hub.metrics.load(case.name, **options, **case.load_options)

    return load


def damage(batch):
    """The batch with nan in its last row; a batch of integers becomes text."""
    if not batch.is_floating_point():
        return ["text"] * len(batch)
    damaged = batch.clone()
    damaged[-1] = math.nan
    return damaged


def failing_batches(batch):
    """Batches with one damaged side, and with rows of another shape: the other side is correct."""
    for side, rows in batch.items():
        yield {**batch, side: damage(rows)}
        yield {**batch, side: rows.unsqueeze(-1)}
        if rows.dim() > 1:
            yield {**batch, side: torch.cat([rows, rows], 1)}


def test_every_metric_has_a_row():
    assert {case.name for case in MEASURES} == set(REGISTRY)


@pytest.mark.parametrize("case", MEASURES, ids=lambda case: case.name)
def test_the_corrected_call_counts_each_batch_once(case, load):
    first, second = case.rows(0), case.rows(1)
    fresh = load(case)
    fresh.add_batch(**first)
    expected = fresh.compute(**second)
    metric = load(case)
    metric.add_batch(**first)
    for batch in failing_batches(second):
        with pytest.raises(ValueError):
            metric.add_batch(**batch)
        with pytest.raises(ValueError):
            metric.compute(**batch)
    for options in (case.bad_options or {"unknown": 1}, {"unknown": 1}):
        with pytest.raises(ValueError):
            metric.compute(**second, **options)
    assert len(metric) == len(first["predictions"])
    assert metric.compute(**second) == expected
    assert len(metric) == 0


@pytest.mark.parametrize("case", MEASURES, ids=lambda case: case.name)
def test_a_failed_compute_keeps_the_batches(case, load):
    batch = case.rows(0)
    expected = load(case).compute(**batch)
    metric = load(case)
    metric.add_batch(**batch)
    with pytest.raises(ValueError, match="has no option 'unknown'"):
        metric.compute(unknown=1)
    assert metric.compute() == expected


@pytest.mark.parametrize("case", MEASURES, ids=lambda case: case.name)
def test_a_failed_merge_adds_nothing(case, lpips):
    """The last side has rows of another shape, so the merge fails after the first side."""
    options = {"network": lpips} if case.name == "lpips" else case.load_options
    measure, other = (REGISTRY[case.name](**options) for _ in range(2))
    first, second = case.rows(0), case.rows(1)
    measure.add(**first)
    expected = measure.compute()
    other.add(**second)
    side = list(other.sides)[bool(measure.references_help)]
    other.sides[side] = type(other.sides[side])(torch.rand(20, 99))
    with pytest.raises(ValueError, match=r"one shape|dimensions"):
        measure.merge(other)
    assert measure.compute() == expected


def test_a_failed_call_of_combined_metrics_changes_none_of_them():
    """The second metric rejects what the first one received, or fails after the first one computed."""
    x, y = images(20), images(20, seed=1)
    expected = gae_hub.metrics.combine(["energy", "mse"]).compute(x, y)
    metrics = gae_hub.metrics.combine(["energy", "mse"])
    two_channels = images(20, (2, 8, 8))  # points for the energy distance, but no images
    for call in (metrics.add_batch, metrics.compute):
        with pytest.raises(ValueError, match="images must be"):
            call(two_channels, two_channels)
    with pytest.raises(ValueError, match="images must be"):
        metrics.add(two_channels[0], two_channels[0])
    metrics.add_batch(x[:15], y)
    with pytest.raises(ValueError, match="there are 15 predictions and 20 references"):
        metrics.compute()
    metrics.add_batch(x[15:])
    found = metrics.compute()
    assert found == expected
    assert [len(metric) for metric in metrics.evaluation_modules] == [0, 0]


def test_only_metrics_of_this_library_are_combined():
    with pytest.raises(ValueError, match="expected metrics of gae_hub, got an object of type Moments"):
        gae_hub.metrics.combine({"a": "mse", "b": gae_hub.metrics.Moments()})
    with pytest.raises(ValueError, match="unknown metric 'fidd'"):
        gae_hub.metrics.combine(["fidd"])
    metrics = gae_hub.metrics.combine({"a": "mse", "b": "mse"})
    assert {"a_mse", "b_mse"} <= set(metrics.compute(images(2), images(2)))
