r"""PixelCNN: Conditional Image Generation with PixelCNN Decoders (van den Oord, Kalchbrenner, Vinyals, Espeholt,
Graves & Kavukcuoglu, 2016), arXiv:1606.05328.

.. math::
    p(c) = \prod_{r, s} p(c_{r s} | c_{<r}, c_{r, <s}), \quad
    y = \tanh(W_f * x) \odot \sigma(W_g * x)

A density of maps of codes: gated convolutions in a vertical stack, which sees all rows above, and a horizontal one,
which sees the row so far and the vertical stack. Of several levels of codes, each sees those before it at its place.

Relations:
    The prior that VQ-VAE is drawn from. Inputs are shifted by a row and a column once, so that no kernel needs a mask.
    A draw goes from place to place, but computes each feature once: all together costs one pass, where Pythae's takes
    a pass for each place, of a plain PixelCNN with a blind spot, on the codes' numbers in place of embeddings.
"""

__all__ = ["PixelCNNSampler", "PixelCNNSamplerConfig"]

from math import prod

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from ..data.embeddings import embed_dataset
from ..models.base import GAEOutput, inference
from ..modules.noise import rand
from .base import GAESamplerConfig, register_sampler
from .learned import LatentDataset, LearnedSampler

_CHUNK = 512  # maps that are drawn at a time


@strict
class PixelCNNSamplerConfig(GAESamplerConfig):
    """
    Args:
        hidden_size: channels of both stacks.
        num_hidden_layers: gated layers.
        kernel_size: odd.
        num_classes: for a density given the class; None for one without.
        num_embeddings, num_levels, code_shape: of the codes; `fit` fills them in.
        seed: of weights and batches.
    """

    model_type = "gae_pixel_cnn_sampler"

    hidden_size: int = 64
    num_hidden_layers: int = 6
    kernel_size: int = 5
    num_classes: int | None = None
    num_embeddings: int | None = None
    num_levels: int = 1
    code_shape: list[int] | tuple[int, ...] | None = None
    seed: int = 0

    def validate_network(self):
        self.require_positive("hidden_size", "num_hidden_layers", "kernel_size")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {self.kernel_size}")
        if self.num_classes is not None:
            self.require_positive("num_classes")


