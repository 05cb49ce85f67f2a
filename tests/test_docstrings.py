"""The examples in docstrings run."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest
import torch

import gae_hub

SOURCE = Path(gae_hub.__file__).parent
# those of metrics/spaces are copies, which metrics/test_evaluate_modules.py runs
EXAMPLES = sorted(
    path for path in SOURCE.rglob("*.py") if ">>> " in path.read_text() and path.parents[1].name != "spaces"
)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_examples(path):
    module = import_module(".".join(("gae_hub", *path.relative_to(SOURCE).with_suffix("").parts)))
    names = {"torch": torch, **{name: getattr(gae_hub, name) for name in gae_hub.__all__}}
    failed, tried = doctest.testmod(module, extraglobs=names)
    assert tried and not failed
