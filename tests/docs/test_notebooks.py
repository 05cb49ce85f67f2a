"""The notebooks of the documentation are valid, open in Colab, and run from the first cell to the last."""

import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
BADGE = "https://colab.research.google.com/github/gae-hub/gae_hub/blob/main/docs/notebooks/{}"


def read_sources(path):
    """(cell type, source) of each cell."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [(cell["cell_type"], "".join(cell["source"])) for cell in cells]


def test_names_of_the_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["choose_a_sampler", "first_model", "your_own_data"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_opens_in_colab(path):
    """It has a title, the badge of its own address, a cell that installs gae_hub only where it is missing, no outputs,
    and an identifier for each cell."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    (kind, head), (install_kind, install), *_ = read_sources(path)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5) and notebook["metadata"]["kernelspec"]
    assert kind == "markdown" and head.startswith("# ") and f"({BADGE.format(path.name)})" in head
    assert install_kind == "code" and 'if importlib.util.find_spec("gae_hub") is None:' in install
    identifiers = [cell["id"] for cell in notebook["cells"]]
    assert len(set(identifiers)) == len(identifiers)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None, "clear the outputs before committing"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_between_notebooks_and_to_pages_exist(path):
    text = "\n".join(source for _, source in read_sources(path))
    targets = [part.partition(")")[0] for part in text.split("](")[1:]]
    prefix = "https://github.com/gae-hub/gae_hub/blob/main/"
    for target in targets:
        if target.startswith(prefix):
            assert (ROOT / target.removeprefix(prefix)).is_file(), target
        elif not target.startswith("https://"):
            assert (path.parent / target).is_file(), target


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, monkeypatch):
    pytest.importorskip("nbclient", reason="needs the extra `docs`")
    pytest.importorskip("ipykernel", reason="needs the extra `docs`")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = runpy.run_path(str(ROOT / "scripts" / "run_notebooks.py"))["run_notebook"](path)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    pictures = [data for cell in cells for output in cell.outputs if "image/png" in (data := output.get("data", {}))]
    assert len(pictures) >= 4  # figures show themselves
