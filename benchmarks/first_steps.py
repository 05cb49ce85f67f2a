"""Methods whose first steps at a learning rate of 1e-3 leave only black images, and what prevents it.

Run: python -m benchmarks.first_steps. VAMP and WAE-IMQ as in the study `mnist-resnet`, one epoch of 15,000 images with
one thread. Prints the reconstruction loss on 1,000 validation images, in nats.
"""

from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import set_seed

from gae_hub import AutoGAE, GAETrainer, GAETrainingArguments, load_images
from gae_hub.study.runner import prepare_study

SETTINGS: dict[str, dict[str, Any]] = {
    "as the others": {},
    "100 steps of warm-up": {"warmup_steps": 100},
    "rate 3e-4": {"learning_rate": 3e-4},
    "rate 1e-4": {"learning_rate": 1e-4},
    "max_grad_norm=1": {"max_grad_norm": 1},
}


def main():
    torch.set_num_threads(1)
    train, validation = load_images("ylecun/mnist", splits=("train", "validation"))
    train, validation = train.select(0, 15_000), validation.select(0, 1000)
    with TemporaryDirectory() as folder:
        cells = prepare_study("mnist-resnet", folder)[2].cells
        print(f"| | {' | '.join(SETTINGS)} |\n|---|{'---:|' * len(SETTINGS)}")
        for method in ("VAMP", "WAE-IMQ"):
            cell = next(cell for cell in cells if cell.method == method)
            losses = []
            for settings in SETTINGS.values():
                set_seed(cell.seed)
                model = AutoGAE.from_config(AutoGAE.config_class(cell.settings["model"])(**cell.settings["config"]))
                args = GAETrainingArguments(
                    folder, num_train_epochs=1, seed=cell.seed, report_to="none", disable_tqdm=True,
                    overwrite_output_dir=True, **settings,
                )  # fmt: skip
                trainer = GAETrainer(model, args, train_dataset=train, eval_dataset=validation)
                trainer.train()
                losses.append(trainer.evaluate()["eval_reconstruction"])
            print(f"| {method} | {' | '.join(f'{loss:.1f}' for loss in losses)} |", flush=True)


if __name__ == "__main__":
    main()
