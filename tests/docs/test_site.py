"""The extension of the site: docstrings are converted, and each method, command and public name has a page."""

import csv
import re
from pathlib import Path

import pytest
from localhub import LocalHub, point_clients_at
from vision_repositories import PROCESSOR, publish, save_encoder

import gae_hub
from gae_hub import AutoGAE, AutoSampler
from gae_hub.cli.main import COMMANDS, make_parser

pytest.importorskip("sphinx", reason="the site needs the extra `docs`")
from docutils import nodes  # noqa: E402
from docutils.core import publish_doctree  # noqa: E402
from docutils.parsers.rst import roles  # noqa: E402
from gae_docs import docstrings, links, mathml, pages, results  # noqa: E402

DOCS = Path(__file__).parents[2] / "docs"
NAMES = {"VAEModel": "gae_hub.VAEModel"}
METHODS, SAMPLERS = AutoGAE.names(), AutoSampler.names()

DOCSTRING = r"""
Fit q(z|x) with `encode`, see [`VAEModel.encode`] and [`Unknown`], at scale :math:`\sigma`.

.. math::
    \mathcal{L} = 1

Args:
    alpha, beta: weights, (batch, *sizes).
        Both are positive.
    **kwargs: others, such as `name_`.

Returns:
    The loss.

Raises:
    ValueError: for a negative weight.

Example:

```python
print(*sizes)
```
"""


def test_docstrings_become_restructured_text():
    assert docstrings.to_rst(DOCSTRING, NAMES) == (
        "Fit q(z\\|x) with ``encode``, see :py:obj:`VAEModel.encode <gae_hub.VAEModel.encode>` and ``Unknown``, "
        "at scale :math:`\\sigma`.\n\n"
        ".. math::\n\n    \\mathcal{L} = 1\n\n"
        ":Parameters:\n"
        "    - **alpha**, **beta** -- weights, (batch, \\*sizes).\n      Both are positive.\n"
        "    - **\\*\\*kwargs** -- others, such as ``name_``.\n\n"
        ":Returns:\n    The loss.\n\n"
        ":Raises:\n    - ``ValueError`` -- for a negative weight.\n\n"
        "**Example**\n\n"
        ".. code-block:: python\n\n    print(*sizes)"
    )


def test_converted_docstrings_have_no_errors():
    """docutils reads what `to_rst` returns for every public docstring of the package's classes and functions."""
    roles.register_generic_role("py:obj", nodes.literal)
    for name in gae_hub.__all__:
        text = docstrings.to_rst(getattr(gae_hub, name).__doc__ or "", pages.public_names())
        settings = {"report_level": 5, "halt_level": 5, "file_insertion_enabled": False}
        tree = publish_doctree(text, settings_overrides=settings)
        assert not list(tree.findall(lambda node: node.tagname == "problematic")), name


def test_docstrings_become_markdown():
    text = docstrings.to_markdown(DOCSTRING.partition("Args:")[0], NAMES)
    assert "```{math}\n\\mathcal{L} = 1\n```" in text and "{math}`\\sigma`" in text
    assert "{py:obj}`VAEModel.encode <gae_hub.VAEModel.encode>`" in text and " `Unknown`," in text


def test_arguments_are_read_by_name():
    assert docstrings.read_arguments(DOCSTRING) == {
        "alpha": "weights, (batch, *sizes). Both are positive.",
        "beta": "weights, (batch, *sizes). Both are positive.",
        "**kwargs": "others, such as `name_`.",
    }


