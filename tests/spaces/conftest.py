"""Spaces that are written once, and served in processes of their own, as on the Hub."""

import os
import re
import subprocess
import sys
import threading

import pytest
from spaces.study_cases import TASKS
from tiny_study import run, tiny

from gae_hub.cli.main import main
from gae_hub.spaces.study_views import StudyViews
from gae_hub.study import StudyFolder


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


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """A study of four cells, with two samplers."""
    folder = tmp_path_factory.mktemp("study") / "tiny"
    assert run(tiny(tasks=TASKS, title="Digits, small"), folder) == {"done": 4}
    return StudyFolder.find(folder)


@pytest.fixture(scope="session")
def study_space(study, tmp_path_factory):
    """The folder of the study's Space."""
    folder = tmp_path_factory.mktemp("study-space") / "tiny-space"
    assert main(["space", str(study.root), "--output_dir", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def views(study_space):
    """What the study's Space answers."""
    return StudyViews(study_space)


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
