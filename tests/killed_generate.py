"""Generate images, killed in the middle and again, for test_generate.py: python killed_generate.py MODEL FOLDER.

It prints, as JSON, for each format: the files after the kill, and whether the second run ends with the files of a run
that was not killed. This process imports and forks, so that each run starts in a process that has never computed.
"""

import gc
import io
import json
import os
import signal
import sys
from pathlib import Path

import datasets  # noqa: F401 (imported once, before the forks)
import numpy as np

from gae_hub.cli.main import main
from gae_hub.images import writing

NUM, KILLED_AT = 12, 7
OUTPUTS = {"npz": ["--output", "a.npz"], "folder": ["--output_dir", "a"], "dataset": ["--output_dir", "a"]}


def generate(model: str, folder: Path, format: str, kill: bool) -> int:
    """Status of `gae-hub generate` in a process of its own."""
    process = os.fork()
    if process == 0:
        writing._IMAGES_PER_SHARD = 5  # in this process
        write_images = writing.write_images

        def kill_while_writing(images, *args):
            def killing():
                for index, image in enumerate(images):
                    if index == KILLED_AT:
                        os.kill(os.getpid(), signal.SIGKILL)
                    yield image

            write_images(killing(), *args)

        if kill:
            writing.write_images = kill_while_writing
        os.chdir(folder)
        words = [*OUTPUTS[format], *(["--format", "dataset"] if format == "dataset" else [])]
        status = main(["generate", model, "--num_samples", str(NUM), *words])
        sys.stdout.flush()
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def same(format: str, one: dict[str, bytes], other: dict[str, bytes]) -> bool:
    if format == "npz":  # a zip file holds the time
        one, other = ({name: pixels(data) for name, data in files.items()} for files in (one, other))
    return one == other


def pixels(npz: bytes) -> bytes:
    with np.load(io.BytesIO(npz)) as file:
        return file["arr_0"].tobytes()


def survive(model: str, folder: Path, format: str) -> dict:
    whole, cut = folder / "whole", folder / "cut"
    for place in (whole, cut):
        place.mkdir(parents=True)
    statuses = [generate(model, whole, format, kill=False), generate(model, cut, format, kill=True)]
    left = [name for name in contents(cut) if not Path(name).name.startswith(".")]
    statuses.append(generate(model, cut, format, kill=False))
    return {"statuses": statuses, "left": left, "same": same(format, contents(whole), contents(cut))}


if __name__ == "__main__":
    gc.freeze()
    found = {format: survive(sys.argv[1], Path(sys.argv[2]) / format, format) for format in OUTPUTS}
    print(json.dumps(found))
