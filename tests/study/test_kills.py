"""A study that is killed in any phase goes on with the same line, and ends as an undisturbed one, to the byte."""

import json
import signal
import subprocess
import sys

import pytest
from child_processes import TESTS, child_environment


def run_driver(folder, processes):
    process = subprocess.run(
        [sys.executable, str(TESTS / "killed_study.py"), str(folder), processes],
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=140,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return json.loads(process.stdout.strip().splitlines()[-1])


def check_equal(found):
    """No number, picture or weight differs, and no file of a killed process is left."""
    assert {name: found[name] for name in ("different", "missing", "unfinished")} == {
        "different": [],
        "missing": [],
        "unfinished": [],
    }


@pytest.mark.slow
def test_a_study_survives_a_kill_in_each_phase(tmp_path):
    found = run_driver(tmp_path, "one")
    statuses = found["statuses"]
    assert statuses.pop("None") == 0
    assert {point for point, status in statuses.items() if status != -signal.SIGKILL} == set()
    assert found["repeated"] == []
    for point in ("checkpoint half written", "together, all trained"):  # after a kill in the second epoch
        assert found["first_steps"][point] == 4, point
    check_equal(found)


@pytest.mark.slow
def test_a_study_survives_kills_of_workers_and_of_the_runner(tmp_path):
    for name, found in run_driver(tmp_path, "two").items():
        expected = [-signal.SIGKILL, 0] if name == "the runner" else [0]
        assert found["statuses"] == expected, name
        check_equal(found)
