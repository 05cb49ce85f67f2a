"""Measure what limits a step of the MLP's VAE on this CPU: python -m benchmarks.limits. Needs the extra `peers`.

It prints medians of: the matrix products of 100 images alone, by torch's default and by oneDNN; Adam alone and within
a step; the whole step (fastest and slowest of blocks of 100); the step in `GAETrainer`, as the difference between two
epochs and one; steps of a very small VAE and of the MAF sampler, with all threads and with one; and the page faults of
a step in each library. benchmarks/README.md quotes these numbers.
"""

import platform
import subprocess
import sys
from collections.abc import Callable
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F

from gae_hub import GAETrainer, GAETrainingArguments, MAFSampler, MAFSamplerConfig, VAEConfig, VAEModel
from gae_hub.data.datasets import InMemoryDataset

from .comparison import timed
from .models import BATCH_SIZE, INPUT_SHAPE, our_model
from .steps import our_step

COUNT_PAGE_FAULTS = """
import resource
from benchmarks.{module} import {function}
step = {function}("vae", "mlp")
for _ in range(30):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 100)
"""
STEPS = {  # label: module and function that make a step
    "gae_hub": ("steps", "our_step"),
    "gae_hub with keep_freed_memory": ("memory", "step_with_kept_memory"),
    "Pythae": ("steps", "pythae_step"),
}


def milliseconds(work: Callable[[], Any], num_calls: int = 100) -> float:
    """Return the median time of a call, after ten calls that do not count."""
    for _ in range(10):
        work()
    return 1000 * median(timed(work) for _ in range(num_calls))


def matrix_products() -> list[Callable[[], torch.Tensor]]:
    """The five products of 784 x 512 in a step: the first layer has no gradient with respect to its input."""
    x, h, grad_x, grad_h = (torch.rand(BATCH_SIZE, n) for n in (784, 512, 784, 512))
    first, last = torch.rand(512, 784), torch.rand(784, 512)
    return [
        lambda: F.linear(x, first),
        lambda: F.linear(h, last),
        lambda: grad_x @ last,
        lambda: grad_x.T @ h,
        lambda: grad_h.T @ x,
    ]


def adam_step() -> Callable[[], Any]:
    """Return the step of a fused Adam for the MLP's VAE, with gradients in place."""
    model = our_model("vae", "mlp").train()
    model(torch.rand(BATCH_SIZE, *INPUT_SHAPE)).loss.backward()
    return torch.optim.Adam(model.parameters(), lr=1e-4, fused=True).step


def time_parts(model: torch.nn.Module, batch: torch.Tensor, num_steps: int = 200) -> list[float]:
    """Return the median milliseconds of forward pass, backward pass and optimizer within a training step."""
    optimizer = torch.optim.Adam(model.train().parameters(), lr=1e-4, fused=True)
    loss = torch.empty(0)

    def forward():
        nonlocal loss
        loss = model(batch).loss

    times = []
    for _ in range(num_steps):
        times.append([timed(forward), timed(lambda: loss.backward()), timed(optimizer.step)])
        optimizer.zero_grad()
    return [1000 * median(column) for column in zip(*times[20:], strict=True)]


def time_epochs(model: torch.nn.Module, num_epochs: int, data: InMemoryDataset) -> float:
    """Return the seconds that training for `num_epochs` epochs takes."""
    with TemporaryDirectory() as folder:
        arguments = GAETrainingArguments(
            folder,
            num_train_epochs=num_epochs,
            per_device_train_batch_size=BATCH_SIZE,
            eval_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        )
        return timed(GAETrainer(model, arguments, train_dataset=data).train)


def time_step_in_trainer(model: torch.nn.Module, input_shape: tuple[int, ...]) -> float:
    """Return the milliseconds that one more step adds to a training."""
    data = InMemoryDataset(torch.randint(0, 256, (20_000, *input_shape), dtype=torch.uint8))
    time_epochs(model, 1, data)
    one_epoch = median(time_epochs(model, 2, data) - time_epochs(model, 1, data) for _ in range(3))
    return 1000 * one_epoch / (len(data) // BATCH_SIZE)


def count_page_faults(module: str, function: str) -> str:
    """Return the page faults per step, counted in a new process."""
    code = COUNT_PAGE_FAULTS.format(module=module, function=function)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()[-1]


def report_products():
    h, last = torch.rand(500, 512), torch.rand(784, 512)
    operations = 2 * 500 * 512 * 784
    default = milliseconds(lambda: F.linear(h, last))
    print(f"product of 500 x 512 x 784: {operations / default / 1e6:.0f} GFLOP/s")
    onednn = milliseconds(lambda: torch.ops.mkldnn._linear_pointwise(h, last, None, "none", [], ""))
    print(f"the same by oneDNN: {operations / onednn / 1e6:.0f} GFLOP/s")
    print(f"the five products of a step: {sum(map(milliseconds, matrix_products())):.2f} ms")


def report_steps():
    print(f"Adam: {milliseconds(adam_step()):.2f} ms")
    step = our_step("vae", "mlp")
    blocks = sorted(milliseconds(step) for _ in range(20))
    print(f"step: {median(blocks):.2f} ms, blocks of 100 take {blocks[0]:.2f} to {blocks[-1]:.2f} ms a step")
    print(f"step in GAETrainer: {time_step_in_trainer(our_model('vae', 'mlp'), INPUT_SHAPE):.2f} ms")


def report_threads():
    small = VAEModel(VAEConfig(input_shape=(1, 8, 8), latent_dim=16))
    maf = MAFSampler(MAFSamplerConfig(latent_dim=16, latent_shape=[16]))
    num_threads = torch.get_num_threads()
    for count in sorted({num_threads, 1}, reverse=True):
        torch.set_num_threads(count)
        for name, model, batch in (
            ("VAE of 28 x 28 pixels", our_model("vae", "mlp"), torch.rand(BATCH_SIZE, *INPUT_SHAPE)),
            ("VAE of 8 x 8 pixels, one image", small, torch.rand(1, 1, 8, 8)),
            ("VAE of 8 x 8 pixels", small, torch.rand(BATCH_SIZE, 1, 8, 8)),
            ("MAF in 16 dimensions", maf, torch.randn(BATCH_SIZE, 16)),
        ):
            forward, backward, adam = time_parts(model, batch)
            print(
                f"{name}, {count} thread{'s' * (count > 1)}: "
                f"forward {forward:.2f}, backward {backward:.2f}, Adam {adam:.2f} ms"
            )
    torch.set_num_threads(1)
    print(f"VAE of 8 x 8 pixels in GAETrainer, 1 thread: {time_step_in_trainer(small, (1, 8, 8)):.2f} ms")
    torch.set_num_threads(num_threads)


def report_page_faults():
    for label, made_by in STEPS.items():
        print(f"page faults of a step, {label}: {count_page_faults(*made_by)}")


def main():
    print(f"{torch.get_num_threads()} threads, Python {platform.python_version()}, torch {torch.__version__}")
    report_products()
    report_steps()
    report_threads()
    report_page_faults()


if __name__ == "__main__":
    main()
