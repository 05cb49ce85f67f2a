"""The benchmarks: sections and configs exist, and docs/speed.md agrees with the measured rows."""

from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def benchmarks_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def test_pages_agree_with_rows():
    summary = import_module("benchmarks.summary")
    for path, update in ((summary.SPEED_PAGE, summary.update), (summary.README, summary.update_readme)):
        page = path.read_text(encoding="utf-8")
        assert update(page) == page, "run python -m benchmarks.summary --write"


def test_rows_are_parsed_by_network_method_and_precision():
    summary = import_module("benchmarks.summary")
    rows = """<!-- steps: begin -->
| step | gae_hub, ms | Pythae, fp32, ms | ratio | target |
|---|---|---|---|---|
| mlp, vae, fp32 | 2.0 | 4.0 | 0.50 | 0.75 |
| mlp, factor_vae (Pythae decodes 50 of 100), bf16 | 30.5 | 50.0 | 0.61 |  |
<!-- steps: end -->
| mlp, vae, 5,000 images | 450.0 | 430.0 | 1.05 |  |
"""
    assert summary.read_rows(rows) == [
        summary.Row("mlp", "vae", "fp32", 2.0, 0.5),
        summary.Row("mlp", "factor_vae", "bf16", 30.5, 0.61),
    ]


def test_summaries_of_known_rows():
    summary = import_module("benchmarks.summary")
    rows = [
        summary.Row(network, method, precision, milliseconds, ratio)
        for network in summary.NETWORKS
        for precision in ("fp32", "bf16")
        for method, milliseconds, ratio in (("vae", 10.0, 0.9), ("ae", 12.0, 0.8), ("hvae", 40.0, 1.2))
    ]
    assert summary.summarize_networks(rows).splitlines()[2] == "| `mlp` | fp32 | 5.0 | 6.0 | 0.90 (0.80 to 1.20) |"
    assert summary.summarize_costs(rows).splitlines()[2:] == ["| `hvae` | 4.0 | 4.0 | 4.0 |"]


@pytest.mark.parametrize(
    "section", ["convolutions", "epochs", "io", "likelihood", "memory", "metrics", "samplers", "steps"]
)
def test_sections_have_a_table_in_the_readme(section):
    run = import_module("benchmarks.run")
    module = import_module(f"benchmarks.{section}")
    assert section in run.SECTIONS and len(module.SIDES) == 2 and callable(module.comparisons)
    page = run.PAGE.read_text(encoding="utf-8")
    assert run.replace_part(page, section, "new rows").count("new rows") == 1


def test_replacing_a_missing_part_raises():
    with pytest.raises(ValueError, match="has no part 'steps'"):
        import_module("benchmarks.page").replace_part("# Page", "steps", "rows")


def test_configs_of_all_methods():
    """A field that is renamed in the library raises here, and not after hours of benchmarks."""
    models = import_module("benchmarks.models")
    for method in models.METHODS:
        for network in ("mlp", "paper_resnet", "paper_conv"):
            assert models.our_config(method, network).latent_dim == models.LATENT_DIM
