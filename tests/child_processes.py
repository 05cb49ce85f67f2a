"""The environment of the Python processes that tests start."""

import os
from pathlib import Path

import gae_hub

TESTS = Path(__file__).parent
PACKAGES = Path(gae_hub.__file__).parents[1]


def child_environment():
    """Environment of a child process that imports this folder, and the gae_hub that this process imports."""
    path = os.pathsep.join(filter(None, [str(TESTS), str(PACKAGES), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
