"""Every method, killed with SIGKILL at random moments, ends with the weights of a run that was left alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from kills import CASES

HERE = Path(__file__).parents[1]
NAMES = list(CASES)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(3))
def test_killed_runs_resume_to_the_bit(tmp_path, part):
    process = subprocess.run(
        [sys.executable, str(HERE / "kills.py"), str(tmp_path), *NAMES[part::3]],
        env={**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=140,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    found = json.loads(process.stdout.strip().splitlines()[-1])
    assert [name for name, result in found.items() if not result["same"]] == []
    assert sum(result["kills"] for result in found.values()) >= 2 * len(found)
