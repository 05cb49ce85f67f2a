"""What bounds a step of the MLP's VAE on this processor: python -m benchmarks.limits. Needs the extra `peers`.

The matrix products of 100 images alone, by torch's default and by oneDNN, Adam alone and within a step, the whole step
(fastest and slowest of blocks of 100), the same step in the Trainer (the difference of two epochs and one), a model of
next to no size in both, by one thread; a step of the MAF sampler; and the pages that a step of each library faults in
anew. Medians; docs/speed.md quotes them.
"""

import platform
import subprocess
import sys
from statistics import median
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F

from gae_hub import (
    GAETrainer,
    GAETrainingArguments,
    MAFSampler,
    MAFSamplerConfig,
    VAEConfig,
    VAEModel,
)
from gae_hub.data.datasets import ImageDataset

from .comparison import timed
from .steps import BATCH, SHAPE, our_model, our_step

FAULTS = """
import resource, sys
from benchmarks.steps import our_step, peer_step
step = our_step("vae", "mlp", False) if sys.argv[1] == "ours" else peer_step("vae", "mlp")
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


def parts_of_a_step(model, batch) -> tuple[float, float, float]:
    """Medians of forward, backward and optimizer step, in ms."""
    optimizer, times = torch.optim.Adam(model.train().parameters(), lr=1e-4, fused=True), []
    for _ in range(200):
        outputs = []
        row = [
            timed(lambda: outputs.append(model(batch).loss)),  # noqa: B023 (called at once)
            timed(lambda: outputs[0].backward()),  # noqa: B023
            timed(optimizer.step),
        ]
        optimizer.zero_grad()
        times.append(row)
    return tuple(1000 * median(column) for column in zip(*times[20:], strict=True))


def epochs(model, count: int, data: ImageDataset) -> float:
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
        return timed(GAETrainer(model, arguments, train_dataset=data).train)


def in_the_trainer(model, shape) -> float:
    """ms of a step."""
    data = ImageDataset(torch.randint(0, 256, (20_000, *shape), dtype=torch.uint8))
    epochs(model, 1, data)
    more = median(epochs(model, 2, data) - epochs(model, 1, data) for _ in range(3))
    return 1000 * more / (len(data) // BATCH)


def main():
    print(f"{torch.get_num_threads()} threads, Python {platform.python_version()}, torch {torch.__version__}")
    h, last = torch.rand(500, 512), torch.rand(784, 512)
    rate = 2 * 500 * 512 * 784 / milliseconds(lambda: F.linear(h, last)) / 1e6
    print(f"a product of 500 x 512 x 784: {rate:.0f} GFLOP/s")
    by_onednn = milliseconds(lambda: torch.ops.mkldnn._linear_pointwise(h, last, None, "none", [], ""))
    print(f"the same by oneDNN: {2 * 500 * 512 * 784 / by_onednn / 1e6:.0f} GFLOP/s")
    print(f"the five products of a step: {sum(map(milliseconds, products())):.2f} ms")
    print(f"Adam: {milliseconds(adam()):.2f} ms")
    step = our_step("vae", "mlp", half=False)
    blocks = sorted(milliseconds(step) for _ in range(20))
    print(f"the step: {median(blocks):.2f} ms, in blocks {blocks[0]:.2f} to {blocks[-1]:.2f}")
    print(f"the step in the Trainer: {in_the_trainer(our_model('vae', 'mlp'), SHAPE):.2f} ms")
    small = VAEModel(VAEConfig(input_shape=(1, 8, 8), latent_dim=16))
    maf = MAFSampler(MAFSamplerConfig(latent_dim=16, latent_shape=[16]))
    threads = torch.get_num_threads()
    for count in {threads, 1}:
        torch.set_num_threads(count)
        for name, model, batch in (
            ("the VAE", our_model("vae", "mlp"), torch.rand(BATCH, *SHAPE)),
            ("a VAE of 8 x 8 pixels, one image,", small, torch.rand(1, 1, 8, 8)),
            ("a VAE of 8 x 8 pixels", small, torch.rand(BATCH, 1, 8, 8)),
            ("MAF in 16 dimensions", maf, torch.randn(BATCH, 16)),
        ):
            forward, backward, adam_step = parts_of_a_step(model, batch)
            print(
                f"{name} by {count} thread{'s' * (count > 1)}: forward {forward:.2f}, backward {backward:.2f}, "
                f"Adam {adam_step:.2f} ms"
            )
    torch.set_num_threads(1)
    print(f"a VAE of 8 x 8 pixels in the Trainer by 1 thread: {in_the_trainer(small, (1, 8, 8)):.2f} ms")
    torch.set_num_threads(threads)
    for side in ("ours", "Pythae"):
        command = [sys.executable, "-c", FAULTS, side]
        faults = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]
        print(f"pages that a step faults in, {side}: {faults}")


if __name__ == "__main__":
    main()
