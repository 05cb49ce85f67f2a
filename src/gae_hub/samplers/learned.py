"""TODO docstring."""

__all__ = ["LatentDataset", "LearnedSampler", "whole_batch"]

from collections.abc import Sequence
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import initialization as init

from ..data.embeddings import embed_dataset
from ..models.base import GAEOutput
from .base import GAESampler, GAESamplerConfig, check_latents


class LatentDataset(Dataset):
    """Named tensors with as many rows each, which come in whole batches, as the trainer takes them."""

    def __init__(self, **tensors: Tensor):
        self.tensors = {name: tensor.detach().cpu() for name, tensor in tensors.items()}

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        indices = torch.as_tensor(indices)
        return {name: tensor[indices] for name, tensor in self.tensors.items()}


def whole_batch(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The collator of a [`LatentDataset`]."""
    return batch


class LearnedSampler(GAESampler):
    """Base of the samplers that [`GAETrainer`] trains, with all that it does: resuming, early stopping, the log.

    A subclass gives `forward(latents, return_loss=True) -> GAEOutput`, with a loss in nats per example, and
    `standardize(latents)`, which takes the constants that it needs from data. Its config has a `seed`. `fit` takes,
    beside the latents:

    Args:
        validation_latents: (num, *latent_shape), to choose the best weights by; without them, the last are kept.
        args: [`GAETrainingArguments`]; those of `default_arguments` in a folder that is deleted, by default.
        callbacks: of transformers, such as `EarlyStoppingCallback(5)`.
        resume_from_checkpoint: as for `GAETrainer.train`.
        progress: show a progress bar, where no `args` say so.
        **arguments: fields of [`GAETrainingArguments`] in place of the defaults, such as `num_train_epochs=20`.
    """

    kinds = ("vectors",)
    accepts_loss_kwargs = False
    metric_for_best_model = "loss"
    min_batch_size = 1
    facts = None
    default_arguments = {"num_train_epochs": 100, "learning_rate": 1e-3, "lr_scheduler_type": "cosine"}

    def __init__(self, config: GAESamplerConfig | None = None, **fields):
        super().__init__(config, **fields)
        self.register_buffer("progress", torch.ones((), dtype=torch.float32), persistent=False)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module):
        if module is self:
            if "progress" in self._buffers:
                init.ones_(self.progress)
        else:
            super()._init_weights(module)

    def embed_validation(self, model, dataset) -> dict[str, Tensor]:
        return {} if dataset is None else {"validation_latents": embed_dataset(model, dataset)}

    def begin(self, device: torch.device):
        with torch.random.fork_rng([]):
            torch.manual_seed(self.config.seed)
            super().begin(device)

    def standardize(self, latents: Tensor):
        """Take constants from latents (num, latent_dim)."""

    def examples(self, latents: Tensor, **columns: Tensor) -> LatentDataset:
        """What the trainer is given of latents (num, latent_dim)."""
        return LatentDataset(latents=latents, **columns)

    def estimate(
        self, latents, validation_latents=None, args=None, callbacks=None, resume_from_checkpoint=None, **arguments
    ):
        from ..training.checkpointing import get_rng_state, set_rng_state

        state, device = get_rng_state(), self.device
        self.standardize(latents)
        if isinstance(validation_latents, Tensor):
            validation_latents = check_latents(validation_latents).flatten(1)
        try:
            with TemporaryDirectory() as folder, torch.enable_grad():
                trainer = self.trainer(latents, validation_latents, args, callbacks, output_dir=folder, **arguments)
                trainer.train(resume_from_checkpoint=resume_from_checkpoint)
                self.log_history = trainer.state.log_history
        finally:
            set_rng_state(state)
        self.to(device)
        self.finish(latents)

    def finish(self, latents: Tensor):
        """What is done once the weights are there."""

    def trainer(self, latents, validation_latents=None, args=None, callbacks=None, progress=True, **arguments):
        """The [`GAETrainer`] of `fit`, for latents (num, latent_dim)."""
        from ..training.arguments import GAETrainingArguments
        from ..training.trainer import GAETrainer

        if args is None:
            defaults = {
                **self.default_arguments,
                "report_to": "none",
                "disable_tqdm": not progress,
                "seed": self.config.seed,
                "channels_last": False,
            }
            if validation_latents is None:  # nothing to choose the best weights by
                defaults |= {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
            args = GAETrainingArguments(**{**defaults, **arguments})
        elif set(arguments) - {"output_dir"}:
            raise ValueError(f"give {', '.join(sorted(set(arguments) - {'output_dir'}))} in args, or no args")
        return GAETrainer(
            self,
            args,
            data_collator=whole_batch,
            train_dataset=self.examples(latents),
            eval_dataset=None if validation_latents is None else self.examples(validation_latents),
            callbacks=callbacks,
        )

    def build_output(self, terms: dict[str, Tensor], return_loss: bool = True) -> GAEOutput:
        """The sum of per-example terms as loss, and the terms for the log."""
        if not return_loss:
            return GAEOutput()
        means = {name: term.mean() for name, term in terms.items()}
        return GAEOutput(loss=sum(means.values()), losses={name: mean.detach() for name, mean in means.items()})

    def parameter_groups(self) -> dict[str, list[torch.nn.Parameter]]:
        return {"sampler": [p for p in self.parameters() if p.requires_grad]}

    def floating_point_ops(self, inputs, exclude_embeddings: bool = True) -> int:
        """0: transformers' estimate is for transformers."""
        return 0
