r"""Vector quantization: a codebook that follows the data, and what the models have in common that decode its codes.

A latent map (latent_dim, height, width) holds one token for each position, a latent vector is one token; tokens are
(\*batch, latent_dim), their codes (\*batch,).
"""

__all__ = ["Codebook", "QuantizedConfig", "QuantizedModel", "kmeans"]

from math import prod
from types import SimpleNamespace
from typing import Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import initialization as init

from .base import GAEConfig, GAEPreTrainedModel, at_least_float32, inference
from .losses import full_precision, is_distributed, rank
from .posteriors import PointMass, rand

_TOKENS_PER_CODE = 64  # what k-means sees at most


@strict
class QuantizedConfig(GAEConfig):
    """
    Args:
        num_embeddings: K, the codes in a codebook.
        latent_layout: "spatial", one token of latent_dim numbers for each position of the encoder's map of features;
            "flat", one for each example; "auto", spatial where the features are maps; or "scalar", one for each number
            of the latent vector, which share a codebook of scalars, as in checkpoints of Pythae (VQ-VAE only).
        decay: of the running averages of the codes' use, per training step.
        revival_threshold: a code with less than this share of the codes' mean use is dead, and moves to a random token
            of the next batch; 0 leaves it where it is.
        kmeans_iterations: of the k-means on the first training batch that the codes begin with; 0 leaves them at
            tokens that lie far from each other.
    """

    keys_to_ignore_at_inference = [*GAEConfig.keys_to_ignore_at_inference, "codes"]

    num_embeddings: int = 512
    latent_layout: Literal["auto", "spatial", "flat", "scalar"] = "auto"
    decay: float | int = 0.99
    revival_threshold: float | int = 0.01
    kmeans_iterations: int = 10

    def validate_codebook(self):
        self.require_positive("num_embeddings")
        for name in ("decay", "revival_threshold"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")
        if self.kmeans_iterations < 0:
            raise ValueError(f"kmeans_iterations must be 0 or more, got {self.kmeans_iterations}")


class Codebook(nn.Module):
    r"""K vectors and a running count of the tokens that each is given, equal in all processes.

    A training step calls `prepare`, looks the codes up, and calls `observe`: so it decodes the codes as they were
    before its own update. With n tokens of sum s, a code e of count N becomes

    .. math::
        N \leftarrow \gamma N + (1 - \gamma) n, \quad e \leftarrow e + (1 - \gamma) (s - n e) / N,

    which is the paper's e = m / N with m = N e. As m is not stored, a code that is not used stays exactly where it is,
    however small its count becomes.

    Args:
        config: a [`QuantizedConfig`].
        learned: whether the codes are a parameter, moved by the gradient, in place of the update above.
        radius: of the sphere on which the codes begin; without it, as in the paper's code, a cube of width 2 / K.
        from_data: whether the first training batch takes the place of that beginning.
    """

    def __init__(
        self, config: QuantizedConfig, learned: bool = False, radius: float | None = None, from_data: bool = True
    ):
        super().__init__()
        self.learned, self.radius, self.from_data = learned, radius, from_data
        self.decay, self.revival_threshold = config.decay, config.revival_threshold
        self.kmeans_iterations = config.kmeans_iterations
        codes = at_least_float32(
            torch.zeros(config.num_embeddings, 1 if config.latent_layout == "scalar" else config.latent_dim)
        )
        if learned:
            self.codes = nn.Parameter(codes)
        else:
            self.register_buffer("codes", codes)
        self.register_buffer("counts", torch.ones_like(codes[:, 0]))
        self.register_buffer("initialized", torch.zeros((), dtype=torch.bool))
        self.ready = False  # known to be initialized: a step that asked the buffer would wait for the device
        self.reset_parameters()

    def reset_parameters(self):
        size = len(self.codes)
        if self.radius is None:
            init.uniform_(self.codes, -1 / size, 1 / size)
        else:
            init.copy_(self.codes, self.radius * F.normalize(torch.randn_like(self.codes), dim=-1))
        init.ones_(self.counts)
        init.zeros_(self.initialized)

    def _load_from_state_dict(self, *args, **kwargs):
        self.ready = False
        super()._load_from_state_dict(*args, **kwargs)

    def _apply(self, fn, recurse: bool = True):
        """Half precision would lose the small steps of the averages: a cast to it moves to its device only."""

        def apply(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return tensor.to(moved.device) if moved.dtype in (torch.float16, torch.bfloat16) else moved

        return super()._apply(apply, recurse)

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (*batch,) to their vectors, (*batch, dim)."""
        return F.embedding(codes, self.codes)

    def scores(self, tokens: Tensor) -> Tensor:
        """(*batch, K): -||token - e_k||^2 up to a constant for each token."""
        return closeness(tokens.to(self.codes.dtype), self.codes)

    @torch.no_grad()
    def nearest(self, tokens: Tensor) -> Tensor:
        """(*batch,) index of the code nearest to each token."""
        return self.scores(tokens).argmax(-1)

    def dead(self) -> Tensor:
        """(K,) whether a code's count is below the threshold; below 0.01 of the mean where none is revived."""
        return self.counts < (self.revival_threshold or 0.01) * self.counts.mean()

    @torch.no_grad()
    def prepare(self, tokens: Tensor, generator: torch.Generator | None = None):
        """Begin a training step: the first takes the codes from the tokens, each later one moves dead codes to some.

        A revived code starts with the mean count, and so has time to win tokens.
        """
        tokens = tokens.flatten(0, -2)
        if not self.ready:
            self.initialize(tokens, generator)
        if self.revival_threshold:
            dead, places = self.dead(), random_tokens(tokens, len(self.codes), generator)
            self.codes.copy_(torch.where(dead.unsqueeze(1), places, self.codes))
            self.counts.copy_(torch.where(dead, self.counts.mean(), self.counts))

    @torch.compiler.disable  # k-means happens once, and would be unrolled
    def initialize(self, tokens: Tensor, generator: torch.Generator | None = None):
        """Put the codes at the clusters of tokens (num, dim) of all processes, unless that was done before."""
        if self.from_data and not self.initialized:
            size = len(self.codes)
            sample = random_tokens(tokens, min(len(tokens) * num_processes(), size * _TOKENS_PER_CODE), generator)
            self.codes.copy_(from_first(kmeans(sample, size, self.kmeans_iterations, generator)))
            counts, _ = self.totals(tokens, self.nearest(tokens))
            self.counts.copy_(counts.clamp(min=counts.mean()))
            self.initialized.fill_(True)
        self.ready = True

    def totals(self, tokens: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """(K,) how many tokens of all processes each code is given, and (K, dim) their sum."""
        sums = sum_over_processes(totals(tokens, codes, len(self.codes)))
        return sums[:, 0], sums[:, 1:]

    @torch.no_grad()
    def observe(self, tokens: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """End a step: follow the tokens in training, and tell the perplexity of their codes and the dead codes."""
        counts, sums = self.totals(tokens.flatten(0, -2), codes.flatten())
        if self.training:
            self.counts.lerp_(counts, 1 - self.decay)
            if not self.learned:
                pull = (1 - self.decay) * (sums - counts.unsqueeze(1) * self.codes)
                # where the count is so small that it is clamped, nothing pulls
                self.codes.add_(pull / self.counts.clamp(min=torch.finfo(counts.dtype).tiny).unsqueeze(1))
        return {"perplexity": perplexity(counts), "dead_codes": self.dead().sum().to(counts.dtype)}


def perplexity(counts: Tensor) -> Tensor:
    """exp of the entropy of (*batch, K) counts: how many codes as often used as each other would be as diverse."""
    return torch.special.entr(counts / counts.sum(-1, keepdim=True)).sum(-1).exp()


def closeness(points: Tensor, centres: Tensor) -> Tensor:
    """(*batch, num): -||point - centre||^2 up to a constant for each point, by one product of matrices.

    Moving all by the centres' mean leaves the distances, and makes the squares small that they are the difference of.
    """
    mean = centres.detach().mean(0)
    centres = centres - mean
    with full_precision(points):
        return 2 * (points - mean) @ centres.T - centres.square().sum(-1)


def totals(points: Tensor, groups: Tensor, num: int) -> Tensor:
    """(num, 1 + dim): how many points (total, dim) are in each group, by their (total,) group, and their sum."""
    rows = torch.cat([torch.ones_like(points[:, :1]), points], 1)
    return rows.new_zeros(num, rows.shape[1]).index_add_(0, groups, rows)


def kmeans(points: Tensor, num: int, iterations: int, generator: torch.Generator | None = None) -> Tensor:
    """(num, dim) centres of points (total, dim): k-means++ (Arthur & Vassilvitskii, 2007), then Lloyd's iterations.

    With fewer points than centres, points are repeated with a little noise.
    """
    total = len(points)
    uniform, square = rand((num, 1), points, generator), torch.zeros_like(points[:, 0])
    centres = torch.empty_like(points[:1]).repeat(num, 1)
    for i in range(num):
        weights = torch.where(square.sum() > 0, square, 1.0)  # 1 at first, and again once all points are centres
        sums = weights.cumsum(0)
        centres[i] = points[torch.searchsorted(sums, uniform[i] * sums[-1], right=True).clamp(max=total - 1)]
        away = (points - centres[i]).square().sum(-1)
        square = torch.minimum(square, away) if i else away
    noise = rand(centres.shape, points, generator) - 0.5
    centres[total:] += 0.01 * points.std(0, correction=0) * noise[total:]
    for _ in range(iterations):
        counts, sums = totals(points, closeness(points, centres).argmax(-1), num).tensor_split([1], 1)
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
    return centres


# Several processes: all end with the same tensor


def num_processes() -> int:
    return dist.get_world_size() if is_distributed() else 1


def sum_over_processes(value: Tensor) -> Tensor:
    if is_distributed():
        dist.all_reduce(value)
    return value


def from_first(value: Tensor) -> Tensor:
    """The value of the first process."""
    if is_distributed():
        dist.broadcast(value, 0)
    return value


def random_tokens(tokens: Tensor, num: int, generator: torch.Generator | None = None) -> Tensor:
    """(num, dim) of the tokens of all processes, (count, dim) in each, in random order; all before one comes again."""
    count, total = len(tokens), len(tokens) * num_processes()
    order = rand((total,), tokens, generator).argsort()
    places = from_first(order[torch.arange(num, device=order.device) % total]) - rank() * count
    own = (places >= 0) & (places < count)
    return sum_over_processes(torch.where(own.unsqueeze(1), tokens[places.clamp(0, count - 1)], 0))


class QuantizedModel(GAEPreTrainedModel):
    """Base of the models that decode codes. A subclass gives `quantize` and `lookup`.

    All that is embedded, interpolated or drawn by a sampler passes through the quantizer; `decode` takes what it gets.
    """

    config_class = QuantizedConfig
    _keep_in_fp32_modules_strict = [*GAEPreTrainedModel._keep_in_fp32_modules_strict, "codebook", "codebooks"]

    def latent_shape_for(self, feature_shape: tuple[int, ...]) -> tuple[int, ...]:
        maps, layout = len(feature_shape) == 3, self.config.latent_layout
        if layout == "spatial" and not maps:
            raise ValueError(
                f"latent_layout 'spatial' needs an encoder of maps (channels, height, width), but this one's features "
                f"have shape {tuple(feature_shape)}: choose encoder_config 'conv' or 'resnet', or latent_layout 'flat'"
            )
        spatial = maps and layout in ("auto", "spatial")
        return (self.config.latent_dim, *(feature_shape[1:] if spatial else ()))

    def setup(self, config: QuantizedConfig):
        shape, self.spatial = self.encoder.feature_shape, len(self.latent_shape) == 3
        self.head = (
            nn.Conv2d(shape[0], config.latent_dim, 1) if self.spatial else nn.Linear(prod(shape), config.latent_dim)
        )

    def encode(self, pixel_values: Tensor) -> PointMass:
        """The latents as the encoder gives them, (batch, *latent_shape), before the quantizer."""
        features = self.feature_map(pixel_values) if self.spatial else self.features(pixel_values)
        return PointMass(at_least_float32(self.head(features)))

    def tokens(self, latents: Tensor) -> Tensor:
        """Latents (batch, *latent_shape) as the vectors that have a code each, on the last axis."""
        return latents.unsqueeze(-1) if self.config.latent_layout == "scalar" else latents.movedim(1, -1)

    def from_tokens(self, tokens: Tensor) -> Tensor:
        """The inverse of `tokens`."""
        return tokens.squeeze(-1) if self.config.latent_layout == "scalar" else tokens.movedim(-1, 1)

    def quantize(
        self, latents: Tensor, sample: bool = False, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Latents (batch, *latent_shape) to those of their codes, and the codes: (batch,), or (batch, height, width)
        for maps, and a last axis of levels where there are several. `sample` draws codes where these are random."""
        raise NotImplementedError(f"{type(self).__name__} must define quantize")

    def lookup(self, codes: Tensor) -> Tensor:
        """Codes to latents (batch, *latent_shape)."""
        raise NotImplementedError(f"{type(self).__name__} must define lookup")

    def latents(self, posterior: PointMass, sample: bool = False, generator: torch.Generator | None = None) -> Tensor:
        return self.quantize(posterior.mean, sample, generator)[0]

    @inference
    def codes(self, pixel_values: Tensor) -> Tensor:
        """The codes of images, as `quantize` gives them."""
        return self.quantize(self.encode(pixel_values).mean)[1]

    @inference
    def decode_codes(self, codes: Tensor) -> Tensor:
        """(batch, *input_shape): the images of codes."""
        return self.decode(self.lookup(codes))

    def code_shape(self) -> tuple[int, ...]:
        """Shape of one example's codes."""
        return tuple(self.latent_shape if self.config.latent_layout == "scalar" else self.latent_shape[1:])

    def path(self, start: Tensor, end: Tensor, t: Tensor) -> Tensor:
        """(batch, steps, *latent_shape): the quantized points of the straight line.

        The ends are kept: they are quantized, and with several levels the nearest codes of a sum need not be its own.
        """
        line = super().path(start, end, t)
        quantized = self.quantize(line.flatten(0, 1))[0].unflatten(0, line.shape[:2])
        return torch.where(((t == 0) | (t == 1)).view(1, -1, *[1] * (start.dim() - 1)), line, quantized)

    def sample_prior(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """(num_samples, *latent_shape) latents of uniform codes, the prior of the loss."""
        like = torch.empty(0, device=self.device)
        uniform = rand((num_samples, *self.code_shape()), like, generator)
        return self.lookup((uniform * self.config.num_embeddings).long())

    @inference
    def generate(
        self, num_samples: int = 1, sampler=None, generator: torch.Generator | None = None, batch_size: int = 500
    ) -> Tensor:
        """As for every model; what a sampler draws is quantized before it is decoded, unless it is made of codes."""
        if sampler is not None and not getattr(sampler, "draws_codes", False):
            draw = sampler.sample
            sampler = SimpleNamespace(sample=lambda *args: self.quantize(draw(*args).to(self.device))[0])
        return super().generate(num_samples, sampler, generator, batch_size)
