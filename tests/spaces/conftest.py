"""A Space that is written and served once, in a process of its own, as on the Hub."""

import os
import re
import subprocess
import sys
import threading

import pytest

from gae_hub.cli.main import main


@pytest.fixture(scope="session")
def space(trained, tmp_path_factory):
    """The folder of a Space of the beta-VAE in `trained`, with digits as its examples."""
    folder = tmp_path_factory.mktemp("spaces") / "space"
    assert main(["space", str(trained), "--output_dir", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def address(space):
    """The address of the served Space."""
    with serve(space) as found:
        yield found


class serve:
    """A context in which the app.py of a folder runs; its value is the address."""

    def __init__(self, folder):
        environment = os.environ | {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        environment |= {"PYTHONUNBUFFERED": "1", "GRADIO_SERVER_NAME": "127.0.0.1"}
        self.process = subprocess.Popen(
            [sys.executable, "app.py"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self):
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                threading.Thread(target=self.process.stdout.read, daemon=True).start()  # a full pipe would stop it
                return found[0]
        raise AssertionError("".join(lines))

    def __exit__(self, *exception):
        self.process.terminate()
        self.process.wait(30)
        self.process.stdout.close()
