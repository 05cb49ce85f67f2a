"""Configurations are chosen on validation, over complete seeds."""

import math
import statistics
from pathlib import Path

import pytest
from study.synthetic import make_cell, make_results

from gae_hub.study.selection import CRITERIA, Selector, Setup, student_interval
from gae_hub.study.table_metrics import CRITERIA_METRICS

SETUP = Setup("convnet", "mnist", 16)


def cell(configuration, validation, test, method="VAE", **changes):
    numbers = {"reconstruction/mse/validation": validation, "reconstruction/mse/test": test}
    return make_cell(method, configuration, numbers, fields={"beta": configuration}, **changes)


def select(cells, task="reconstruction", sampler=None, method="VAE", **settings):
    return Selector(make_results(cells, **settings)).select(task, method, SETUP, sampler)


def test_validation_decides_and_test_is_reported():
    chosen = select([cell(1, 0.3, 0.1), cell(2, 0.2, 0.5)])
    assert chosen.configuration.number == 2
    assert chosen.estimate("reconstruction/mse/test").value == 0.5
    assert chosen.compared == {1: 0.3, 2: 0.2}


def test_accuracy_is_chosen_by_the_highest():
    cells = [
        make_cell("VAE", k, {"classification/accuracy/validation": value}, fields={"beta": k})
        for k, value in ((1, 0.7), (2, 0.9), (3, 0.8))
    ]
    assert select(cells, "classification").configuration.number == 2


def test_each_sampler_has_its_own_configuration():
    cells = [
        make_cell("VAE", 1, {"generation/gmm/fid/validation": 9.0, "generation/normal/fid/validation": 30.0}),
        make_cell("VAE", 2, {"generation/gmm/fid/validation": 10.0, "generation/normal/fid/validation": 20.0}),
    ]
    assert select(cells, "generation", "gmm").configuration.number == 1
    assert select(cells, "generation", "normal").configuration.number == 2
    best = Selector(make_results(cells)).best_sampler("VAE", SETUP)
    assert (best.sampler, best.value) == ("gmm", 9.0)


def test_each_criterion_is_a_metric_of_the_tables():
    criteria = {number for numbers, _ in CRITERIA.values() for number in numbers}
    assert {number.split("/")[-2] for number in criteria} == CRITERIA_METRICS.keys()


def test_of_equals_the_lowest_number_wins():
    assert select([cell(3, 0.2, 0.1), cell(2, 0.2, 0.3), cell(4, 0.5, 0.0)]).configuration.number == 2


def test_criterion_is_the_mean_over_seeds():
    cells = [cell(1, 0.1, 0.1), cell(1, 0.5, 0.4, seed=1), cell(2, 0.2, 0.2), cell(2, 0.3, 0.6, seed=1)]
    chosen = select(cells)
    assert chosen.configuration.number == 2 and chosen.value == 0.25
    found = chosen.estimate("reconstruction/mse/test")
    assert found.values == (0.2, 0.6) and found.value == pytest.approx(0.4) and found.interval_kind == "seeds"
    half = 12.706204736432095 * statistics.stdev([0.2, 0.6]) / math.sqrt(2)  # Student's t, one degree of freedom
    assert found.interval == pytest.approx((0.4 - half, 0.4 + half))
    assert student_interval([0.2, 0.6]) == found.interval


def test_configurations_with_undone_seeds_do_not_count():
    failed = cell(1, 0.0, 0.0, seed=1, state="failed", error="out of memory")
    chosen = select([cell(1, 0.1, 0.1), failed, cell(2, 0.3, 0.3), cell(2, 0.3, 0.3, seed=1), cell(3, 0.1, 0.1)])
    assert chosen.configuration.number == 2
    assert chosen.left_out == {1: "seed 1 failed: out of memory", 3: "1 of 2 seeds missing"}


@pytest.mark.parametrize("state", ["failed", "skipped", "running", "waiting"])
def test_only_done_cells_win(state):
    chosen = select([cell(1, 0.0, 0.0, state=state, error="why"), cell(2, 0.3, 0.3)])
    assert chosen.configuration.number == 2 and chosen.left_out == {1: f"{state}: why"}


