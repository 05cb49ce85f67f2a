"""Binarisation of grey values: at a threshold, or at random with the grey value as the probability of 1."""

__all__ = ["BINARIZATIONS", "Binarization"]

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from torch import Tensor

from ..core.argument_checks import check_seed, describe
from ..modules.inputs import check_values
from .pixel_noise import draw_noise

Kind: TypeAlias = Literal["threshold", "stochastic"]
BINARIZATIONS: tuple[Kind, ...] = ("threshold", "stochastic")


@dataclass(frozen=True)
class Binarization:
    """Maps grey values in [0, 1] to 0 or 1.

    Stochastic binarisation draws each image once (Salakhutdinov & Murray, 2008, doi:10.1145/1390156.1390266): the draw
    depends on the image and the seed, so that each epoch, a resumed run and later commands see the same pixels.

    Args:
        kind: "threshold", which maps values of 0.5 and more to 1; or "stochastic", which draws 1 with the grey value
            as its probability.
        seed: seed of the draws.

    Raises:
        ValueError: if the kind is unknown, or the seed is not an integer.
    """

    kind: Kind
    seed: int = 0

    def __post_init__(self):
        if self.kind not in BINARIZATIONS:
            raise ValueError(f"binarize must be one of {', '.join(BINARIZATIONS)}, got {describe(self.kind)}")
        object.__setattr__(self, "seed", check_seed(self.seed))

    def apply(self, pixel_values: Tensor) -> Tensor:
        """(num, *input_shape) float32 values 0 and 1, from values in [0, 1]. Values 0 and 1 stay.

        Raises:
            ValueError: if a value is outside [0, 1].
        """
        if not pixel_values.numel():  # a part of the data of which no example could be read
            return pixel_values.float()
        check_values(pixel_values)
        if self.kind == "threshold":
            return (pixel_values >= 0.5).float()
        return (draw_noise(pixel_values, self.seed).to(pixel_values.device) < pixel_values).float()

    def explain(self) -> str:
        """How pixels are made binary, for the card: the end of a sentence."""
        if self.kind == "threshold":
            return "at a threshold of 0.5"
        return (
            f"at random with seed {self.seed}: each pixel is drawn once, with its grey value as the probability of 1"
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON values, which `from_dict` reads."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> "Binarization":
        """The binarisation of a dict from `to_dict`, which may come from anyone.

        Raises:
            ValueError: if it is not such a dict.
        """
        if not isinstance(values, Mapping) or set(values) != {"kind", "seed"}:
            raise ValueError(f"binarization must be a dict of kind and seed, got {describe(values)}")
        return cls(values["kind"], values["seed"])
