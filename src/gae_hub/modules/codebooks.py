r"""Vector quantization: a codebook that follows the data, and what the models have in common that decode its codes.

A latent map (latent_dim, height, width) holds one token for each position, a latent vector is one token; tokens are
(\*batch, latent_dim), their codes (\*batch,).
"""

__all__ = ["Codebook", "kmeans"]


import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init

from gae_hub.core.distributed import broadcast_from_first, num_processes, process_index, sum_over_processes

from .noise import rand
from .precision import at_least_float32, full_precision

_TOKENS_PER_CODE = 64  # what k-means sees at most


class Codebook(nn.Module):
    r"""K vectors and a running count of the tokens that each is given, equal in all processes.

    A training step calls `prepare`, looks the codes up, and calls `observe`: so it decodes the codes as they were
    before its own update. With n tokens of sum s, a code e of count N becomes

    .. math::
        N \leftarrow \gamma N + (1 - \gamma) n, \quad e \leftarrow e + (1 - \gamma) (s - n e) / N,

    which is the paper's e = m / N with m = N e. As m is not stored, a code that is not used stays exactly where it is,
    however small its count becomes.

    Args:
        num_codes: K.
        dim: size of a code.
        ema_decay: decay of the running counts and sums, per training step.
        revival_threshold: a code with less than this share of the mean count is dead, and moves to a random token of
            the next batch; 0 revives none.
        num_kmeans_iterations: iterations of the k-means on the first training batch.
        learned: whether the codes are a parameter, moved by the gradient, in place of the update above.
        radius: of the sphere on which the codes begin; without it, as in the paper's code, a cube of width 2 / K.
        from_data: whether the first training batch takes the place of that beginning.
    """

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
            self.codes.copy_(broadcast_from_first(kmeans(sample, size, self.num_kmeans_iterations, generator)))
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
            self.counts.lerp_(counts, 1 - self.ema_decay)
            if not self.learned:
                pull = (1 - self.ema_decay) * (sums - counts.unsqueeze(1) * self.codes)
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


def random_tokens(tokens: Tensor, num: int, generator: torch.Generator | None = None) -> Tensor:
    """(num, dim) of the tokens of all processes, (count, dim) in each, in random order; all before one comes again."""
    count, total = len(tokens), len(tokens) * num_processes()
    order = rand((total,), tokens, generator).argsort()
    places = broadcast_from_first(order[torch.arange(num, device=order.device) % total]) - process_index() * count
    own = (places >= 0) & (places < count)
    return sum_over_processes(torch.where(own.unsqueeze(1), tokens[places.clamp(0, count - 1)], 0))
