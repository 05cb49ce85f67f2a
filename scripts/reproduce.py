"""Repeat published experiments on binary MNIST with a CPU's budget: train, measure log p(x), and write the cards.

    python scripts/reproduce.py vae                          # train, measure, and write model_cards/vae
    python scripts/reproduce.py vae --num_train_epochs 500   # train for longer than the row of ROWS says
    python scripts/reproduce.py vae --card_only              # write the card again from the last measurement

Networks, latent dimensions, draws and likelihood are the original ones. The budget is smaller: the originals train for
500 to 3,280 epochs, these rows for 3 to 60. The card states the budget beside each number. All numbers are measured.
"""

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm
from transformers import PreTrainedConfig, set_seed

from gae_hub import AutoGAE, GAETrainer, GAETrainingArguments, load_images
from gae_hub.data.datasets import BatchedDataset, InMemoryDataset
from gae_hub.data.loading import iterate_batches
from gae_hub.hub.cards.facts import load_facts
from gae_hub.hub.cards.merging import BEGIN
from gae_hub.hub.cards.results import record_results
from gae_hub.training.run_info import environment

NAME = "ylecun/mnist"
OUTPUTS, CARDS = Path("outputs/reproduce"), Path(__file__).parents[1] / "model_cards"
TANH = {"model_type": "mlp", "hidden_sizes": [200, 200], "activation": "tanh"}


@dataclass(frozen=True)
class Row:
    """An experiment of a paper.

    Args:
        method: name of the method.
        paper: the paper's number, as quoted by Pythae's page on reproducibility.
        pythae: the number that this page reports for Pythae.
        original: budget of the original.
        num_train_epochs: our budget, in epochs.
        fields: fields of the model's config.
        encoder, decoder: configs of the networks.
        dynamic: binarise an image anew each time it is used, instead of once.
        num_samples: importance samples per image for log p(x).
        arguments: training arguments.
    """

    method: str
    paper: str
    pythae: str
    original: str
    num_train_epochs: int
    fields: dict[str, Any]
    encoder: dict[str, Any] = field(default_factory=lambda: TANH)
    decoder: dict[str, Any] = field(default_factory=lambda: TANH)
    dynamic: bool = False
    num_samples: int = 500
    arguments: dict[str, Any] = field(default_factory=dict)


iwae_row = partial(  # the setting of the IWAE paper, which the later papers use as well
    Row,
    original="3,280 epochs, Adam 1e-3 falling in 8 steps, batches of 20, 5,000 samples for log p(x)",
    num_train_epochs=3,
    arguments={"per_device_train_batch_size": 20, "learning_rate": 1e-3, "adam_epsilon": 1e-4},
)
EIGHT_BY_EIGHT = {"latent_dim": 50, "num_samples": 8, "num_estimates": 8}
ROWS = {
    "vae": Row(
        method="vae",
        paper="89.9 (Rezende & Mohamed, 2015)",
        pythae="89.78",
        original="500 epochs, Adam 1e-4 falling in steps, batches of 100, 200 samples for log p(x)",
        num_train_epochs=60,
        fields={"latent_dim": 40},
        encoder={"model_type": "mlp", "hidden_sizes": [400]},
        decoder={"model_type": "mlp", "hidden_sizes": [400]},
        num_samples=200,
        arguments={"learning_rate": 1e-3, "lr_scheduler_type": "cosine"},
    ),
    "iwae": iwae_row(
        method="iwae",
        paper="87.1 (Burda et al., 2016)",
        pythae="86.82",
        fields={"latent_dim": 50, "num_samples": 50},
    ),
    "ciwae": iwae_row(
        method="ciwae",
        paper="84.57 +- 0.09 (Rainforth et al., 2018)",
        pythae="84.74",
        fields={"latent_dim": 50, "num_samples": 64, "elbo_weight": 0.05},
        dynamic=True,
    ),
    "miwae": iwae_row(
        method="miwae",
        paper="84.97 +- 0.10 (Rainforth et al., 2018)",
        pythae="85.09",
        fields=EIGHT_BY_EIGHT,
        dynamic=True,
    ),
    "piwae": iwae_row(
        method="piwae",
        paper="84.46 +- 0.06 (Rainforth et al., 2018)",
        pythae="84.58",
        fields=EIGHT_BY_EIGHT,
        dynamic=True,
    ),
    "svae": Row(
        method="svae",
        paper="93.16 +- 0.31 (Davidson et al., 2018)",
        pythae="93.13",
        original="500 epochs on 60,000 images, Adam 1e-3, batches of 64, 500 samples for log p(x)",
        num_train_epochs=30,
        fields={"latent_dim": 11},
        encoder={"model_type": "mlp", "hidden_sizes": [256, 128]},
        decoder={"model_type": "mlp", "hidden_sizes": [128, 256]},
        dynamic=True,
        arguments={"per_device_train_batch_size": 64, "learning_rate": 1e-3, "lr_scheduler_type": "cosine"},
    ),
}


