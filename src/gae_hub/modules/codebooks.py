r"""Codebooks of vector quantization, which follow the data.

A token is a vector that is quantized: a position of a latent map (latent_dim, \*sizes), or a whole latent vector.
Tokens are (\*batch, dim), and their codes, indices into the codebook, are (\*batch,).
"""

__all__ = ["Codebook", "draw_tokens", "perplexity"]

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init

from gae_hub.core.distributed import broadcast_from_first, num_processes, process_index, sum_over_processes

from .kmeans import count_and_sum, kmeans, proximity_scores
from .noise import rand
from .precision import at_least_float32

_MAX_TOKENS_PER_CODE = 64  # in the sample that k-means runs on


class Codebook(nn.Module):
    r"""K code vectors and a running count of the tokens assigned to each. All processes hold the same codebook.

    A training step calls `prepare`, looks up the codes, and calls `observe`: so the codes that it decodes are those
    before its own update. With n tokens of sum s assigned to it, a code vector e with count N becomes

    .. math::
        N \leftarrow \gamma N + (1 - \gamma) n, \quad e \leftarrow e + (1 - \gamma) (s - n e) / N,

    which is the paper's e = m / N with m = N e. As m is not stored, an unused code vector does not move, no matter how
    small its count becomes.

    Args:
        num_codes: K.
        dim: size of a code vector.
        ema_decay: decay of the running counts and sums, per training step.
        revival_threshold: a code with less than this share of the mean count is dead. It moves to a random token of
            the next batch and gets the mean count. With 0, dead codes are not moved.
        num_kmeans_iterations: iterations of the k-means on the first training batch.
        learned: whether the code vectors are a parameter that follows the gradient, instead of the update above.
        radius: radius of the sphere on which the code vectors are initialised. By default they are uniform in a cube
            of width 2 / K, as in the paper's code.
        from_data: whether k-means on the first training batch replaces the initialised code vectors.
    """

    codes: Tensor  # (K, dim), the code vectors
    counts: Tensor  # (K,)
    initialized: Tensor  # scalar: whether the code vectors were taken from data

    def __init__(
        self,
        num_codes: int,
        dim: int,
        ema_decay: float = 0.99,
        revival_threshold: float = 0.01,
        num_kmeans_iterations: int = 10,
        learned: bool = False,
        radius: float | None = None,
        from_data: bool = True,
    ):
        super().__init__()
        self.learned, self.radius, self.from_data = learned, radius, from_data
        self.ema_decay, self.revival_threshold = ema_decay, revival_threshold
        self.num_kmeans_iterations = num_kmeans_iterations
        codes = at_least_float32(torch.zeros(num_codes, dim))
        if learned:
            self.codes = nn.Parameter(codes)
        else:
            self.register_buffer("codes", codes)
        self.register_buffer("counts", torch.ones_like(codes[:, 0]))
        self.register_buffer("initialized", torch.zeros((), dtype=torch.bool))
        self._is_ready = False  # whether initialisation is done: reading the buffer in each step would stall a GPU
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
        self._is_ready = False
        super()._load_from_state_dict(*args, **kwargs)

    def forward(self, codes: Tensor) -> Tensor:
        """(*batch, dim): the code vectors of codes (*batch,)."""
        return F.embedding(codes, self.codes)

    def compute_scores(self, tokens: Tensor) -> Tensor:
        """(*batch, K): -||token - e_k||^2, up to a constant per token."""
        return proximity_scores(tokens.to(self.codes.dtype), self.codes)

    @torch.no_grad()
    def find_nearest(self, tokens: Tensor) -> Tensor:
        """(*batch,): the code nearest to each token."""
        return self.compute_scores(tokens).argmax(-1)

    def find_dead(self) -> Tensor:
        """(K,): whether a code is dead. Without revival, the threshold is 0.01 of the mean count."""
        return self.counts < (self.revival_threshold or 0.01) * self.counts.mean()

    @torch.no_grad()
    def prepare(self, tokens: Tensor, generator: torch.Generator | None = None):
        """Start a training step: revive dead codes; in the first step, take the code vectors from the tokens.

        A revived code starts with the mean count, so that it has time to win tokens. Nothing is done in evaluation
        mode, in which the codebook of a model with an adapter stays.

        Args:
            tokens: (*batch, dim) of this process.
            generator: chooses the tokens.
        """
        if not self.training:
            return
        tokens = tokens.flatten(0, -2)
        if not self._is_ready:
            self.initialize(tokens, generator)
        if self.revival_threshold:
            dead, places = self.find_dead(), draw_tokens(tokens, len(self.codes), generator)
            self.codes.copy_(torch.where(dead.unsqueeze(1), places, self.codes))
            self.counts.copy_(torch.where(dead, self.counts.mean(), self.counts))

    @torch.compiler.disable(reason="k-means runs once, and would be unrolled")
    def initialize(self, tokens: Tensor, generator: torch.Generator | None = None):
        """Move the code vectors to the clusters of the tokens of all processes, (num, dim), unless done before."""
        if self.from_data and not self.initialized:
            size = len(self.codes)
            sample = draw_tokens(tokens, min(len(tokens) * num_processes(), size * _MAX_TOKENS_PER_CODE), generator)
            self.codes.copy_(broadcast_from_first(kmeans(sample, size, self.num_kmeans_iterations, generator)))
            counts, _ = self._count_and_sum(tokens, self.find_nearest(tokens))
            self.counts.copy_(counts.clamp(min=counts.mean()))
            self.initialized.fill_(True)
        self._is_ready = True

    def _count_and_sum(self, tokens: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """(K,) number and (K, dim) sum of the tokens of all processes that are assigned to each code."""
        totals = sum_over_processes(count_and_sum(tokens, codes, len(self.codes)))
        return totals[:, 0], totals[:, 1:]

    @torch.no_grad()
    def observe(self, tokens: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """End a step. In training mode, update counts and code vectors.

        Args:
            tokens: (*batch, dim) of this process.
            codes: (*batch,), the codes that the tokens were assigned to.

        Returns:
            "perplexity" of the codes of this step, and "dead_codes", their number.
        """
        counts, sums = self._count_and_sum(tokens.flatten(0, -2), codes.flatten())
        if self.training:
            # not lerp_, for which torch.func.vmap has no rule
            self.counts.mul_(self.ema_decay).add_(counts, alpha=1 - self.ema_decay)
            if not self.learned:
                pull = (1 - self.ema_decay) * (sums - counts.unsqueeze(1) * self.codes)
                # a count so small that it is clamped belongs to an unused code, whose pull is 0
                self.codes.add_(pull / self.counts.clamp(min=torch.finfo(counts.dtype).tiny).unsqueeze(1))
        return {"perplexity": perplexity(counts), "dead_codes": self.find_dead().sum().to(counts.dtype)}


def perplexity(counts: Tensor) -> Tensor:
    """(*batch,): exp of the entropy of counts (*batch, K), the effective number of codes in use."""
    return torch.special.entr(counts / counts.sum(-1, keepdim=True)).sum(-1).exp()


def draw_tokens(tokens: Tensor, num: int, generator: torch.Generator | None = None) -> Tensor:
    """Random tokens of all processes, without replacement until every token was drawn. Equal in all processes.

    Args:
        tokens: (count, dim), with the same count in each process.
        num: number of tokens to draw.
        generator: chooses the tokens.

    Returns:
        (num, dim).
    """
    count = tokens.shape[0]
    total = count * num_processes()
    order = rand((total,), tokens, generator).argsort()
    places = broadcast_from_first(order[torch.arange(num, device=order.device) % total]) - process_index() * count
    own = (places >= 0) & (places < count)
    return sum_over_processes(torch.where(own.unsqueeze(1), tokens[places.clamp(0, count - 1)], 0))
