"""Figures of a study: what is drawn, what is missing, and that equal results give equal files."""

import re
from dataclasses import replace

import pytest
from PIL import Image
from study.pictures import draw_pictures
from study.synthetic import make_cell, make_results, synthetic_results

from gae_hub.study.charts import nice_ticks, spread_labels
from gae_hub.study.figures import read_figures, write_figures
from gae_hub.study.picture_figures import read_tiles
from gae_hub.study.report import write_report
from gae_hub.study.study_figure import file_name


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Results of three methods on two kinds of networks, with pictures."""
    folder = tmp_path_factory.mktemp("study")
    results = synthetic_results(
        datasets=("mnist",), latent_dims=(16, 64), num_configurations=3, methods=["VAE", "AAE", "AE"], folder=folder
    )
    draw_pictures(results)
    return results


def test_every_figure_is_an_svg_and_a_png_file(study, tmp_path):
    figures = write_figures(study, tmp_path)
    assert {figure.paper for figure in figures} == {
        "Figure 2", "Figure 12", "Figure 13", "Figure 14", "Figures 3 and 4", "Figure 10", "Figure 24", None
    }  # fmt: skip
    for figure in figures:
        assert figure.missing is None
        assert (tmp_path / f"{figure.name}.svg").read_text().startswith(("<?xml", "<svg"))
        with Image.open(tmp_path / f"{figure.name}.png") as image:
            assert len(image.convert("L").getcolors()) > 5
    assert read_figures(tmp_path) == figures


def test_the_key_of_samplers_stays_on_the_chart(tmp_path):
    samplers = ("normal", "gmm", "vamp", "two_stage_vae", "maf")
    results = synthetic_results(
        datasets=("mnist",), latent_dims=(16,), num_configurations=1, methods=["VAE", "AE"], networks=("resnet",)
    )
    results.samplers[:] = samplers
    results.methods["VAE"]["samplers"] = list(samplers)
    for cell in results.cells:
        for sampler in samplers:
            cell.numbers.update({f"generation/{sampler}/fid/{split}": 30.0 for split in ("validation", "test")})
    write_figures(results, tmp_path)
    svg = (tmp_path / "samplers--mnist.svg").read_text(encoding="utf-8")
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])
    places = {
        name: float(re.search(rf'<text[^>]*?(?:translate\(| x=")([\d.]+)[^>]*>{name}<', svg)[1])
        for name in ("normal", "GMM", "two-stage VAE", "MAF")
    }
    assert all(x + 5 * len(name) < width for name, x in places.items())  # letters of about 5 points


def test_figures_drawn_twice_are_equal(study, tmp_path):
    for name in ("first", "second"):
        write_figures(study, tmp_path / name)
    first = {path.name: path.read_bytes() for path in (tmp_path / "first").iterdir()}
    assert len(first) > 20
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "second").iterdir()}


def test_rows_of_pictures_belong_to_their_methods(study, tmp_path):
    write_figures(study, tmp_path)
    with Image.open(tmp_path / "interpolations--mnist--convnet.png") as image:
        levels = [image.getpixel((image.width - 20, 40 + 36 * row + 10))[0] for row in range(3)]
    assert levels == [5, 15, 25]


def test_figures_without_data_are_not_written(tmp_path):
    waiting = make_results([make_cell("VAE", state="waiting"), make_cell("AE", state="failed", error="no space left")])
    figures = write_figures(waiting, tmp_path)
    assert all(figure.missing for figure in figures)
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


def test_a_figure_that_lost_its_data_is_deleted(study, tmp_path):
    write_figures(study, tmp_path)
    one = make_results([cell for cell in study.cells if cell.network == "convnet" and cell.latent_dim == 16])
    figures = {figure.name: figure for figure in write_figures(one, tmp_path)}
    assert "one kind of networks" in figures["networks--mnist"].missing
    assert "one number of latent dimensions" in figures["latent-dims--mnist"].missing
    assert not (tmp_path / "networks--mnist.svg").exists() and not (tmp_path / "latent-dims--mnist.png").exists()


def test_hostile_names_are_escaped_in_svg_files(tmp_path):
    names = ["<script>alert(1)</script>", "../../up & $x^2$"]
    cells = [
        make_cell(n, c, {"reconstruction/mse/test": 0.1 * c, "reconstruction/mse/validation": 0.1 * c})
        for n in names
        for c in (1, 2)
    ]
    methods = {name: {"model": "vae", "groups": [], "samplers": [], "table": None} for name in names}
    figures = write_figures(make_results(cells, methods=methods, samplers=[]), tmp_path / "figures")
    drawn = [figure for figure in figures if figure.missing is None]
    assert len(drawn) >= 2
    for figure in drawn:
        assert "<script" not in (tmp_path / "figures" / f"{figure.name}.svg").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["figures"]


def test_names_of_files_are_different_for_different_names():
    names = [
        "VAE",
        "v-ae",
        "v_ae",
        "v ae",
        "--vae",
        "vae-",
        "Väe",
        "väe",
        "",
        "-",
        "日本",
        "中国",
        "a" * 90,
        "a" * 91,
    ]
    assert len({file_name("x", name) for name in names}) == len(names)
    assert file_name("a-b", "c") != file_name("a", "b-c") and file_name("a", "") != file_name("a")
    assert file_name("samplers", "mnist") == "samplers--mnist"  # readable where that is enough
    assert file_name("method", "beta-VAE") == "method--beta-vae"
    for name in names:
        assert re.fullmatch(r"[a-z0-9_-]+", file_name(name)) and len(file_name(name)) < 100


def test_methods_whose_names_differ_by_case_have_their_own_figures_and_sections(tmp_path):
    methods = {name: {"model": "vae", "groups": [], "samplers": [], "table": None} for name in ("my-vae", "My_VAE")}
    numbers = {f"reconstruction/mse/{split}": 0.1 for split in ("validation", "test")}
    cells = [make_cell(name, number, numbers) for name in methods for number in (1, 2)]
    results = make_results(cells, methods=methods, samplers=[])
    page = write_report(results, tmp_path).read_text(encoding="utf-8")
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert len(list((tmp_path / "figures").glob("configurations--*.svg"))) == 2


def test_files_of_figures_that_are_gone_are_deleted(study, tmp_path):
    write_figures(study, tmp_path)
    few = [cell for cell in study.cells if cell.method == "VAE"]
    names = {figure.name for figure in write_figures(make_results(few), tmp_path) if figure.missing is None}
    assert {path.stem for path in tmp_path.glob("*.svg")} == names


def test_figures_of_own_methods_have_no_number_of_the_paper(study, tmp_path):
    methods = {name: {**method, "table": None} for name, method in study.methods.items()}
    figures = write_figures(replace(study, methods=methods), tmp_path)
    assert {figure.paper for figure in figures} == {None}


def test_unreadable_pictures_are_left_out(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "reconstructions.png").write_bytes(b"not a picture")
    assert read_tiles(tmp_path, "reconstructions", 2) == []
    assert read_tiles(tmp_path, "interpolations", 5) == [] and read_tiles(None, "interpolations", 5) == []


def test_labels_are_spread_without_overlap():
    places = spread_labels([0.5, 0.5, 0.51, 0.9, 0.0], gap=0.1, low=0.0, high=1.0)
    ordered = sorted(places)
    assert all(b - a > 0.0999 for a, b in zip(ordered, ordered[1:], strict=False))
    assert places[3] == pytest.approx(0.9) and places[4] == pytest.approx(0.0)
    assert sum(places[:3]) / 3 == pytest.approx(sum([0.5, 0.5, 0.51]) / 3)
    assert places[0] < places[1] < places[2]
    crowded = spread_labels([0.5] * 30, gap=0.1, low=0.0, high=1.0)
    assert min(crowded) == pytest.approx(0) and max(crowded) == pytest.approx(1)


@pytest.mark.parametrize(
    ("low", "high", "logarithmic", "ticks"),
    [
        (0, 10, False, [0, 2, 4, 6, 8, 10]),
        (5, 64, True, [5, 10, 20, 50]),
        (0.871, 0.949, False, [0.88, 0.9, 0.92, 0.94]),
    ],
)
def test_ticks_are_round_numbers(low, high, logarithmic, ticks):
    assert nice_ticks(low, high, 4, logarithmic) == pytest.approx(ticks)


def test_a_method_with_one_configuration_has_no_chart_of_configurations(tmp_path):
    numbers = {f"reconstruction/mse/{split}": 0.1 for split in ("validation", "test")}
    cells = [make_cell("VAE", 1, numbers), make_cell("AE", 1, numbers), make_cell("AE", 2, numbers)]
    reasons = {figure.method: figure.missing for figure in write_figures(make_results(cells), tmp_path)}
    assert reasons["VAE"] == "the method has one configuration" and reasons["AE"] is None
