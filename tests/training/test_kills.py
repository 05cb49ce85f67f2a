"""Every method, killed with SIGKILL three times and resumed, ends with the weights of an uninterrupted run."""

import json
import subprocess
import sys

import pytest
from child_processes import TESTS, child_environment
from kills import NAMES, POINTS


@pytest.mark.slow
@pytest.mark.parametrize("part", range(3))
def test_killed_runs_resume_to_the_bit(tmp_path, part):
    process = subprocess.run(
        [sys.executable, str(TESTS / "kills.py"), str(tmp_path), *NAMES[part::3]],
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=140,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    found = json.loads(process.stdout.strip().splitlines()[-1])
    assert [name for name, result in found.items() if not result["same"]] == []
    assert {point for result in found.values() for point in result["points"]} == set(POINTS)
