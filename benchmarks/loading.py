"""Measure time and memory of large sources: python -m benchmarks.loading [--num_images 200000] [--num_rows 1000000].

Two cases, each in a process of its own, on files that the benchmark writes first: a parquet file of PNG images (3 x 32
x 32) that `load_images` reads into memory, and a parquet file of 20 columns that `load_data` streams. Memory is the
largest amount of anonymous memory (RssAnon in /proc/self/status) in the process above that before the call; mapped
files are not counted, because the system can drop them. Linux only.
"""

import argparse
import io
import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

IMAGE_SHAPE, NUM_COLUMNS = (32, 32, 3), 20


def write_images(path: Path, num: int):
    """Write a parquet file of PNG images of noise, in the Hub's layout."""
    import datasets

    rng = np.random.default_rng(0)

    def rows():
        for _ in range(num):
            buffer = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, IMAGE_SHAPE, dtype=np.uint8)).save(buffer, "PNG", compress_level=1)
            yield {"image": {"bytes": buffer.getvalue(), "path": None}}

    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_generator(rows, features=features, cache_dir=str(path.parent / "cache")).to_parquet(path)


def write_table(path: Path, num: int):
    """Write a parquet file of columns of numbers."""
    import pyarrow
    from pyarrow import parquet

    rng = np.random.default_rng(0)
    parquet.write_table(pyarrow.table({f"x{i}": rng.normal(size=num) for i in range(NUM_COLUMNS)}), path)


def anonymous_memory() -> int:
    """Bytes of memory of this process that no file backs."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise RuntimeError("/proc/self/status has no RssAnon: this benchmark needs Linux")
    return 1024 * int(found[1])


class PeakMemory:
    """Context that records the largest anonymous memory, read every 5 ms, above that at its start."""

    def __enter__(self) -> "PeakMemory":
        self._start, self.peak, self._stopped = anonymous_memory(), 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self):
        while not self._stopped.wait(0.005):
            self.peak = max(self.peak, anonymous_memory() - self._start)

    def __exit__(self, *exception):
        self._stopped.set()
        self._thread.join()
        self.peak = max(self.peak, anonymous_memory() - self._start)


def measure_images(path: str) -> dict[str, float]:
    """Read all images into memory."""
    import datasets  # noqa: F401  # not a part of the measurement

    from gae_hub import load_images

    load_images(np.zeros((2, 8, 8), np.uint8))
    with PeakMemory() as memory:
        start = time.perf_counter()
        data = load_images(path)
        seconds = time.perf_counter() - start
    size = data.pixel_values.nbytes
    return {"num": len(data), "seconds": seconds, "megabytes": size / 1e6, "memory_ratio": memory.peak / size}


def measure_stream(path: str) -> dict[str, float]:
    """Read one pass of a stream, in batches of 100."""
    import datasets  # noqa: F401
    from torch.utils.data import DataLoader

    from gae_hub import load_data
    from gae_hub.data.batches import collate

    load_data(np.zeros((2, 8)))
    with PeakMemory() as memory:
        start, num = time.perf_counter(), 0
        for batch in DataLoader(load_data(path, streaming=True), batch_size=100, collate_fn=collate):
            num += len(batch["pixel_values"])
        seconds = time.perf_counter() - start
    return {"num": num, "seconds": seconds, "peak_megabytes": memory.peak / 1e6}


CASES = {"images": (write_images, measure_images), "stream": (write_table, measure_stream)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num_images", type=int, default=200_000)
    parser.add_argument("--num_rows", type=int, default=1_000_000)
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)  # a case and its file, in a process of its own
    args = parser.parse_args()
    if args.case:
        name, path = args.case
        print(json.dumps(CASES[name][1](path)))
        return
    for name, num in (("images", args.num_images), ("stream", args.num_rows)):
        with TemporaryDirectory() as folder:
            path = Path(folder) / "data.parquet"
            CASES[name][0](path, num)
            command = [sys.executable, "-m", "benchmarks.loading", "--case", name, str(path)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            found = json.loads(output.splitlines()[-1])
        print(name, ", ".join(f"{key} {value:,.4g}" for key, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
