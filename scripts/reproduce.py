"""Train the originals' models on binary MNIST at a budget that a CPU has, measure them, and write their cards.

    python scripts/reproduce.py vae                           # one row of ROWS: train, measure, write model_cards/vae
    python scripts/reproduce.py vae --num_train_epochs 500    # another budget than the row's
    python scripts/reproduce.py vae --card_only               # rewrite the card from the stored measurements

Networks, latents, draws and likelihood are those of the originals; the budget is not: the originals train for 80 to
3,280 epochs, these rows for a few, which the card says beside each number. Nothing is written that was not measured.
"""

import argparse
import json
import shutil
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from tqdm.auto import tqdm
from transformers import set_seed

from gae_hub import AutoGAE, GAETrainer, GAETrainingArguments, load_images
from gae_hub.data.datasets import ImageDataset
from gae_hub.data.loading import iterate_batches
from gae_hub.hub.cards.render import BEGIN, facts_of, record_results
from gae_hub.training.run_info import environment

NAME = "ylecun/mnist"
OUTPUTS, CARDS = Path("outputs/reproduce"), Path(__file__).parents[1] / "model_cards"
TANH = {"model_type": "mlp", "hidden_sizes": [200, 200], "activation": "tanh"}


@dataclass(frozen=True)
class Row:
    """A model of a paper, the number that the paper reports, and how the original was trained."""

    method: str
    paper: str  # the paper's number, as Pythae's page on reproducibility quotes it
    pythae: str  # the number that this page reports for its own run
    original: str  # the original's budget
    epochs: int  # ours
    fields: dict[str, Any]
    encoder: dict = field(default_factory=lambda: TANH)
    decoder: dict = field(default_factory=lambda: TANH)
    dynamic: bool = False  # each image is binarised anew each time it is seen, in place of once
    num_samples: int = 500  # of the importance sampling that measures log p(x)
    arguments: dict[str, Any] = field(default_factory=dict)


of_iwae = partial(  # the experiments of IWAE and of those that followed it
    Row,
    original="3,280 epochs, Adam 1e-3 falling in 8 steps, batches of 20, 5,000 samples for log p(x)",
    epochs=3,
    arguments={"per_device_train_batch_size": 20, "learning_rate": 1e-3, "adam_epsilon": 1e-4},
)
EIGHT_BY_EIGHT = {"latent_dim": 50, "num_samples": 8, "num_estimates": 8}
ROWS = {
    "vae": Row(
        method="vae",
        paper="89.9 (Rezende & Mohamed, 2015)",
        pythae="89.78",
        original="500 epochs, Adam 1e-4 falling in steps, batches of 100, 200 samples for log p(x)",
        epochs=60,
        fields={"latent_dim": 40},
        encoder={"model_type": "mlp", "hidden_sizes": [400]},
        decoder={"model_type": "mlp", "hidden_sizes": [400]},
        num_samples=200,
        arguments={"learning_rate": 1e-3, "lr_scheduler_type": "cosine"},
    ),
    "iwae": of_iwae(
        method="iwae",
        paper="87.1 (Burda et al., 2016)",
        pythae="86.82",
        fields={"latent_dim": 50, "num_samples": 50},
    ),
    "ciwae": of_iwae(
        method="ciwae",
        paper="84.57 +- 0.09 (Rainforth et al., 2018)",
        pythae="84.74",
        fields={"latent_dim": 50, "num_samples": 64, "beta": 0.05},
        dynamic=True,
    ),
    "miwae": of_iwae(
        method="miwae",
        paper="84.97 +- 0.10 (Rainforth et al., 2018)",
        pythae="85.09",
        fields=EIGHT_BY_EIGHT,
        dynamic=True,
    ),
    "piwae": of_iwae(
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
        epochs=30,
        fields={"latent_dim": 11},
        encoder={"model_type": "mlp", "hidden_sizes": [256, 128]},
        decoder={"model_type": "mlp", "hidden_sizes": [128, 256]},
        dynamic=True,
        arguments={"per_device_train_batch_size": 64, "learning_rate": 1e-3, "lr_scheduler_type": "cosine"},
    ),
}


class Binarised(Dataset):
    """Images drawn anew, each time they are asked for, each pixel with its grey level as the chance of white."""

    def __init__(self, images: ImageDataset):
        self.images, self.name, self.split, self.input_shape = images, images.name, images.split, images.input_shape

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, indices) -> dict[str, torch.Tensor]:
        return {"pixel_values": torch.bernoulli(self.images.__getitems__(indices)["pixel_values"])}


