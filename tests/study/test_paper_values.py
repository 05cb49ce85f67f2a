"""The paper's own values: spot values of each table, written here by hand from the paper."""

from collections import Counter
from dataclasses import replace

import pytest
from study.synthetic import make_cell, make_results

from gae_hub.study.method_grids import load_grid
from gae_hub.study.paper_values import find_paper_value, load_paper_values
from gae_hub.study.tables import build_tables

TABLE_1 = [  # method, network, data, MSE x 1000, FID
    ("VAE", "convnet", "mnist", 16.85, 30.71),
    ("VAMP", "convnet", "mnist", 24.17, 44.95),
    ("IWAE", "convnet", "cifar10", 16.19, 237.14),
    ("VAE-IAF", "resnet", "celeba", 10.63, 58.41),
    ("beta-VAE", "resnet", "cifar10", 2.40, 55.67),
    ("beta-TC-VAE", "resnet", "mnist", 7.12, 18.44),
    ("FactorVAE", "convnet", "cifar10", 16.41, 224.3),
    ("InfoVAE-RBF", "resnet", "mnist", 17.01, 37.04),
    ("InfoVAE-IMQ", "convnet", "celeba", 9.81, 50.51),
    ("MSSSIM-VAE", "resnet", "celeba", 35.43, 119.92),
    ("VAEGAN", "convnet", "mnist", 15.49, 5.54),
    ("WAE-RBF", "convnet", "cifar10", 2.82, 42.21),
    ("RAE-L2", "convnet", "cifar10", 2.25, 49.28),
    ("RAE-GP", "resnet", "celeba", 7.76, 51.36),
]
TABLE_2 = [  # method, task, network, data, mean, standard deviation
    ("VAE", "classification", "convnet", "mnist", 86.75, 0.05),
    ("VAMP", "classification", "convnet", "cifar10", 33.46, 0.17),
    ("IWAE", "clustering", "resnet", "mnist", 73.66, 2.30),
    ("VAE-lin-NF", "clustering", "resnet", "mnist", 68.80, 3.65),
    ("beta-TC-VAE", "classification", "convnet", "cifar10", 45.40, 0.05),
    ("FactorVAE", "clustering", "convnet", "mnist", 51.02, 1.73),
    ("InfoVAE-IMQ", "classification", "resnet", "cifar10", 32.10, 0.05),
    ("AAE", "clustering", "resnet", "mnist", 80.41, 2.09),
    ("MSSSIM-VAE", "clustering", "resnet", "cifar10", 11.70, 0.17),
    ("VAEGAN", "clustering", "convnet", "mnist", 77.29, 1.19),
    ("WAE-IMQ", "classification", "resnet", "mnist", 94.62, 0.03),
    ("VQVAE", "clustering", "convnet", "cifar10", 23.85, 0.48),
    ("RAE-GP", "classification", "resnet", "cifar10", 40.93, 0.14),
]
TABLE_3 = [  # method, sampler, network, data, FID, Inception Score; Table 7 repeats them
    ("VAE", "normal", "convnet", "mnist", 28.5, 2.1),
    ("VAMP", "vamp", "convnet", "cifar10", 329.0, 1.5),
    ("IWAE", "gmm", "resnet", "cifar10", 188.8, 2.4),
    ("beta-VAE", "normal", "resnet", "cifar10", 124.9, 3.4),
    ("beta-TC-VAE", "gmm", "convnet", "cifar10", 89.3, 4.1),
    ("InfoVAE-RBF", "normal", "resnet", "celeba", 66.5, 1.6),
    ("AAE", "gmm", "convnet", "mnist", 9.3, 2.2),
    ("VAEGAN", "gmm", "convnet", "celeba", 35.6, 1.8),
    ("AE", "normal", "resnet", "mnist", 221.8, 1.3),
    ("WAE-IMQ", "gmm", "convnet", "mnist", 8.6, 2.2),
    ("VQVAE", "normal", "convnet", "celeba", 306.9, 1.0),
    ("RAE-L2", "gmm", "convnet", "cifar10", 85.3, 3.9),
    ("RAE-GP", "normal", "resnet", "cifar10", 229.1, 2.0),
]
TABLE_7 = [
    ("VAE", "two_stage_vae", "resnet", "cifar10", 358.0, 1.3),
    ("IWAE", "maf", "convnet", "cifar10", 243.4, 2.1),
    ("VAE-lin-NF", "two_stage_vae", "resnet", "mnist", 49.7, 1.9),
    ("VAE-IAF", "two_stage_vae", "convnet", "cifar10", 330.5, 1.1),
    ("beta-VAE", "maf", "convnet", "mnist", 9.5, 2.2),
    ("beta-TC-VAE", "two_stage_vae", "convnet", "cifar10", 127.9, 4.2),
    ("InfoVAE-IMQ", "two_stage_vae", "resnet", "cifar10", 341.8, 1.8),
    ("MSSSIM-VAE", "maf", "resnet", "mnist", 27.5, 2.1),
    ("VAEGAN", "two_stage_vae", "resnet", "mnist", 9.2, 2.1),
    ("AE", "maf", "convnet", "cifar10", 108.3, 3.1),
    ("WAE-RBF", "maf", "resnet", "mnist", 11.8, 2.2),
    ("VQVAE", "maf", "resnet", "celeba", 57.9, 1.8),
    ("RAE-L2", "maf", "convnet", "cifar10", 93.4, 3.5),
    ("RAE-GP", "maf", "resnet", "celeba", 59.5, 1.8),
]


