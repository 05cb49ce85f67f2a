"""`gae-hub quickstart`."""

import json

import pytest
from shell import run


@pytest.mark.slow
def test_quickstart(tmp_path, capsys):
    assert run("quickstart", "--output_dir", tmp_path / "out") == 0
    out = capsys.readouterr().out
    assert "identical reconstructions and samples" in out and "reconstruction: mean squared error per pixel" in out
    names = {path.name for path in (tmp_path / "out" / "assets").iterdir()}
    assert names == {
        *("samples.png", "samples_prior.png", "reconstructions.png", "interpolations.png", "traversal.png"),
        *("embeddings.png", "loss.png"),
    }
    numbers = json.loads((tmp_path / "out" / "results.json").read_text())["metrics"]
    assert numbers["mse"] < 0.02 and numbers["energy_distance"] < 0.15 and numbers["clustering_accuracy"] > 0.6


def test_another_folder_is_not_deleted(tmp_path, capsys):
    (tmp_path / "thesis.md").write_text("years of work")
    assert run("quickstart", "--output_dir", tmp_path) == 2
    assert "was not created by `gae-hub quickstart`; choose another --output_dir" in capsys.readouterr().err
    assert (tmp_path / "thesis.md").is_file()
