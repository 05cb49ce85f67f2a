"""The pages of docs/start, docs/howto and docs/choose: Python runs in order and prints what the page says."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import pytest
from builders import mnist_stand_in
from localhub import LocalHub, point_clients_at
from page_blocks import find_pages, is_output, read_blocks

from gae_hub import AutoGAE
from gae_hub.cli.main import COMMANDS
from gae_hub.modules.backbones import _SHORT_NAMES
from gae_hub.modules.likelihoods import LIKELIHOODS
from gae_hub.modules.quantizers import QUANTIZERS

DOCS = Path(__file__).parents[2] / "docs"
ONNX = pytest.mark.filterwarnings(  # raised inside of onnx
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)
PAGES = {page.relative_to(DOCS).as_posix(): page for page in find_pages(DOCS)}


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A stand-in of the Hub with 60 random images under the name of MNIST."""
    with LocalHub(users={"user": "hf_user", "ylecun": "hf_ylecun"}) as hub:
        mnist_stand_in(hub, tmp_path_factory.mktemp("mnist"))
        yield hub


@pytest.fixture
def registries():
    """Methods, likelihoods, quantizers and networks that a page registers are forgotten after its test."""
    registries: list[dict[str, Any]] = [AutoGAE.registry, LIKELIHOODS, QUANTIZERS, *_SHORT_NAMES.values()]
    before = [dict(registry) for registry in registries]
    yield
    for registry, content in zip(registries, before, strict=True):
        registry.clear()
        registry.update(content)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=ONNX if name == "howto/export.md" else ()) for name in PAGES]
)
def test_page(name, hub, tmp_path, monkeypatch, registries):
    monkeypatch.chdir(tmp_path)
    blocks, scope, printed = read_blocks(PAGES[name].read_text(encoding="utf-8")), {}, None
    with point_clients_at(hub, tmp_path / "home", token="hf_user"), warnings.catch_warnings():
        for number, block in enumerate(blocks, 1):
            if block.language == "text" and printed is not None:
                assert is_output(block.body, printed, block.tolerance), f"block {number} of {name} prints:\n{printed}"
            printed = None
            if block.language == "python":
                code = compile(block.code(), f"{name}, block {number}", "exec")
                if block.reason is None:
                    with contextlib.redirect_stdout(io.StringIO()) as output:
                        exec(code, scope)
                    printed = output.getvalue()
            elif block.language in ("", "bash", "console"):
                check_commands(block.body, name)


def check_commands(body: str, name: str):
    """Commands of `gae-hub` exist."""
    for line in body.splitlines():
        words = line.strip().removeprefix("$ ").split()
        if words[:1] == ["gae-hub"] and len(words) > 1:
            command = " ".join(words[1:3]) if words[1] == "study" else words[1]
            assert command in COMMANDS or words[1] in COMMANDS, f"{name} names the command '{command}'"


def test_comments_of_blocks():
    page = "<!-- test: 40 -> 1 -->\n```python\nprint(40)\n```\n\n```text\n1\n```\n"
    code, output = read_blocks(page)
    assert code.code() == "print(1)\n" and output.body == "1\n" and is_output("1 ... 3", "1 2 3\n")
    assert not is_output("1 2", "1 3")
    (output,) = read_blocks("<!-- test: numbers within 10 % -->\n```text\nAUROC 0.92 of 3\n```\n")
    assert output.tolerance == 0.1 and is_output(output.body, "AUROC 0.88 of 3\n", output.tolerance)
    for found in ("AUROC 0.70 of 3", "AUROC 0.92 of 4", "MSE 0.92 of 3", "AUROC 0.92 of 3.0"):
        assert not is_output(output.body, found, output.tolerance)
    with pytest.raises(AssertionError, match="which the block does not contain"):
        read_blocks(page.replace("test: 40", "test: 50"))[0].code()
    with pytest.raises(AssertionError, match="unknown comment"):
        read_blocks(page.replace("40 -> 1", "skip"))
