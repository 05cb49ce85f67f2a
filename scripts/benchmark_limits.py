"""What bounds a step of the MLP's VAE on this processor: python scripts/benchmark_limits.py. Needs the extra `peers`.

The matrix products of 100 images alone, Adam alone, the whole step, the same step in the Trainer (the difference of
two epochs and one), and the pages that a step of each library faults in anew. Medians; docs/speed.md quotes them.
"""

import platform
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from speed.comparison import timed  # noqa: E402 (found beside this file)
from speed.steps import BATCH, SHAPE, our_model, our_step  # noqa: E402

from gae_hub import GAETrainer, GAETrainingArguments  # noqa: E402
from gae_hub.data import ImageDataset  # noqa: E402

FAULTS = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from speed.steps import our_step, peer_step
step = our_step("vae", "mlp", False) if sys.argv[2] == "ours" else peer_step("vae", "mlp")
for _ in range(30):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 100)
"""


def milliseconds(work, repeats: int = 100) -> float:
    for _ in range(10):
        work()
    return 1000 * median(timed(work) for _ in range(repeats))


def products():
    """The five products of 784 x 512, forward and backward, of which the first layer has no gradient by its input."""
    x, h, g, gh = (torch.rand(BATCH, n) for n in (784, 512, 784, 512))
    first, last = torch.rand(512, 784), torch.rand(784, 512)
    return [
        lambda: F.linear(x, first),
        lambda: F.linear(h, last),
        lambda: g @ last,
        lambda: g.T @ h,
        lambda: gh.T @ x,
    ]


def adam():
    model = our_model("vae", "mlp").train()
    model(torch.rand(BATCH, *SHAPE)).loss.backward()
    return torch.optim.Adam(model.parameters(), lr=1e-4, fused=True).step


def epochs(count: int, data: ImageDataset) -> float:
    """Seconds of training for so many epochs."""
    with TemporaryDirectory() as folder:
        arguments = GAETrainingArguments(
            folder,
            num_train_epochs=count,
            per_device_train_batch_size=BATCH,
            eval_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        )
        return timed(GAETrainer(our_model("vae", "mlp"), arguments, train_dataset=data).train)


def main():
    print(f"{torch.get_num_threads()} threads, Python {platform.python_version()}, torch {torch.__version__}")
    h, last = torch.rand(500, 512), torch.rand(784, 512)
    rate = 2 * 500 * 512 * 784 / milliseconds(lambda: F.linear(h, last)) / 1e6
    print(f"a product of 500 x 512 x 784: {rate:.0f} GFLOP/s")
    print(f"the five products of a step: {sum(map(milliseconds, products())):.2f} ms")
    print(f"Adam: {milliseconds(adam()):.2f} ms")
    print(f"the step: {milliseconds(our_step('vae', 'mlp', half=False)):.2f} ms")
    data = ImageDataset(torch.randint(0, 256, (20_000, *SHAPE), dtype=torch.uint8))
    epochs(1, data)
    steps = len(data) // BATCH
    more = median(epochs(2, data) - epochs(1, data) for _ in range(3))
    print(f"the step in the Trainer: {1000 * more / steps:.2f} ms")
    for side in ("ours", "Pythae"):
        command = [sys.executable, "-c", FAULTS, str(HERE), side]
        faults = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]
        print(f"pages that a step faults in, {side}: {faults}")


if __name__ == "__main__":
    main()
