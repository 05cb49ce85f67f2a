"""Python processes that tests start."""

import os
import subprocess
import sys
from pathlib import Path

import gae_hub

TESTS = Path(__file__).parent
PACKAGES = Path(gae_hub.__file__).parents[1]


def child_environment():
    """Environment of a child process that imports this folder, and the gae_hub that this process imports."""
    path = os.pathsep.join(filter(None, [str(TESTS), str(PACKAGES), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def run_in_two_processes(script, *arguments):
    """Run a script in two processes, which can form a process group. Returns what they printed."""
    process = subprocess.run(
        [sys.executable, str(TESTS / "process_pair.py"), str(script), *map(str, arguments)],
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=140,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return process.stdout
