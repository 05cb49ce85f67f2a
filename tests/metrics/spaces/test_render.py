"""The folders in the package are up to date with the templates."""

import ast
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from gae_hub.metrics import MEASURES, path
from gae_hub.metrics.spaces.render import GRADIO_VERSION, render_space


@pytest.mark.parametrize("name", MEASURES)
def test_folder_is_up_to_date(name):
    rendered = render_space(name)
    assert {file.name: file.read_text() for file in Path(path(name)).iterdir() if file.is_file()} == rendered, (
        "run python scripts/make_spaces.py"
    )
    front = yaml.safe_load(rendered["README.md"].split("---")[1])
    assert front["sdk"] == "gradio" and front["sdk_version"].startswith("6.") and front["app_file"] == "app.py"
    assert {"evaluate", "metric"} <= set(front["tags"]) and front["description"].endswith(".")
    ast.parse(rendered["app.py"])
    library, gradio = map(Requirement, rendered["requirements.txt"].splitlines())
    assert library.name == "gae_hub" and library.specifier.contains(version("gae_hub"), prereleases=True)
    assert str(gradio) == f"gradio<7,>={front['sdk_version']}"


def test_spaces_install_the_gradio_of_these_tests():
    """A Space installs a Gradio of its own, so constraints.txt, not this environment, has to match."""
    constraints = (Path(__file__).parents[3] / "constraints.txt").read_text().splitlines()
    assert f"gradio=={GRADIO_VERSION}" in constraints
