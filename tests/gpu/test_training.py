"""The trainer on a GPU: data on the device, a divergence guard that does not wait, resuming, several GPUs."""

import subprocess
import sys

import pytest
import torch
from cases import VAE, images
from child_processes import TESTS, child_environment
from device import DEVICE, no_host_sync
from safetensors.torch import load_file

from gae_hub import GAETrainer, GAETrainingArguments, load_images
from gae_hub.training.divergence import make_divergence_guard

pytestmark = pytest.mark.gpu


def arguments(folder, **fields):
    fields = {"num_train_epochs": 2, "disable_tqdm": True, "report_to": "none", "logging_steps": 4, **fields}
    return GAETrainingArguments(str(folder), use_cpu=DEVICE.type == "cpu", **fields)


def test_images_in_memory_are_copied_to_the_device_once(tmp_path, digits):
    train, _ = digits
    resident = train.place_on(DEVICE)
    if DEVICE.type == "cuda":
        assert resident is train.place_on(DEVICE) and resident.pixel_values.device.type == "cuda"
        torch.testing.assert_close(resident[3]["pixel_values"].cpu(), train[3]["pixel_values"])
    trainer = GAETrainer(VAE.build(), arguments(tmp_path), train_dataset=train, eval_dataset=digits[1])
    assert trainer.get_train_dataloader().dataset.pixel_values.device.type == DEVICE.type


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_training_and_resuming(tmp_path, digits, precision):
    """A run that is resumed ends at the weights of an uninterrupted run."""
    flags = {precision: True} if precision != "fp32" and DEVICE.type == "cuda" else {}
    ends = []
    for name, steps in (("whole", (28,)), ("parts", (14, 28))):
        for number, max_steps in enumerate(steps):
            trainer = GAETrainer(
                VAE.build(),
                arguments(tmp_path / name, max_steps=max_steps, eval_strategy="no", save_steps=14, **flags),
                train_dataset=digits[0],
            )
            trainer.train(resume_from_checkpoint=number > 0)
        ends.append({key: value.cpu() for key, value in trainer.model.state_dict().items()})
    torch.testing.assert_close(ends[1], ends[0])
    assert all(value.isfinite().all() for value in ends[0].values())


def test_the_guard_does_not_wait_for_the_device():
    guard = make_divergence_guard(100.0, 3, DEVICE)
    losses = torch.rand(40, device=DEVICE) + 1
    with no_host_sync():
        for loss in losses.unbind():
            guard.observe_loss(loss, {"kl": loss})
            guard.observe_gradient(loss)
            guard.end_step()
    assert not guard.diverged
    guard.observe_loss(losses[0] * float("inf"), {"kl": losses[0]})
    guard.observe_gradient(losses[0])
    guard.end_step()
    assert guard.diverged


def test_divergence_is_undone(tmp_path, digits):
    class Breaking(type(VAE.build())):
        steps = 0

        def forward(self, pixel_values, return_loss=True, generator=None):
            output = super().forward(pixel_values, return_loss, generator)
            self.steps += self.training
            if self.training and self.steps == 9:
                output.loss = output.loss * float("nan")
            return output

    model = Breaking(VAE.build().config)
    trainer = GAETrainer(model, arguments(tmp_path, eval_strategy="no", save_strategy="no"), train_dataset=digits[0])
    trainer.train()
    assert [event["term"] for event in trainer.guard.events] == ["loss"]
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.slow
def test_two_gpus_train_one_model(tmp_path):
    """DDP with NCCL: loss and gradients of one process with the whole batch."""
    from two_processes import SETTINGS, step

    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    process = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        + [str(TESTS / "two_processes.py"), str(tmp_path), "nccl"],
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    for setting, (case, _) in SETTINGS.items():
        if case.id != "factor_vae":  # its statistic is of one process's batch
            found = load_file(tmp_path / f"{setting}.0.safetensors")
            for name, value in step(setting, 0, 1).items():
                torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-8)


def test_inference_from_images_on_the_cpu_says_what_to_do():
    model = VAE.build().to(DEVICE)
    if DEVICE.type == "cuda":
        with pytest.raises(RuntimeError, match="device"):
            model.embed(images(4))
    assert model.embed(images(4).to(DEVICE)).device.type == DEVICE.type


def test_streams_of_batches_end_on_the_device(digits):
    from gae_hub import embed_dataset

    model = VAE.build().to(DEVICE)
    found = embed_dataset(model, load_images("digits", "test"), progress=False, cache=False)
    assert found.device.type == DEVICE.type and found.shape == (200, 3)
