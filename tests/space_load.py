"""The load that a Space bears, measured: 20 visitors at once, and the memory after 1,000 requests.

python tests/space_load.py FOLDER [--visitors 20] [--steps 200] [--requests 1000]

FOLDER is a Space that `gae-hub space MODEL --output_dir FOLDER` wrote. It is served in a process of its own. Each
visitor clicks through a script of steps without a pause. It fails if an answer takes more than 2 seconds, or if the
memory of the server grows by more than 5 % over the second half of the requests.
"""

import argparse
import os
import sys
import threading
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent / "spaces"))

LIMIT_SECONDS = 2.0
LIMIT_GROWTH = 0.05
LIMIT_BYTES = 32 << 20  # what an allocator may keep


def script(step: int) -> tuple[str, dict]:
    """A visitor's request at one step."""
    values = [0.02 * (step % 50) - 0.5, 0.5]
    return [
        ("/sample", {"sampler": "prior", "seed": step, "num_samples": 16}),
        ("/explore", {"values": values}),
        ("/explore", {"values": values[::-1]}),
        ("/decode_point", {"x": 0.01 * (step % 100), "y": 0.0}),
        ("/reconstruct", {"image": step % 10}),
        ("/vary", {"sampler": "prior", "seed": step, "num_samples": 16, "index": step % 16}),
        ("/explore", {"values": values}),
        ("/interpolate", {"start": step % 10, "end": (step + 3) % 10}),
    ][step % 8]


def visit(address: str, first: int, num_steps: int, seconds: list[tuple[float, str]], errors: list[str]):
    """Make requests one after the other, and note how long each took."""
    from gradio_client import Client

    try:
        client = Client(address, verbose=False)
    except Exception as error:  # the visitor is counted as failed
        errors.append(f"no connection: {error}")
        return
    for step in range(first, first + num_steps):
        name, arguments = script(step)
        start = time.perf_counter()
        try:
            client.predict(**arguments, api_name=name)
        except Exception as error:  # a failure is counted, and the others go on
            errors.append(f"{name}: {error}")
        seconds.append((time.perf_counter() - start, name))


def summarize(seconds: list[tuple[float, str]]):
    """Print the median, the 95th percentile and the maximum of each kind of request. Returns the maximum of all."""
    for name in sorted({name for _, name in seconds}):
        found = sorted(taken for taken, other in seconds if other == name)
        median, high = found[len(found) // 2], found[int(0.95 * (len(found) - 1))]
        print(f"{name:14} {len(found):6} requests, median {1e3 * median:7.1f} ms, 95 % {1e3 * high:7.1f} ms, "
              f"max {1e3 * found[-1]:7.1f} ms")  # fmt: skip
    return max(taken for taken, _ in seconds)


def main() -> int:
    from conftest import serve

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--visitors", type=int, default=20)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--requests", type=int, default=1000)
    args = parser.parse_args()
    os.environ["NO_PROXY"] = "127.0.0.1,localhost"
    server = serve(args.folder)
    with server as address:
        process, seconds, errors = psutil.Process(server.process.pid), [], []
        print(f"{args.visitors} visitors at once, {args.steps} steps each")
        threads = [
            threading.Thread(target=visit, args=(address, 7 * number, args.steps, seconds, errors))
            for number in range(args.visitors)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        slowest = summarize(seconds)
        print(f"memory over {args.requests} requests of one visitor")
        memory = []
        for part in range(4):
            visit(address, part * args.requests // 4, args.requests // 4, [], errors)
            memory.append(process.memory_info().rss)
            print(f"  after {(part + 1) * args.requests // 4:5}: {memory[-1] / 2**20:.1f} MB")
    grown = memory[-1] - memory[1]
    failures = [*errors[:3]]
    if slowest > LIMIT_SECONDS:
        failures.append(f"an answer took {slowest:.2f} s, more than {LIMIT_SECONDS:g} s")
    if grown > max(LIMIT_GROWTH * memory[1], LIMIT_BYTES):
        failures.append(f"the memory grew by {grown / 2**20:.1f} MB over the second half")
    print("\n".join(failures) or "passed")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