class DynamicallyBinarised(BatchedDataset):
    """Binary images that are drawn anew at each access. Grey levels are the probabilities of white."""

    def __init__(self, images: InMemoryDataset):
        self.images, self.name, self.split, self.input_shape = images, images.name, images.split, images.input_shape

    def __len__(self) -> int:
        return len(self.images)

    def read(self, indices: Sequence[int]) -> torch.Tensor:
        return torch.bernoulli(self.images.read(indices))


def binarise_once(images: InMemoryDataset, seed: int) -> InMemoryDataset:
    """Return binary images that are drawn once and depend on the seed only. Grey levels are probabilities of white."""
    draws = torch.rand(images.pixel_values.shape, generator=torch.Generator().manual_seed(seed))
    pixels = (draws < images.pixel_values.float() / 255).to(torch.uint8) * 255
    return InMemoryDataset(pixels, images.labels, images.name, images.split)


def make_config(row: Row) -> PreTrainedConfig:
    """Return the config of a row's model."""
    return AutoGAE.config_class(row.method)(
        input_shape=(1, 28, 28),
        likelihood="bernoulli",
        encoder_config=dict(row.encoder),
        decoder_config=dict(row.decoder),
        **row.fields,
    )


def train_and_measure(name: str, row: Row, dataset: str, num_train_epochs: int, num_samples: int):
    """Write the trained model with its training.json, and measured.json, to outputs/reproduce/<name>."""
    folder = OUTPUTS / name
    train, validation, test = load_images(dataset, ("train", "validation", "test"))
    # fixed seeds make validation and test comparable between runs
    validation, test = binarise_once(validation, seed=1), binarise_once(test, seed=2)
    train = DynamicallyBinarised(train) if row.dynamic else binarise_once(train, seed=0)
    set_seed(0)
    config = make_config(row)
    args = GAETrainingArguments(
        str(folder),
        num_train_epochs=num_train_epochs,
        logging_steps=250,
        seed=0,
        overwrite_output_dir=True,
        **row.arguments,
    )
    trainer = GAETrainer(AutoGAE.from_config(config), args, train_dataset=train, eval_dataset=validation)
    trainer.train()
    trainer.save_model()
    start, generator = time.perf_counter(), torch.Generator().manual_seed(0)
    batches = tqdm(iterate_batches(test, 20), total=-(-len(test) // 20), desc="log p(x)")
    nats = torch.cat([trainer.model.log_likelihood(x, num_samples, generator, 10_000) for x in batches])
    measured = {
        "nll": round(-nats.mean().item(), 3),
        "nll_standard_error": round(nats.std().item() / len(nats) ** 0.5, 3),
        "num_images": len(nats),
        "num_samples": num_samples,
        "epochs": num_train_epochs,
        "train_seconds": trainer.plain_model.facts["seconds"],
        "measure_seconds": round(time.perf_counter() - start, 1),
        "dataset": dataset,
        "environment": environment(),
    }
    (folder / "measured.json").write_text(json.dumps(measured, indent=1), encoding="utf-8")
    print(name, measured)


def write_card(name: str, row: Row, dataset: str):
    """Write model_cards/<name>: the card with our number beside the paper's, its pictures, and measured.json."""
    folder, target = OUTPUTS / name, CARDS / name
    measured = json.loads((folder / "measured.json").read_text(encoding="utf-8"))
    model = AutoGAE.from_pretrained(folder)
    examples = binarise_once(load_images(dataset, "validation"), seed=1)
    model.examples = examples.__getitems__(range(500))["pixel_values"]
    model.facts = {**load_facts(model), "dataset": measured["dataset"], "environment": measured["environment"]}
    passport = {
        "estimator": "importance sampling from the posterior",
        "samples": measured["num_samples"],
        "images": measured["num_images"],
        "standard error over images": measured["nll_standard_error"],
        "binarised": "once, seed 2",
        "seed": 0,
    }
    results = {
        "dataset": measured["dataset"],
        "split": "test",
        "metrics": {"nll": measured["nll"]},
        "passports": {"nll": passport},
    }
    shutil.rmtree(folder / "assets", ignore_errors=True)
    (folder / "README.md").unlink(missing_ok=True)
    record_results(model, folder, results)
    card = (folder / "README.md").read_text(encoding="utf-8")
    card = card.replace(BEGIN, f"{reproduction(name, row, measured)}\n\n{BEGIN}")
    card = card.replace(f'"{name}"', f'"outputs/reproduce/{name}"')
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder / "assets", target / "assets")
    (target / "README.md").write_text(card, encoding="utf-8")
    shutil.copy(folder / "measured.json", target)


def reproduction(name: str, row: Row, measured: dict[str, Any]) -> str:
    """Return the card's section with the numbers of the paper, of Pythae and of this run, and their budgets."""
    options = {"num_train_epochs": measured["epochs"], "num_samples": measured["num_samples"]}
    flags = "".join(f" --{flag} {value}" for flag, value in options.items() if value != getattr(row, flag))
    if measured["dataset"] != NAME:
        flags += f" --dataset {measured['dataset']}"
    training_images = "anew each time they are used" if row.dynamic else "once, with seed 0"
    budget = (
        f"{measured['epochs']} epochs, {measured['train_seconds']:.0f} s ({measured['environment']['device']}), "
        f"{measured['num_samples']} samples for log p(x)"
    )
    return f"""\
# {name.upper()} on binary MNIST

| | -log p(x), nats per image | budget |
|---|---|---|
| paper, as quoted by Pythae's page on reproducibility | {row.paper} | |
| Pythae, from the same page | {row.pythae} | {row.original} |
| this model | **{measured["nll"]:.2f}** +- {measured["nll_standard_error"]:.2f} | {budget} |

The network is the original's, but the training is much shorter: the number describes this run, not the method.
Training images are binarised {training_images}, test images once, with seed 2.
The numbers of the paper and of Pythae are from other draws.
+- is the standard error over {measured["num_images"]:,} test images.

```
python scripts/reproduce.py {name}{flags}
```

The command writes the model to `outputs/reproduce/{name}`, from where the code below loads it."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="+", choices=sorted(ROWS), help="experiments to reproduce")
    parser.add_argument("--dataset", default=NAME, help="MNIST's name on the Hub, or a folder with the same layout")
    parser.add_argument("--num_train_epochs", type=int, help="epochs, instead of the row's number")
    parser.add_argument("--num_samples", type=int, help="importance samples per image, instead of the row's number")
    parser.add_argument("--card_only", action="store_true", help="write the card again from the last measurement")
    args = parser.parse_args()
    for name in args.rows:
        row = ROWS[name]
        if not args.card_only:
            epochs = args.num_train_epochs or row.num_train_epochs
            train_and_measure(name, row, args.dataset, epochs, args.num_samples or row.num_samples)
        write_card(name, row, args.dataset)


if __name__ == "__main__":
    main()
