"""TraversalPipeline: what each latent dimension changes in images or other data."""

__all__ = ["TraversalPipeline"]

from collections.abc import Callable, Sequence
from math import inf, prod
from typing import Any

import torch
from torch import Tensor

from ..core.argument_checks import check_count, check_seed, describe
from ..models.conditional import ClassLabels
from ..modules.noise import randn
from .sampling_pipeline import UNSET, SamplerChoice, SamplingPipeline

_NUM_DRAWS = 4096  # latents from which the mean and standard deviation of a prior are estimated


class TraversalPipeline(SamplingPipeline):
    """Changes one latent dimension at a time: `model.traverse`. Arguments and inputs as in [`SamplingPipeline`].

    A call without an input starts from a draw of the sampler, or else of the model's prior; with an input, from its
    embedding. It returns one strip for each dimension: a list of `num_steps` PIL images, or an array (num_dimensions,
    num_steps, *input_shape) for other data.

    The dimension takes values from `num_std` standard deviations below the mean to `num_std` above: of N(0, I)
    exactly, of other priors and of samplers from 4,096 seeded draws. On a sphere, the other coordinates are scaled so
    that the point stays on it. Models with a codebook have no such dimensions.

    Options:
        dimensions: an index into the latents, or a list of them; all by default. Maps are flattened.
        num_steps: examples per strip, 9 by default.
        num_std: 2 by default.
        seed: seed of the draw, if there is no input. Random by default.
        sampler: as in `GenerationPipeline.stream`.

    Example:

    ```python
    traverse = pipeline("latent-traversal", model="user/betavae-mnist")
    strips = traverse("digit.png", dimensions=[0, 3])
    strips = traverse(seed=0)
    ```
    """

    default_task = "latent-traversal"
    _moments: tuple[Any, Tensor, Tensor] | None = None  # a sampler, with the mean and std of its latents

    def __call__(self, inputs: Any = None, **options: Any) -> Any:
        """The strips for one example, a list of them for many, or an iterator; see [`TaskPipeline`].

        Args:
            inputs: one example or many; None for a draw of the sampler or the prior.
            **options: as above.

        Raises:
            NotImplementedError: if the model has a codebook, or neither prior nor sampler.
            ValueError: for dimensions that the latents do not have, or a seed with an input.
        """
        self._moments = None
        return super().__call__(inputs, **options)

    def preprocess(self, input_: Any, timeout: float | None = None) -> dict[str, Any]:
        return {"pixel_values": None} if input_ is None else super().preprocess(input_, timeout)

    def compute(
        self,
        pixel_values: Tensor | None,
        dimensions: int | Sequence[int] | None = None,
        num_steps: int = 9,
        num_std: float = 2.0,
        seed: int | None = None,
        sampler: SamplerChoice = UNSET,
        class_labels: ClassLabels = None,
    ) -> Tensor:
        """(batch, num_dimensions, num_steps, *input_shape): the strips of a batch, or of one draw."""
        model = self.model if class_labels is None else self.model.given(class_labels)
        check_count("num_steps", num_steps, minimum=2)
        if pixel_values is not None and seed is not None:
            raise ValueError(f"seed is for a draw, but there is an input, which has no randomness: got seed {seed}")
        if isinstance(num_std, bool) or not isinstance(num_std, (int, float)) or not 0 < num_std < inf:
            raise ValueError(f"num_std must be a number above 0, got {describe(num_std)}")
        chosen = self._check_dimensions(dimensions)
        chosen_sampler = self.choose_sampler(sampler)
        draw = self._get_draw(chosen_sampler)
        if pixel_values is None:
            latents = draw(1, None if seed is None else torch.Generator().manual_seed(check_seed(seed)))
        else:
            latents = model.embed(pixel_values)
        if self._moments is None or self._moments[0] is not chosen_sampler:  # once for all batches of a call
            self._moments = chosen_sampler, *_estimate_moments(draw)
        _, mean, std = self._moments
        offsets = torch.linspace(-num_std, num_std, num_steps, device=latents.device, dtype=latents.dtype)
        index = torch.tensor(chosen, device=latents.device)
        values = mean[index, None].to(latents) + std[index, None].to(latents) * offsets
        return model.traverse(latents, index, values)

    def _check_dimensions(self, dimensions: int | Sequence[int] | None) -> list[int]:
        size = prod(self.model.latent_shape)
        if dimensions is None:
            return list(range(size))
        chosen = [dimensions] if isinstance(dimensions, int) else list(dimensions)
        if not chosen or not all(type(index) is int and 0 <= index < size for index in chosen):
            raise ValueError(f"dimensions must be integers from 0 to {size - 1}, got {dimensions!r:.80}")
        return chosen

    def _get_draw(self, sampler: Any) -> Callable[[int, torch.Generator | None], Tensor]:
        """The function that draws latents, on the model's device."""
        model = self.model
        if sampler is not None:
            return lambda num, generator: sampler.sample(num, generator).to(model.device)
        if not model.has_prior:
            raise NotImplementedError(
                f"{type(model).__name__} has no prior, whose standard deviations are the range of a traversal: pass "
                "sampler=, such as GaussianMixtureSampler().fit_to(model, images)"
            )
        return model.sample_prior


def _estimate_moments(draw: Callable[[int, torch.Generator | None], Tensor]) -> tuple[Tensor, Tensor]:
    """(size,) mean and standard deviation of flattened latents; exactly 0 and 1 for standard normal numbers."""
    with torch.no_grad():
        latents = draw(_NUM_DRAWS, torch.Generator().manual_seed(0)).flatten(1)
    noise = randn(latents.shape, latents, torch.Generator().manual_seed(0))
    if torch.equal(latents.to(noise), noise):
        return torch.zeros_like(noise[0]), torch.ones_like(noise[0])
    return latents.mean(0), latents.std(0)
