"""Our modules of `evaluate` pass the test that `evaluate` has for its own: `LocalModuleTest` in its repository."""

import doctest
import inspect
import re
from importlib import import_module

import evaluate
import pytest

from gae_hub.metrics import MEASURES, path
from gae_hub.metrics.citations import cite


@pytest.fixture(params=MEASURES)
def module(request):
    """The imported module of a metric."""
    found = evaluate.loading.evaluation_module_factory(path(request.param), module_type="metric")
    return import_module(found.module_path)


def test_module_passes_the_test_of_evaluate(module, monkeypatch):
    """`_compute` has no **kwargs, and the examples in the docstrings run and print what they say."""
    monkeypatch.setattr(doctest, "ELLIPSIS_MARKER", "[...]")
    metric = evaluate.loading.import_main_class(module.__name__)
    assert all(p.kind is not p.VAR_KEYWORD for p in inspect.signature(metric._compute).parameters.values())
    results = doctest.testmod(module, raise_on_error=True)
    assert results.failed == 0 and results.attempted > 1


@pytest.mark.parametrize("name", MEASURES)
def test_module_describes_itself(name):
    metric, measure = evaluate.load(path(name)), MEASURES[name]
    assert (
        metric.description.startswith(inspect.getdoc(measure).partition("\n")[0]) and ">>>" not in metric.description
    )
    assert "title = {" in metric.citation and "author = {" in metric.citation and "url = {" in metric.citation
    for part in (measure.predictions_help, measure.example().replace("\n", "\n    "), *measure.default_options()):
        assert part in metric.inputs_description
    for identifier in re.findall(r"(?:arXiv|doi|openreview):([^\s),]+)", measure.describe()):
        assert identifier in metric.citation


def test_a_measure_without_a_paper_cites_the_library():
    assert cite("psnr").startswith("@software{gae_hub,") and cite("prdc").count("@article{") == 2


def test_compute_of_the_base_class_accepts_options():
    metric = evaluate.load(path("log_likelihood"))
    found = metric._compute(predictions=[-90.0, -88.0], options={"num_dims": 784, "discrete": True})
    assert found["log_likelihood"] == -89 and found["bits_per_dimension"] == pytest.approx(0.16377, rel=1e-4)