class GatedLayer(nn.Module):
    """One layer of both stacks, on features (batch, size, height, width) that are shifted already."""

    def __init__(self, size: int, kernel_size: int):
        super().__init__()
        self.reach = kernel_size // 2
        self.vertical = nn.Conv2d(size, 2 * size, (self.reach + 1, kernel_size))
        self.horizontal = nn.Conv2d(size, 2 * size, (1, self.reach + 1))
        self.between = nn.Conv2d(2 * size, 2 * size, 1)
        self.out = nn.Conv2d(size, size, 1)

    def forward(self, above: Tensor, left: Tensor, condition: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        vertical = self.vertical(F.pad(above, (self.reach, self.reach, self.reach, 0)))
        horizontal = self.horizontal(F.pad(left, (self.reach, 0))) + self.between(vertical)
        if condition is not None:
            vertical, horizontal = vertical + condition[0], horizontal + condition[1]
        return gated(vertical), left + self.out(gated(horizontal))

    def next_row(self, window: Tensor) -> tuple[Tensor, Tensor]:
        """From the rows (batch, size, reach + 1, width) that the last one sees: its vertical features before the
        gate, (batch, 2 size, 1, width), and what they give to the horizontal stack."""
        vertical = F.conv2d(F.pad(window, (self.reach, self.reach)), self.vertical.weight, self.vertical.bias)
        return vertical, self.between(vertical)

    def next_place(self, window: Tensor, given: Tensor) -> Tensor:
        """From the places (batch, size, reach + 1) that the last one sees, and (batch, 2 size) from above: its
        horizontal features (batch, size)."""
        horizontal = F.linear(window.flatten(1), self.horizontal.weight.flatten(1), self.horizontal.bias) + given
        return window[:, :, -1] + F.linear(gated(horizontal), self.out.weight.flatten(1), self.out.bias)


def gated(features: Tensor) -> Tensor:
    """tanh of the first half of the channels times the sigmoid of the second."""
    values, gates = features.chunk(2, dim=1)
    return values.tanh() * gates.sigmoid()


class PixelCNNSampler(LearnedSampler):
    """Draws codes, and gives their vectors: those of the codebooks that `fit` is given."""

    config_class = PixelCNNSamplerConfig
    kinds = ("codes",)
    draws_codes = True

    def allocate(self, config: PixelCNNSamplerConfig):
        size, k, levels = config.hidden_size, config.num_embeddings, config.num_levels
        self.register_buffer("codebooks", torch.zeros(levels, k, config.latent_shape[0]))
        self.embeddings = nn.ModuleList(nn.Embedding(k, size) for _ in range(levels))
        self.layers = nn.ModuleList(GatedLayer(size, config.kernel_size) for _ in range(config.num_hidden_layers))
        self.hidden = nn.Linear(size, size)
        self.levels_before = nn.ModuleList(nn.Embedding(k, size) for _ in range(levels - 1))
        self.heads = nn.ModuleList(nn.Linear(size, k) for _ in range(levels))
        if config.num_classes is not None:
            self.classes = nn.Embedding(config.num_classes, 4 * size * config.num_hidden_layers)
            self.register_buffer("class_weights", torch.full((config.num_classes,), 1 / config.num_classes))

    # Fitting

    def fit_to(self, model, dataset=None, validation_dataset=None, **training) -> "PixelCNNSampler":
        """Fit to the codes that a model gives a data set, and to its labels where the config has `num_classes`."""
        self.check_model(model)
        if hasattr(model, "codebooks"):  # one for each level, and codes with a last axis of levels
            codebooks = torch.stack([book.codes.detach() for book in model.codebooks])
        else:
            codebooks = model.codebook.codes.detach()
        data = {"": self.require_data(dataset), "validation_": validation_dataset}
        for prefix, images in data.items():
            if images is not None:
                training[f"{prefix}codes"] = embed_dataset(model, images, output="codes")
                training[f"{prefix}labels"] = getattr(images, "labels", None)
        return self.fit(codebooks=codebooks, **training)

    @torch.no_grad()
    def fit(
        self,
        codes: Tensor,
        codebooks: Tensor,
        labels: Tensor | None = None,
        validation_codes: Tensor | None = None,
        validation_labels: Tensor | None = None,
        **training,
    ) -> "PixelCNNSampler":
        """Fit the density of codes, and return the sampler.

        Args:
            codes: (num, height, width) or (num,); with a last axis of levels if there are several codebooks.
            codebooks: (num_embeddings, dim), the codes' vectors; or (levels, num_embeddings, dim), of which a place's
                latents are the sum.
            labels: (num,) classes, where the config has `num_classes`.
            validation_codes, validation_labels: to choose the best weights by.
            **training: see [`LearnedSampler`].

        Raises:
            ValueError: if codes are no integers of the codebook, or labels are missing or no classes.
        """
        config, leveled = self.config, codebooks.dim() == 3
        codebooks = codebooks if leveled else codebooks.unsqueeze(0)
        if codes.is_floating_point() or codes.dim() - leveled not in (1, 3):
            raise ValueError(
                f"codes must be integers (num[, height, width]{'[, levels]' if leveled else ''}), got shape "
                f"{tuple(codes.shape)} and dtype {codes.dtype}"
            )
        spatial = tuple(codes.shape[1:3]) if codes.dim() - leveled == 3 else ()
        with self.all_or_nothing():
            config.num_levels, config.num_embeddings, dim = codebooks.shape
            config.code_shape = spatial or (1, 1)
            config.latent_shape = (dim, *spatial)
            config.latent_dim = prod(config.latent_shape)
            columns = self._columns(codes, labels)
            if validation_codes is not None:
                training["validation_latents"] = self._columns(validation_codes, validation_labels)
            self.begin(codes.device)
            self.estimate(columns, codebooks=codebooks, **training)
        return self.eval()

    def _columns(self, codes: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        config = self.config
        if codes.numel() == 0 or codes.min() < 0 or codes.max() >= config.num_embeddings:
            raise ValueError(f"codes must lie in [0, {config.num_embeddings}), the codebook's size")
        columns = {"codes": codes.reshape(len(codes), *config.code_shape, config.num_levels)}
        if config.num_classes is not None:
            if labels is None:
                raise ValueError(f"num_classes is {config.num_classes}, but there are no labels to learn them by")
            columns["labels"] = check_labels(labels, config.num_classes).to(codes.device)
        return columns

    def estimate(self, columns, codebooks=None, **training):
        self._codebooks = codebooks
        super().estimate(columns, **training)

    def examples(self, columns) -> LatentDataset:
        return LatentDataset(**columns)

    def standardize(self, columns):
        self.codebooks.copy_(self._codebooks)
        del self._codebooks
        if self.config.num_classes is not None:
            counts = columns["labels"].bincount(minlength=self.config.num_classes)
            self.class_weights.copy_(counts / counts.sum())

    # The network

    def conditions(self, labels: Tensor | None) -> list:
        """What each layer's two stacks are given of the labels: pairs of (batch, 2 size, 1, 1), or None."""
        if self.config.num_classes is None:
            return [None] * len(self.layers)
        parts = self.classes(labels).unflatten(1, (len(self.layers), 2, -1))[..., None, None]
        return [(part[:, 0], part[:, 1]) for part in parts.unbind(1)]

    def embed(self, codes: Tensor) -> Tensor:
        """(batch, size, height, width) of codes (batch, height, width, levels)."""
        return sum(e(own) for e, own in zip(self.embeddings, codes.unbind(-1), strict=True)).movedim(-1, 1)

    def level_logits(self, features: Tensor, level: int, codes: Tensor) -> Tensor:
        """(*batch, num_embeddings) from features (*batch, size) and codes (*batch, levels) of the levels before."""
        for before, own in zip(self.levels_before[:level], codes.unbind(-1), strict=False):
            features = features + before(own)
        return self.heads[level](features.relu())

    def logits(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """(batch, height, width, levels, num_embeddings) for codes (batch, height, width, levels)."""
        inputs = self.embed(codes)
        above, left = F.pad(inputs, (0, 0, 1, 0))[:, :, :-1], F.pad(inputs, (1, 0))[..., :-1]
        for layer, condition in zip(self.layers, self.conditions(labels), strict=True):
            above, left = layer(above, left, condition)
        features = self.hidden(left.relu().movedim(1, -1))
        return torch.stack([self.level_logits(features, level, codes) for level in range(codes.shape[-1])], -2)

    def forward(self, codes: Tensor, labels: Tensor | None = None, return_loss: bool = True) -> GAEOutput:
        """The mean of -log p(codes), in nats per map, as loss."""
        if not return_loss:
            return GAEOutput()
        logits = self.logits(codes, labels)
        each = F.cross_entropy(logits.flatten(0, -2), codes.flatten(), reduction="none").view(len(codes), -1)
        return self.build_output({"negative_log_likelihood": each.sum(1)})

    @inference
    def code_log_prob(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """(num,) log probability of codes, as `fit` takes them, in nats."""
        self.require_fitted()
        columns = self._columns(codes, labels)
        log_p = self.logits(columns["codes"], columns.get("labels")).log_softmax(-1)
        return log_p.gather(-1, columns["codes"].unsqueeze(-1)).flatten(1).sum(1)

    # Drawing

    def draw(self, num_samples: int, generator: torch.Generator | None, labels: Tensor | int | None = None) -> Tensor:
        vectors = self.lookup(self.draw_codes(num_samples, generator, labels))
        return vectors.movedim(-1, 1).flatten(1)

    def lookup(self, codes: Tensor) -> Tensor:
        """(num, height, width, dim): sums of the levels' vectors."""
        return sum(book[own] for book, own in zip(self.codebooks, codes.unbind(-1), strict=True))

    @inference
    def draw_codes(
        self, num_samples: int, generator: torch.Generator | None = None, labels: Tensor | int | None = None
    ) -> Tensor:
        """(num_samples, height, width, levels) codes, of given classes or of those that chance gives."""
        config = self.config
        shape = (num_samples, *config.code_shape, config.num_levels)
        uniform = rand(shape, self.codebooks, generator)
        if config.num_classes is None and labels is not None:
            raise ValueError("this PixelCNN was fitted without labels: set num_classes and fit it with them")
        if config.num_classes is not None:
            if labels is None:
                device = generator.device if generator is not None else self.device
                weights = self.class_weights.to(device)
                labels = torch.multinomial(weights, num_samples, replacement=True, generator=generator)
            labels = check_labels(torch.as_tensor(labels), config.num_classes).to(self.device).expand(num_samples)
        parts = [None] * -(-num_samples // _CHUNK) if labels is None else labels.split(_CHUNK)
        return torch.cat([self._draw(u, own) for u, own in zip(uniform.split(_CHUNK), parts, strict=True)])

    def _draw(self, uniform: Tensor, labels: Tensor | None) -> Tensor:
        """Codes by uniform numbers of the same shape, row by row and place by place."""
        batch, height, width, levels = uniform.shape
        size, reach = self.config.hidden_size, self.config.kernel_size // 2
        codes = uniform.new_zeros(uniform.shape, dtype=torch.long)
        conditions = self.conditions(labels)
        above = [uniform.new_zeros(batch, size, reach, width) for _ in self.layers]  # the rows that the next one sees
        for row in range(height):
            features = self.embed(codes[:, row - 1 : row]) if row else uniform.new_zeros(batch, size, 1, width)
            given = []
            for index, (layer, condition) in enumerate(zip(self.layers, conditions, strict=True)):
                window = torch.cat([above[index], features], 2)
                vertical, across = layer.next_row(window)
                if condition is not None:
                    vertical, across = vertical + condition[0], across + condition[1]
                above[index], features = window[:, :, 1:], gated(vertical)
                given.append(across[:, :, 0].movedim(-1, 0).contiguous())
            left = [uniform.new_zeros(batch, size, reach + width) for _ in self.layers]
            for column in range(width):
                place = self.embed(codes[:, row : row + 1, column - 1 : column]).flatten(1) if column else None
                features = uniform.new_zeros(batch, size) if place is None else place
                for layer, across, seen in zip(self.layers, given, left, strict=True):
                    seen[:, :, reach + column] = features
                    features = layer.next_place(seen[:, :, column : column + reach + 1], across[column])
                features = self.hidden(features.relu())
                for level in range(levels):
                    sums = self.level_logits(features, level, codes[:, row, column]).softmax(-1).cumsum(-1)
                    target = uniform[:, row, column, level, None] * sums[:, -1:]
                    drawn = torch.searchsorted(sums, target.contiguous(), right=True).squeeze(1)
                    codes[:, row, column, level] = drawn.clamp(max=sums.shape[1] - 1)
        return codes


def check_labels(labels: Tensor, num_classes: int) -> Tensor:
    """Raise ValueError unless labels are integers of [0, num_classes)."""
    if labels.is_floating_point() or (labels < 0).any() or (labels >= num_classes).any():
        raise ValueError(f"labels must be integers in [0, {num_classes}), got {labels.unique().tolist()[:10]}")
    return labels


register_sampler(PixelCNNSamplerConfig, PixelCNNSampler)