def test_counts():
    values = load_paper_values()
    assert Counter(value.table for value in values) == {1: 19 * 12, 2: 18 * 8, 3: 37 * 12, 7: 67 * 12}
    places = {(v.table, v.method, v.sampler, v.network, v.dataset, v.metric) for v in values}
    assert len(places) == len(values)


def test_methods_and_samplers_are_those_of_the_grid():
    methods = load_grid("paper").methods
    values = load_paper_values()
    assert list(dict.fromkeys(value.method for value in values)) == list(methods)
    for name, method in methods.items():
        of_table_7 = dict.fromkeys(value.sampler for value in values if value.table == 7 and value.method == name)
        assert tuple(of_table_7) == method.samplers


@pytest.mark.parametrize(("method", "network", "dataset", "mse", "fid"), TABLE_1)
def test_table_1(method, network, dataset, mse, fid):
    found = find_paper_value(1, method, network, dataset, "mse")
    assert (found.value, found.unit, found.number) == (mse, "1e-3", "reconstruction/mse/test")
    assert found.plain_value == pytest.approx(mse / 1000) and found.plain_std is None
    found = find_paper_value(1, method, network, dataset, "fid")
    assert (found.value, found.plain_value, found.number) == (fid, fid, "reconstruction/fid/test")


@pytest.mark.parametrize(("method", "task", "network", "dataset", "mean", "std"), TABLE_2)
def test_table_2(method, task, network, dataset, mean, std):
    found = find_paper_value(2, method, network, dataset, f"{task}_accuracy")
    assert (found.value, found.std, found.unit) == (mean, std, "percent")
    assert (found.plain_value, found.plain_std) == pytest.approx((mean / 100, std / 100))
    split = {"classification": "test", "clustering": "train"}[task]
    assert found.number == f"{task}/accuracy/{split}"


@pytest.mark.parametrize(("table", "row"), [(3, row) for row in TABLE_3] + [(7, row) for row in [*TABLE_3, *TABLE_7]])
def test_tables_3_and_7(table, row):
    method, sampler, network, dataset, fid, inception_score = row
    for metric, value in (("fid", fid), ("inception_score", inception_score)):
        found = find_paper_value(table, method, network, dataset, metric, sampler)
        assert found.value == value and found.number == f"generation/{sampler}/{metric}/test"


def test_table_7_contains_table_3():
    for value in load_paper_values():
        if value.table == 3:
            again = find_paper_value(7, value.method, value.network, value.dataset, value.metric, value.sampler)
            assert again is not None and again.value == value.value


def test_a_method_of_another_model_has_no_value_of_the_paper():
    numbers = {f"reconstruction/mse/{split}": 0.017 for split in ("validation", "test")}
    results = make_results([make_cell("VAE", 1, numbers), make_cell("AE", 1, numbers)])
    renamed = replace(results, methods={**results.methods, "VAE": {**results.methods["VAE"], "model": "beta_vae"}})
    values = {}
    for name, study in (("known", results), ("renamed", renamed)):
        table = build_tables(study)[0]
        (column,) = [i for i, one in enumerate(table.columns) if one.source == "paper" and one.metric == "mse"]
        values[name] = {row.method: row.entries[column].value for row in table.rows}
    assert values["known"] == pytest.approx({"VAE": 0.01685, "AE": 0.00547})
    assert values["renamed"] == {"VAE": None, "AE": values["known"]["AE"]}


def test_what_the_paper_does_not_have():
    assert find_paper_value(2, "beta-VAE", "convnet", "mnist", "clustering_accuracy") is None
    assert find_paper_value(7, "AE", "convnet", "mnist", "fid", "two_stage_vae") is None
    assert find_paper_value(3, "VAE", "convnet", "mnist", "fid") is None
    assert not [value for value in load_paper_values() if value.table == 2 and value.dataset == "celeba"]


def test_doubtful_values_have_notes():
    noted = {(value.table, value.method): value.note for value in load_paper_values() if value.note}
    assert noted.keys() == {(7, "VQVAE"), (7, "RAE-L2"), (7, "RAE-GP")}
    assert "printed twice" in noted[7, "RAE-GP"] and "Table 3" in noted[7, "VQVAE"]
