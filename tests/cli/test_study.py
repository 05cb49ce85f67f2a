"""`gae-hub study init`, `run` and `status`: what they print, and one line for each error."""

import pytest
from shell import run
from tiny_study import quick, tiny, write_study

from gae_hub.core.yaml_files import load_yaml
from gae_hub.study.declaration import load_study


@pytest.fixture
def error(capsys):
    """Runs a command that fails, and returns what it prints: status 2, nothing on stdout, no traceback."""

    def fail(*words):
        capsys.readouterr()
        assert run(*words) == 2
        out, err = capsys.readouterr()
        assert out == "" and "Traceback" not in err
        return err

    return fail


def test_init(tmp_path, capsys, error):
    """It writes a commented study that loads, and does not replace a file."""
    path = tmp_path / "mine.yaml"
    assert run("study", "init", path) == 0
    assert f"gae-hub study run {path}" in capsys.readouterr().out
    assert load_study(path).name == "my-study" and "#" in path.read_text()
    before = path.read_text()
    assert "exists; choose another name" in error("study", "init", path)
    assert path.read_text() == before


def test_run_and_status(tmp_path, capsys):
    """The number of cells by state, the next command, and the same again for a study that is done."""
    path = write_study(tmp_path, quick(methods={"AE": {"model": "ae"}, "VAE": {"model": "vae"}}))
    for _ in range(2):
        assert run("study", "run", path, "--output_dir", tmp_path / "out") == 0
        out = capsys.readouterr().out
        assert "2 done" in out and f"next: gae-hub study report {tmp_path / 'out'}" in out
    assert run("study", "status", tmp_path / "out") == 0
    assert "2 cells, 2 done" in capsys.readouterr().out


def test_failed_cells(tmp_path, capsys, monkeypatch):
    """They are counted, with the commands that show the errors and run them again."""
    path = write_study(tmp_path, quick(methods={"AE": {"model": "ae"}}))

    def fail(*args):
        raise RuntimeError("it broke")

    with monkeypatch.context() as patch:
        patch.setattr("gae_hub.study.execution.CellRunner.train", fail)
        assert run("study", "run", path, "--output_dir", tmp_path / "out") == 1
    out = capsys.readouterr().out
    assert "1 failed" in out and "study status" in out and "--retry_failed" in out
    assert run("study", "status", tmp_path / "out", "--errors") == 0
    out = capsys.readouterr().out
    assert "failed: AE 1 on digits, mlp, 3 dimensions, seed 0: train: RuntimeError: it broke" in out
    assert "Traceback" in out
    assert run("study", "run", path, "--output_dir", tmp_path / "out", "--retry_failed") == 0
    assert "1 done" in capsys.readouterr().out


def test_left_out_tasks(tmp_path, caplog, capsys, monkeypatch):
    """Data without labels: the tasks that need them are left out, and the log says so."""
    from tiny_study import make_split

    monkeypatch.setattr(
        "gae_hub.study.study_data.load_data",
        lambda *args, **options: tuple(make_split(20, classes=None, seed=seed) for seed in range(3)),
    )
    settings = tiny(methods={"AE": {"model": "ae"}}, data={"d": {"dataset": "x"}})
    path = write_study(tmp_path, settings)
    messages = []
    monkeypatch.setattr("gae_hub.study.runner.logger.warning", messages.append)
    assert run("study", "run", path, "--output_dir", tmp_path / "out") == 0
    text = "\n".join(messages)
    assert "d: the task 'classification' is left out: the data have no labels" in text
    assert "d: the task 'clustering' is left out: the data have no labels" in text
    assert "'generation/fid' is left out: the data have no labels to train an extractor on" in text


def test_errors(tmp_path, error):
    """Unknown studies and settings, values out of range, and folders without a study."""
    path = write_study(tmp_path, tiny(methods={"VAE": {"model": "beta_vae", "grid": [{"beta": -1}]}}))
    out = tmp_path / "out"
    assert f"{path}: methods.VAE.grid[1]: " in error("study", "run", path, "--output_dir", out)
    write_study(tmp_path, tiny(tsaks={}))
    assert f"{path}: unknown setting 'tsaks'; did you mean 'tasks'?" in error(
        "study", "run", path, "--output_dir", out
    )
    assert "did you mean 'smoke'?" in error("study", "run", "smoek", "--output_dir", out)
    assert "no study file" in error("study", "run", tmp_path / "none.yaml", "--output_dir", out)
    assert "processes" in error("study", "run", path, "--output_dir", out, "--processes", 0)
    assert "output_dir" in error("study", "run", path)
    assert not out.exists()
    assert "holds no study" in error("study", "status", out)
    assert "holds no study" in error("study", "status", tmp_path)
    write_study(tmp_path, quick())
    assert "study.yaml" in error("study", "run", path, "--output_dir", path)


def test_words(error):
    """The commands of two words."""
    assert "study needs one of init, run, status" in error("study")
    assert run("study", "--help") == 0
    assert "unknown command study rnu; did you mean run?" in error("study", "rnu").replace("'", "")


def test_several_studies(tmp_path, capsys, error):
    """`status` needs the name if a folder holds several."""
    methods = {"AE": {"model": "ae"}}
    for name in ("one", "two"):
        path = write_study(tmp_path, quick(name=name, methods=methods), f"{name}.yaml")
        assert run("study", "run", path, "--output_dir", tmp_path / "out") == 0
    assert "choose one with --study: one, two" in error("study", "status", tmp_path / "out")
    assert run("study", "status", tmp_path / "out", "--study", "two") == 0
    assert "holds no study 'three'; it holds one, two" in error(
        "study", "status", tmp_path / "out", "--study", "three"
    )
    assert load_yaml((tmp_path / "out/studies/one/study.yaml").read_text())["name"] == "one"


def test_full_disk(tmp_path, error, monkeypatch):
    """One line that says what to do."""
    path = write_study(tmp_path, quick(methods={"AE": {"model": "ae"}}))

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gae_hub.study.execution.CellRunner.save_trained", full)
    text = error("study", "run", path, "--output_dir", tmp_path / "out")
    assert "is full: the study stopped, and what is finished is kept; free some space, and start it again" in text


def test_interrupted(tmp_path, capsys, monkeypatch):
    """Ctrl-C ends with status 130, and says how to go on."""
    path = write_study(tmp_path, quick(methods={"AE": {"model": "ae"}}))

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("gae_hub.study.execution.CellRunner.run_steps", interrupt)
    assert run("study", "run", path, "--output_dir", tmp_path / "out") == 130
    assert "stopped; the same line goes on" in capsys.readouterr().err
