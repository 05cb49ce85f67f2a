"""A decoder-only transformer for maps of codes: the GPT-2 of transformers, with codes as its tokens."""

__all__ = ["CodeTransformer"]

from math import prod

import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2Model
from transformers.cache_utils import DynamicCache

from .pixel_cnn import invert_distribution
from .precision import at_least_float32


class CodeTransformer(nn.Module):
    """Logits of each code given the codes before it in raster order, the last axis fastest, and of lower levels.

    The vocabulary has the values of the codes of each level, and after them a start token of each class. The weights
    of the logits are those of the embedding, as in GPT-2.

    Args:
        num_embeddings: number of values of a code.
        num_levels: number of codes per position.
        code_shape: sizes of the maps.
        hidden_size: size of the features.
        num_hidden_layers: number of layers.
        num_attention_heads: number of heads, a divisor of `hidden_size`.
        dropout: probability of dropping a feature in training.
        num_classes: number of classes to condition on, or None.
    """

    def __init__(
        self,
        num_embeddings: int,
        num_levels: int,
        code_shape: tuple[int, ...],
        hidden_size: int,
        num_hidden_layers: int,
        num_attention_heads: int,
        dropout: float,
        num_classes: int | None = None,
    ):
        super().__init__()
        self.num_embeddings, self.num_levels = num_embeddings, num_levels
        config = GPT2Config(
            vocab_size=num_levels * num_embeddings + (num_classes or 1),
            n_positions=prod(code_shape) * num_levels,
            n_embd=hidden_size,
            n_layer=num_hidden_layers,
            n_head=num_attention_heads,
            resid_pdrop=dropout,
            embd_pdrop=dropout,
            attn_pdrop=dropout,
            bos_token_id=None,
            eos_token_id=None,
            use_cache=False,
        )
        self.transformer = GPT2Model(config)

    def forward(self, codes: Tensor, class_labels: Tensor | None = None) -> Tensor:
        """(batch, *sizes, levels, num_embeddings) logits.

        Args:
            codes: (batch, *sizes, levels) integers.
            class_labels: (batch,) integers, if the network has classes.
        """
        levels = torch.arange(self.num_levels, device=codes.device)
        tokens = (codes + self.num_embeddings * levels).flatten(1)
        inputs = torch.cat([self._start(codes, class_labels), tokens[:, :-1]], 1)
        features = self.transformer(input_ids=inputs).last_hidden_state.view(*codes.shape, -1)
        return at_least_float32(torch.einsum("...lh,lkh->...lk", features, self._embeddings()))

    def _start(self, codes: Tensor, class_labels: Tensor | None) -> Tensor:
        """(batch, 1): the start token of each map's class."""
        first = torch.full_like(codes.flatten(1)[:, :1], self.num_levels * self.num_embeddings)
        return first if class_labels is None else first + class_labels.unsqueeze(1)

    def _embeddings(self) -> Tensor:
        """(levels, num_embeddings, hidden_size): the embeddings of the codes."""
        codes = self.transformer.wte.weight[: self.num_levels * self.num_embeddings]
        return codes.view(self.num_levels, self.num_embeddings, -1)

    def sample(self, uniform: Tensor, class_labels: Tensor | None = None) -> Tensor:
        """(batch, *sizes, levels) codes by the inverse of the distribution function.

        Keys and values of earlier codes are cached, so each code costs one pass of one token.

        Args:
            uniform: (batch, *sizes, levels) uniform numbers in [0, 1).
            class_labels: (batch,) integers, if the network has classes.
        """
        codes = torch.zeros_like(uniform, dtype=torch.long)
        cache, embeddings = DynamicCache(config=self.transformer.config), self._embeddings()
        token, drawn = self._start(codes, class_labels), codes.view(len(codes), -1)
        for place, own in enumerate(uniform.flatten(1).T):
            level = place % self.num_levels
            output = self.transformer(input_ids=token, past_key_values=cache, use_cache=True)
            logits = at_least_float32(output.last_hidden_state[:, 0] @ embeddings[level].T)
            drawn[:, place] = invert_distribution(logits, own)
            token = drawn[:, place : place + 1] + level * self.num_embeddings
        return codes
