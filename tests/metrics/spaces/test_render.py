"""The folders in the package are up to date with the templates."""

import ast
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from gae_hub.metrics import MEASURES, path
from gae_hub.metrics.spaces.render import render_space
from gae_hub.metrics.spaces.requirements import PINNED, PYTHON_VERSION


@pytest.mark.parametrize("name", MEASURES)
def test_folder_is_up_to_date(name):
    rendered = render_space(name)
    assert {file.name: file.read_text() for file in Path(path(name)).iterdir() if file.is_file()} == rendered, (
        "run python scripts/make_spaces.py"
    )
    front = yaml.safe_load(rendered["README.md"].split("---")[1])
    assert front["sdk"] == "gradio" and front["sdk_version"].startswith("6.") and front["app_file"] == "app.py"
    assert {"evaluate", "metric"} <= set(front["tags"]) and front["description"].endswith(".")
    assert len(front["short_description"]) <= 60 and front["python_version"] == PYTHON_VERSION
    ast.parse(rendered["app.py"])
    pins = {pin.name: str(pin.specifier) for pin in map(Requirement, rendered["requirements.txt"].splitlines())}
    assert pins.pop("gae_hub") == f"=={version('gae_hub')}"
    assert pins == {package: f"=={pinned}" for package, pinned in PINNED.items()}
    assert pins["gradio"] == f"=={front['sdk_version']}"


def test_spaces_install_the_versions_of_these_tests():
    """A Space installs its own packages, so constraints.txt, not this environment, has to match."""
    root = Path(__file__).parents[3]
    constraints = (root / "constraints.txt").read_text().splitlines()
    assert {f"{name}=={pinned}" for name, pinned in PINNED.items()} <= set(constraints)
    assert f'requires-python = ">={PYTHON_VERSION}"' in (root / "pyproject.toml").read_text()
