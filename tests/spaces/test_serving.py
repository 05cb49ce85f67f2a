"""How the pages of Spaces are served: the same limits for models and studies."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gae_hub.spaces.endpoints import ENDPOINTS
from gae_hub.spaces.study_record import read_record, write_record

CHILD = Path(__file__).parents[1] / "space_apps.py"

pytestmark = pytest.mark.slow


def describe(kind, folder):
    command = [sys.executable, str(CHILD), "describe", kind, str(folder)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.fixture(scope="module")
def pages(space, study_space, tmp_path_factory):
    """What the app.py of both kinds of Spaces serves. Some networks of the study have no models."""
    root = tmp_path_factory.mktemp("incomplete") / "space"
    shutil.copytree(study_space, root)
    record = read_record(root)
    failed = [
        replace(
            cell,
            network=network,
            latent_dim=latent_dim,
            state="failed",
            numbers={},
            passports={},
            folder=None,
            error="it diverged",
        )
        for cell in record.results.cells
        for network, latent_dim in (("mlp", 5), ("cnn", 3), ("cnn", 5))
    ]
    results = replace(
        record.results,
        networks=["mlp", "cnn"],
        latent_dims={"digits": [3, 5]},
        cells=[*record.results.cells, *failed],
    )
    write_record(replace(record, results=results), root)
    return {"model": describe("model", space), "study": describe("study", root)}


@pytest.mark.parametrize("kind", ["model", "study"])
def test_limits(pages, kind):
    page = pages[kind]
    assert page["threads"] == 1 and page["max_waiting"] == 200 and page["cleanup"] == [600, 3600]
    assert not page["skips_queue"]
    functions = ENDPOINTS if kind == "model" else ("setups", "reconstruct", "sample", "interpolate", "tables")
    for name in functions:
        assert page["limits"][name] == ["model", os.cpu_count()]
    # those of the page itself: ten requests of panels, or the one that computes tables
    assert page["num_limited"] == len(functions) + (10 if kind == "model" else 1)


def test_a_study_offers_what_it_has_models_of(pages):
    choices = pages["study"]["choices"]
    assert [value for _, value in choices["network"]] == ["mlp"]
    assert [value for _, value in choices["latent_dim"]] == [3]


def test_another_place_empties_the_tables(pages):
    """Tables of hidden tabs would show images of other models until they are computed."""
    networks, latent_dims, *_, reconstructions, samples, interpolations = pages["study"]["changed"]
    assert networks["value"] == "mlp" and latent_dims["value"] == 3
    assert (reconstructions, samples, interpolations) == ("", "", "")