def test_links_that_leave_the_site(tmp_path):
    docs = tmp_path / "docs"
    for file in ("docs/a.md", "docs/b.csv", "README.md", "src/c.py", "d.png"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    text = (
        "[a](a.md#x) [b](b.csv) [r](../README.md#y) [s](../src) [w](https://w.org) [no](no.md) ![d](../d.png)\n"
        "```\n[b](b.csv)\n```\n"
    )
    assert links.rewrite_links(text, docs / "page.md", docs) == (
        f"[a](a.md#x) [b]({links.REPOSITORY}/blob/main/docs/b.csv) [r]({links.REPOSITORY}/blob/main/README.md#y) "
        f"[s]({links.REPOSITORY}/tree/main/src) [w](https://w.org) [no](no.md) ![d](../d.png)\n```\n[b](b.csv)\n```\n"
    )


def test_pages_of_a_folder_follow_its_index(tmp_path):
    for name in ("index", "a", "b", "c"):
        (tmp_path / f"{name}.md").touch()
    assert links.list_pages("[C](c.md), [A](a.md), [else](../d.md)", tmp_path).split()[2:5] == ["c", "a", "b"]


@pytest.mark.parametrize("name", [*METHODS, *SAMPLERS])
def test_formulas_become_mathml(name):
    """latex2mathml keeps a command that it does not know as text with a backslash."""
    registry = AutoGAE if name in METHODS else AutoSampler
    paper = pages.paper_of(registry.model_class(name))
    formula = paper and paper.formula
    shown = mathml.to_mathml(formula, "block") if formula else "<math"
    assert "<math" in shown and not re.search(r">\\\w+<", shown)


@pytest.mark.parametrize("name", METHODS)
def test_method_page(name, monkeypatch, tmp_path):
    """It has each field, a snippet that runs, and a command line that the parser accepts.

    The stand-in for the Hub has a tiny vision encoder.
    """
    monkeypatch.chdir(tmp_path)
    page = pages.write_method(name, DOCS)
    for field in AutoGAE.config_class(name).own_fields():
        assert len(re.findall(rf"^\| `{field}` \| .* \| \S.* \|$", page, re.M)) == 1, (
            f"{field} has no row or no meaning"
        )
    (snippet,) = re.findall(r"```python\n(.*?)```", page, re.S)
    scope = {}
    with LocalHub(users={"facebook": "hf_facebook"}) as hub, point_clients_at(hub, tmp_path / "home", token=False):
        if name == "representation_ae":
            processor = {**PROCESSOR, "size": {"shortest_edge": 64}}
            encoder = save_encoder(tmp_path / "encoder", processor=processor, hidden_size=16, image_size=64)
            publish(hub, "facebook/dinov2-base", encoder)
        exec(snippet, scope)
    assert scope["model"].config.latent_dim == 16
    (words,) = re.findall(r"^\$ gae-hub train (.*)$", page, re.M)
    assert make_parser("train").read(words.split()).model == name
    assert set(re.findall(r"\]\((\w+)\.md\)", page)) <= set(METHODS) - {name}


def test_method_page_has_the_numbers_of_the_studies():
    page = pages.write_method("vae_iaf", DOCS)
    with (DOCS / "studies/mnist-resnet/tables/reconstruction.csv").open(encoding="utf-8") as file:
        mse = {row["method"]: float(row["resnet_mnist_16_mse_x1000"]) for row in csv.DictReader(file)}
    assert f"| VAE-IAF | {mse['VAE-IAF']:.1f} | " in page and f"| VAE | {mse['VAE']:.1f} | " in page
    assert "configurations--vae-iaf.png" in page and "| WAE-RBF |" not in page
    assert "Results" not in pages.write_method("svae", DOCS)
    assert set(results.labels_of()) < set(METHODS)


@pytest.mark.parametrize("name", SAMPLERS)
def test_sampler_page(name):
    page = pages.write_sampler(name, DOCS)
    for field in AutoSampler.config_class(name).own_fields():
        assert len(re.findall(rf"^\| `{field}` \| .* \| \S.* \|$", page, re.M)) == 1, (
            f"{field} has no row or no meaning"
        )
    (words,) = re.findall(r"^\$ gae-hub fit-sampler (.*)$", page, re.M)
    assert make_parser("fit-sampler").read(words.split()).sampler == name
    assert ("FID |" in page) == (name in results.SAMPLER_LABELS)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_page(name):
    parser, page = make_parser(name), pages.write_command(name)
    if parser.extend is not None:
        parser.extend(parser, [])
    shown = _shown_flags(page)
    if "](training-arguments.md)" in page:
        shown |= _shown_flags(pages.write_training_arguments())
    if name == "fit-sampler":  # the page shows the fields of another sampler, which is trained
        shown |= set(AutoSampler.config_class("gaussian_mixture").own_fields())
    assert set(parser.flags) <= shown
    positional = [action.dest for action in parser._actions if not action.option_strings]
    assert all(f"| `{word}` | " in page for word in positional)


def _shown_flags(page: str) -> set[str]:
    return set(re.findall(r"^\| `--(\w+)` \| ", page, re.M))


def test_training_arguments_have_a_page_of_their_own():
    """Their defaults are the same for every command: those that differ are among those that gae_hub declares."""
    shared = _shown_flags(pages.write_training_arguments())
    assert {"adam_beta1", "report_to"} <= shared
    for name in ("train", "fit-sampler"):
        page = pages.write_command(name)
        assert "](training-arguments.md)" in page and shared.isdisjoint(_shown_flags(page))
    assert "ema_decay" in _shown_flags(pages.write_command("train"))
    for sampler in map(AutoSampler.model_class, SAMPLERS):
        assert shared.isdisjoint(getattr(sampler, "default_arguments", {}))


def test_every_public_name_has_one_place():
    written = [pages.write_method(name, DOCS) for name in METHODS]
    written += [pages.write_sampler(name, DOCS) for name in SAMPLERS]
    written += [pages.write_api_page(name) for name in pages.API_PAGES]
    found = re.findall(r"^\.\. (?:auto|py:)\w+:: ([\w.]+).*\n(?:   :module: (.*))?", "\n".join(written), re.M)
    places = [f"{module}.{name}" if module else name for name, module in found]
    assert len(places) == len(set(places))
    assert set(places) == set(pages.public_names().values())
    listed = {*gae_hub.__all__, *gae_hub.metrics.__all__, *gae_hub.plot.__all__, *gae_hub.study.__all__}
    assert listed | set(gae_hub.pipelines.__all__) <= set(pages.public_names())


def test_pages_are_written_once(tmp_path, monkeypatch):
    """An unchanged page keeps its time, and a page of a method that is gone is deleted."""
    for kind in ("method", "sampler"):
        monkeypatch.setattr(pages, f"write_{kind}", lambda name, docs: name)
    monkeypatch.setattr(pages, "write_command", lambda name: name)
    monkeypatch.setattr(pages, "write_api_page", lambda name: name)
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "gone.md").touch()
    pages.write_pages(tmp_path)
    page = tmp_path / "methods" / "vae.md"
    before = page.stat().st_mtime_ns
    pages.write_pages(tmp_path)
    assert page.stat().st_mtime_ns == before and not (tmp_path / "methods" / "gone.md").exists()


def test_types_read_as_a_user_writes_them():
    from typing import Literal

    assert pages._type_name(float | Literal["optimal"]) == 'float | "optimal"'
    assert pages._type_name(list[int] | tuple[int, ...] | None) == "list[int] | tuple[int, ...] | None"


def test_overloads_have_one_signature():
    page = pages.write_api_page("data")
    (shown,) = re.findall(r"^\.\. autofunction:: gae_hub.load_images(.*)$", page, re.M)
    assert re.fullmatch(r"\(source: Any, splits: .* = None, \*, streaming: bool = False, \*\*options: .*\)", shown)
    assert "autofunction:: gae_hub.embed_dataset\n" in page