def test_duplicates_never_win():
    better = make_cell("VAE", 2, {"reconstruction/mse/validation": 0.0}, fields={"beta": 1}, facts={"duplicate_of": 1})
    shared = cell(3, 0.0, 0.0, folder=Path("cells/a"))
    chosen = select([cell(1, 0.3, 0.3, folder=Path("cells/a")), better, shared])
    assert chosen.configuration.number == 1
    assert chosen.left_out == dict.fromkeys((2, 3), "the same as configuration 1")


def test_configurations_that_print_alike_are_not_duplicates():
    cells = [make_cell("VAE", k, {"reconstruction/mse/validation": 1 / k}, fields={"v": "a"}) for k in (1, 2)]
    assert select(cells).configuration.number == 2


def test_cell_that_failed_later_counts_for_what_was_measured():
    """A sampler that cannot be fitted does not withdraw the reconstruction error."""
    numbers = {"training/seconds": 3.0, "reconstruction/mse/validation": 0.1}
    failed = make_cell("VAE", 1, numbers, fields={"beta": 1}, state="failed", error="sampler/gmm: singular")
    assert select([failed, cell(2, 0.3, 0.3)]).configuration.number == 1
    chosen = select([failed, cell(2, 0.3, 0.3)], "generation", "gmm")
    assert chosen.left_out[1] == "failed: sampler/gmm: singular"


def test_numbers_of_different_extractors_are_not_compared():
    """The second would win, but its features are those of another network."""
    name = "generation/gmm/fid/validation"
    cells = [make_cell("VAE", k, {name: value}, fields={"beta": k}) for k, value in ((1, 9.0), (2, 1.0), (3, 8.0))]
    cells[1].passports[name]["extractor_sha256"] = "cd" * 32
    chosen = select(cells, "generation", "gmm")
    assert chosen.configuration.number == 3
    assert chosen.left_out == {2: f"{name} was measured in another way than for 1"}


def test_numbers_that_are_not_finite_never_win():
    chosen = select([cell(1, math.nan, 0.0), cell(2, -math.inf, 0.0), cell(3, 0.4, 0.4)])
    assert chosen.configuration.number == 3 and set(chosen.left_out) == {1, 2}


@pytest.mark.parametrize(
    ("states", "missing"),
    [
        (["failed", "skipped"], "failed"),
        (["skipped", "skipped"], "skipped"),
        (["failed", "waiting"], "unfinished"),
        (["running", "failed"], "unfinished"),
    ],
)
def test_reason_of_a_missing_choice(states, missing):
    chosen = select([cell(k, 0.1, 0.1, state=state) for k, state in enumerate(states, 1)])
    assert chosen.configuration is None and chosen.missing == missing
    assert chosen.estimate("reconstruction/mse/test") is None


def test_done_cells_without_the_number_are_not_measured():
    assert select([make_cell("VAE", 1, {})]).missing == "not measured"
    assert select([make_cell("VAE", 1, {})], method="AE").missing == "not measured"


def test_interpolation_falls_back_to_reconstruction_and_says_so():
    with_fid = [make_cell("VAE", k, {"generation/gmm/fid/validation": 10.0 - k}) for k in (1, 2)]
    assert select(with_fid, "interpolation").configuration.number == 2
    assert select(with_fid, "interpolation").note is None
    chosen = select([cell(1, 0.1, 0.5), cell(2, 0.2, 0.1)], "interpolation")
    assert chosen.configuration.number == 1
    assert chosen.note == (
        "generation/gmm/fid/validation is not measured: chosen by reconstruction/mse/validation instead"
    )


def test_one_seed_has_the_interval_of_its_passport():
    found = select([cell(1, 0.1, 0.2)]).estimate("reconstruction/mse/test")
    assert found.interval_kind == "images" and found.interval == (0.2 * 0.995, 0.2 * 1.005)
