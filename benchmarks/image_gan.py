"""Train KL-GAN or VQ-GAN beside the same model without discriminator: python -m benchmarks.image_gan METHOD DATA DIR.

Both trainings have the same images, and the same initial weights of a small encoder and decoder. They are measured on
test images at the last checkpoint before the discriminator starts and at the end, with an extractor that
`gae-hub train-extractor` trained. A run that was stopped continues; `--stop_after` stops one by itself. With a GPU,
`--steps 10000 --bf16` is a long run. LPIPS is part of the loss only with `--perceptual_weight`, which needs the
published weights.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median
from typing import Any, cast

import torch
from transformers import TrainerCallback

from gae_hub import AutoGAE, GAETrainer, GAETrainingArguments, evaluate_model, load_images
from gae_hub.images.grids import save_tiles

NETWORKS = {  # both have latent maps of a quarter of the images' sides
    "conv": {"model_type": "conv", "channels": [32, 64]},
    "diffusers_kl": {"model_type": "diffusers_kl", "block_out_channels": [32, 64, 64], "norm_num_groups": 8},
}
LATENT_CHANNELS = 4


class StepTimes(TrainerCallback):
    """Records the seconds of each step in a file, and stops the training after some minutes."""

    def __init__(self, file: Path, stop_after: float):
        self.file, self.deadline = file, time.perf_counter() + 60 * stop_after
        self.seconds: list[float] = json.loads(file.read_text()) if file.exists() else []

    def on_step_begin(self, args, state, control, **kwargs):
        self.start = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        if args.device.type == "cuda":
            torch.cuda.synchronize()
        del self.seconds[state.global_step - 1 :]  # steps after the checkpoint that was resumed
        self.seconds.append(time.perf_counter() - self.start)
        if time.perf_counter() > self.deadline:
            control.should_save = control.should_training_stop = True

    def on_save(self, args, state, control, **kwargs):
        self.file.write_text(json.dumps(self.seconds))


def build_model(method: str, weight: float, args: argparse.Namespace, input_shape: tuple[int, ...]):
    """A model with seeded weights; `weight` 0 for one without discriminator."""
    fields = {
        "input_shape": input_shape,
        "latent_dim": LATENT_CHANNELS * (1 if method == "vq_gan" else (input_shape[1] // 4) ** 2),
        "latent_layout": "spatial",
        "encoder_config": NETWORKS[args.network],
        "decoder_config": NETWORKS[args.network],
        "output_activation": "identity",
        "perceptual_weight": args.perceptual_weight,
        "discriminator_weight": weight,
        "discriminator_start": args.start,
        "discriminator_channels": [32, 64, 128],
    }
    torch.manual_seed(0)
    model = AutoGAE.from_config(AutoGAE.config_class(method)(**fields))
    if weight:  # the initial weights of the model without discriminator
        model.load_state_dict(build_model(method, 0.0, args, input_shape).state_dict(), strict=False)
    return model


def train(name: str, args: argparse.Namespace, data) -> bool:
    """Train one of the two models, and return whether it is finished."""
    folder = Path(args.output_dir) / name
    model = build_model(args.method, args.weight if name == "gan" else 0.0, args, data.input_shape)
    settings = GAETrainingArguments(
        str(folder),
        max_steps=args.steps,
        per_device_train_batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        adam_beta1=0.5,
        lr_scheduler_type="constant",
        save_strategy="steps",
        save_steps=args.steps // 20,
        save_total_limit=None,
        logging_steps=args.steps // 40,
        bf16=args.bf16,
        disable_tqdm=True,
        report_to="none",
    )
    times = StepTimes(folder.with_name(f"{name}-seconds.json"), args.stop_after)
    trainer = GAETrainer(model, settings, train_dataset=data, callbacks=[times])
    trainer.train(resume_from_checkpoint="auto")
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    (folder.with_name(f"{name}-log.json")).write_text(json.dumps(log, indent=1))
    print(name, "step", trainer.state.global_step, "restarts", trainer.guard.events, flush=True)
    return trainer.state.global_step >= args.steps


def measure(name: str, step: int, args: argparse.Namespace, test) -> dict[str, float]:
    """PSNR and FID of reconstructions at a checkpoint, and a picture of images and reconstructions."""
    folder = Path(args.output_dir)
    model = AutoGAE.from_pretrained(folder / name / f"checkpoint-{step}")
    found = evaluate_model(model, test, ["psnr", "reconstruction_fid"], extractor=args.extractor)
    images = test[:12].float() / 255
    pairs = torch.cat([images, model.reconstruct(images).clamp(0, 1)])
    save_tiles(pairs, 12, folder / f"{name}-{step}.png")
    return {key: round(float(value), 3) for key, value in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=("kl_gan", "vq_gan"))
    parser.add_argument("dataset")
    parser.add_argument("output_dir")
    parser.add_argument("--extractor", required=True, help="folder of a trained extractor")
    parser.add_argument("--network", choices=NETWORKS, default="diffusers_kl")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--start", type=float, default=0.25, help="share of the steps before the discriminator")
    parser.add_argument("--weight", type=float, default=0.5, help="discriminator_weight")
    parser.add_argument("--perceptual_weight", type=float, default=0.0)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--learning_rate", type=float, default=5e-4)
    parser.add_argument("--num_test_images", type=int, default=2000)
    parser.add_argument("--stop_after", type=float, default=1e9, help="minutes of training in this call")
    parser.add_argument("--bf16", action="store_true")
    args = parser.parse_args()
    data = load_images(args.dataset, "train")
    start = int(args.start * args.steps)
    Path(args.output_dir).mkdir(parents=True, exist_ok=True)
    if not all([train(name, args, data) for name in ("gan", "plain")]):
        return
    test = cast(Any, load_images(args.dataset, "test")).pixel_values[: args.num_test_images]
    rows = []
    for name in ("gan", "plain"):
        seconds = json.loads((Path(args.output_dir) / f"{name}-seconds.json").read_text())
        for step, times in ((start, seconds[:start]), (args.steps, seconds[start:])):
            row = {"model": name, "step": step, "ms": round(1000 * median(times), 1)}
            rows.append({**row, **measure(name, step, args, test)})
            print(rows[-1], flush=True)
    (Path(args.output_dir) / "table.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