def binarised_once(images: ImageDataset, seed: int) -> ImageDataset:
    """The same draw for everybody who uses this seed."""
    draws = torch.rand(images.pixel_values.shape, generator=torch.Generator().manual_seed(seed))
    pixels = (draws < images.pixel_values.float() / 255).to(torch.uint8) * 255
    return ImageDataset(pixels, images.labels, images.name, images.split)


def run(name: str, row: Row, dataset: str, epochs: int, num_samples: int):
    """Train, measure, and leave model, training.json and measured.json in outputs/reproduce/<name>."""
    folder = OUTPUTS / name
    train, validation, test = load_images(dataset, ("train", "validation", "test"))
    # fixed draws for validation and test, so that the numbers of two runs can be compared
    validation, test = binarised_once(validation, seed=1), binarised_once(test, seed=2)
    train = Binarised(train) if row.dynamic else binarised_once(train, seed=0)
    set_seed(0)
    config = AutoGAE.config_class(row.method)(
        input_shape=(1, 28, 28),
        likelihood="bernoulli",
        encoder_config=dict(row.encoder),
        decoder_config=dict(row.decoder),
        **row.fields,
    )
    args = GAETrainingArguments(
        str(folder), num_train_epochs=epochs, logging_steps=250, seed=0, overwrite_output_dir=True, **row.arguments
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
        "epochs": epochs,
        "train_seconds": trainer.plain_model.facts["seconds"],
        "measure_seconds": round(time.perf_counter() - start, 1),
    }
    (folder / "measured.json").write_text(json.dumps(measured, indent=1), encoding="utf-8")
    print(name, measured)


def write_card(name: str, row: Row, dataset: str):
    """model_cards/<name>: the card with the measured numbers beside the paper's, its pictures, and measured.json."""
    folder, target = OUTPUTS / name, CARDS / name
    measured = json.loads((folder / "measured.json").read_text(encoding="utf-8"))
    model = AutoGAE.from_pretrained(folder)
    examples = binarised_once(load_images(dataset, "validation"), seed=1)
    model.examples = examples.__getitems__(range(500))["pixel_values"]
    model.facts = {**facts_of(model), "dataset": NAME, "environment": environment()}
    passport = {
        "estimator": "importance sampling from the posterior",
        "samples": measured["num_samples"],
        "images": measured["num_images"],
        "standard error over images": measured["nll_standard_error"],
        "binarised": "once, seed 2",
        "seed": 0,
    }
    results = {"dataset": NAME, "split": "test", "metrics": {"nll": measured["nll"]}, "passports": {"nll": passport}}
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
    """The paper's number, that of Pythae, and ours, with what each took."""
    flags = {"epochs": "num_train_epochs", "num_samples": "num_samples"}
    given = "".join(
        f" --{flag} {measured[name]}" for name, flag in flags.items() if measured[name] != getattr(row, name)
    )
    times = "anew each time they are seen" if row.dynamic else "once, by seed 0"
    here = (
        f"{measured['epochs']} epochs, {measured['train_seconds']:.0f} s on one core of a busy CPU, "
        f"{measured['num_samples']} samples for log p(x)"
    )
    return f"""\
# {name.upper()} on binary MNIST

| | -log p(x), nats per image | with |
|---|---|---|
| the paper, as Pythae's page on reproducibility quotes it | {row.paper} | |
| Pythae, there | {row.pythae} | {row.original} |
| here | **{measured["nll"]:.2f}** +- {measured["nll_standard_error"]:.2f} | {here} |

The network is the original's, the budget is not: this is the number of a short run, and no claim about the method.
Training images are binarised {times}, those of the test once, by seed 2; the numbers above are of other draws. The
+- is the standard error over {measured["num_images"]:,} test images.

```
python scripts/reproduce.py {name}{given}
```"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="+", choices=sorted(ROWS))
    parser.add_argument("--dataset", default=NAME, help="MNIST by its name on the Hub, or a folder like it")
    parser.add_argument("--num_train_epochs", type=int, help="passes over the training images, instead of the row's")
    parser.add_argument("--num_samples", type=int, help="importance samples per image, instead of the row's")
    parser.add_argument("--card_only", action="store_true", help="rewrite the card from the stored measurements")
    args = parser.parse_args()
    for name in args.rows:
        row = ROWS[name]
        if not args.card_only:
            run(name, row, args.dataset, args.num_train_epochs or row.epochs, args.num_samples or row.num_samples)
        write_card(name, row, args.dataset)


if __name__ == "__main__":
    main()
