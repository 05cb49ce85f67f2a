"""Training steps: forward, backward and optimizer on 100 images of MNIST's shape, in 16 latent dimensions.

Pythae's step is as in its trainers, with their several optimizers, and always in fp32. Ours is as in `GAETrainer` with
its default arguments, in fp32 or under bf16 autocast.
"""

from collections.abc import Callable, Iterator
from tempfile import TemporaryDirectory

import torch
from pythae import trainers
from pythae.data.datasets import BaseDataset

from .comparison import Comparison, lazily
from .models import BATCH_SIZE, INPUT_SHAPE, METHODS, our_model, pythae_model
from .training_step import training_step

TITLE, SIDES = "step of 100 images", ("gae_hub", "Pythae, fp32")
TARGETS = {  # by network, for fp32 and bf16
    "mlp": (0.75, None),
    "paper_resnet": (0.90, 0.45),
    "paper_conv": (0.85, 0.40),
}
SLOW_IN_PYTHAE = {"msssim_vae", "rhvae", "factor_vae", "miwae"}  # these have the target 0.40 with the MLP in fp32
TRAINERS = {
    "aae": (trainers.AdversarialTrainer, trainers.AdversarialTrainerConfig),
    "factor_vae": (trainers.AdversarialTrainer, trainers.AdversarialTrainerConfig),
    "piwae": (trainers.CoupledOptimizerTrainer, trainers.CoupledOptimizerTrainerConfig),
    "rae_l2": (trainers.CoupledOptimizerTrainer, trainers.CoupledOptimizerTrainerConfig),
    "vae_gan": (trainers.CoupledOptimizerAdversarialTrainer, trainers.CoupledOptimizerAdversarialTrainerConfig),
}


def pythae_step(method: str, network: str, batch_size: int = BATCH_SIZE) -> Callable[[], None]:
    """Return a function that makes one training step of Pythae."""
    torch.manual_seed(0)
    trainer_class, arguments_class = TRAINERS.get(method, (trainers.BaseTrainer, trainers.BaseTrainerConfig))
    images = torch.rand(batch_size, *INPUT_SHAPE)
    data = BaseDataset(images, torch.zeros(batch_size))
    with TemporaryDirectory() as folder:
        arguments = arguments_class(output_dir=folder, per_device_train_batch_size=batch_size, no_cuda=True)
        trainer = trainer_class(pythae_model(method, network), data, training_config=arguments)
        trainer.prepare_training()
    model = trainer.model.train()

    def step():
        output = model({"data": images}, epoch=1, dataset_size=50_000, uses_ddp=False)
        trainer._optimizers_step(output)

    return step


def our_step(method: str, network: str, bf16: bool = False) -> Callable[[], None]:
    """Return a function that makes one training step of gae_hub."""
    torch.manual_seed(0)
    return training_step(our_model(method, network), torch.rand(BATCH_SIZE, *INPUT_SHAPE), bf16)


def comparisons() -> Iterator[Comparison]:
    for network, targets in TARGETS.items():
        for method in METHODS:
            rows = {f"{network}, {method}": BATCH_SIZE}
            if method == "factor_vae":  # Pythae decodes half of its batch only
                rows = {
                    f"{network}, factor_vae (Pythae decodes 50 of 100)": BATCH_SIZE,
                    f"{network}, factor_vae (Pythae decodes 100 of 200)": 2 * BATCH_SIZE,
                }
            for row, batch_size in rows.items():
                baseline = lazily(pythae_step, method, network, batch_size)
                for bf16, target in zip((False, True), targets, strict=True):
                    if network == "mlp" and method in SLOW_IN_PYTHAE and not bf16:
                        target = 0.40
                    name = f"{row}, {'bf16' if bf16 else 'fp32'}"
                    yield Comparison(name, lazily(our_step, method, network, bf16), baseline, target)
