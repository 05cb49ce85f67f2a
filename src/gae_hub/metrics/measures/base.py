"""What every measure is: batches of predictions and references in, numbers with their passports out."""

__all__ = ["COUNTS", "MEASURES", "SIDES", "Measure", "Rows"]

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...core.distributed import gather_rows
from ..estimate import Estimate
from ..fingerprint import Fingerprint
from ..passport import Measurement, Passport

MEASURES: dict[str, type["Measure"]] = {}
"""Name to class, of every measure that is published as a metric of `evaluate`."""

SIDES = ("predictions", "references")
COUNTS = ("num_samples", "num_references")
_DTYPES = (torch.float32, torch.float64, torch.int64)


class Rows:
    """Rows that arrive in batches and are kept: what a measure needs that no running sum can stand for."""

    def __init__(self, rows: Tensor | None = None):
        self.parts: list[Tensor] = [] if rows is None else [rows]

    @property
    def count(self) -> int:
        return sum(map(len, self.parts))

    def add(self, rows: Tensor) -> "Rows":
        if self.parts and rows.shape[1:] != self.parts[0].shape[1:]:
            raise ValueError(f"rows of shape {tuple(rows.shape[1:])} follow some of {tuple(self.parts[0].shape[1:])}")
        self.parts.append(rows.detach())
        return self

    def merge(self, other: "Rows") -> "Rows":
        for rows in other.parts:
            self.add(rows)
        return self

    def reduce(self) -> "Rows":
        """The rows of all processes, on each of them."""
        own = self.tensor()
        known = torch.tensor([[own.dim(), _DTYPES.index(own.dtype)]] if self.parts else [[0, 0]])
        axes, dtype = gather_rows(known).amax(0).tolist()
        if not axes:
            return self
        empty = torch.zeros(0, *[0] * (axes - 1), dtype=_DTYPES[dtype])
        return Rows(gather_rows(own if self.parts else empty))

    def tensor(self) -> Tensor:
        """(num, ...); (0,) if there are none."""
        return torch.cat(self.parts) if self.parts else torch.zeros(0)


class Measure:
    """Base of every measure: `add` batches, `merge` what others have seen, `compute`.

    Under `torch.distributed`, `compute` measures the batches of all processes together, on each of them.

    Args:
        **options: what the measure's function takes besides the two sides; `compute` takes them too.

    Raises:
        ValueError: for an option that it does not have.
    """

    name = ""
    predictions = ""  # what they are, for people
    references: str | None = None  # the same; None if the measure needs no other side
    settings: dict[str, Any] = {}  # what a passport says of the measure besides its options
    function: Callable[..., dict[str, Estimate]]
    seed: int | None = None  # of what its inputs were drawn by, where the caller knows

    def __init_subclass__(cls):
        if cls.name:
            MEASURES[cls.name] = cls

    def __init__(self, **options):
        self.options = self._known(options)
        self.reset()

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Options and their defaults."""
        parameters = inspect.signature(cls.function).parameters.values()
        return {p.name: p.default for p in parameters if p.default is not p.empty}

    def _known(self, options: dict[str, Any]) -> dict[str, Any]:
        for name in options:
            if name not in self.defaults():
                known = ", ".join(self.defaults()) or "none"
                raise ValueError(f"the metric '{self.name}' has no option '{name}'; its options are {known}")
        return options

    def reset(self):
        """Forget all batches."""
        self.sides = {side: Rows() for side in SIDES}
        self.fingerprint = Fingerprint()  # of the references

    def add(self, predictions=None, references=None):
        """Add a batch of one side or of both; the two may have unlike sizes, unless the measure compares pairs."""
        for side, batch in zip(SIDES, (predictions, references), strict=True):
            if batch is not None and (side == "predictions" or self.references):
                self.sides[side].add(self.rows(side, batch))
                if side == "references":
                    self.identify(batch)

    def identify(self, references):
        """Take a batch of references into their fingerprint."""
        self.fingerprint.add(self.rows("references", references))

    def rows(self, side: str, batch) -> Tensor:
        """(num, ...) rows from a batch as people give it."""
        if isinstance(batch, (list, tuple)) and any(isinstance(row, Tensor) for row in batch):
            batch = torch.stack([torch.as_tensor(row) for row in batch])
        rows = torch.as_tensor(batch).detach()
        if not rows.dim():
            raise ValueError(f"{side} must be a batch, (num, ...), got a single number")
        return rows.to(torch.int64 if not rows.is_floating_point() else torch.promote_types(rows.dtype, torch.float32))

    def merge(self, other: "Measure"):
        """Add what another object of the same measure has seen."""
        for side in SIDES:
            self.sides[side].merge(other.sides[side])
        self.fingerprint.merge(other.fingerprint)

    def compute(self, **options) -> dict[str, Measurement]:
        """Named numbers, each with its passport.

        Raises:
            ValueError: if a side is empty, or too small for the measure.
        """
        options = {**self.defaults(), **self.options, **self._known(options)}
        sides, fingerprint = [self.sides[side].reduce() for side in SIDES], self.fingerprint.reduce()
        for side, rows, what in zip(SIDES, sides, (self.predictions, self.references), strict=True):
            if what and not what.startswith("optional") and not rows.count:
                raise ValueError(f"'{self.name}' was given no {side}: {what}")
        settings = {name: value for name, value in options.items() if name != "seed" and _is_plain(value)}
        return {
            name: Measurement(
                estimate.value,
                Passport(
                    metric=name,
                    settings=settings | self.settings,
                    num_samples=sides[0].count,
                    num_references=sides[1].count or None,
                    biased_by=self.biased_by(name, **options),
                    references_fingerprint=fingerprint.hex() if fingerprint.total else None,
                    seed=options.get("seed", self.seed),
                    standard_error=estimate.error,
                    interval=estimate.interval,
                    interval_method=estimate.method,
                    details=estimate.details,
                    **self.origin(),
                ),
            )
            for name, estimate in self.estimate(*sides, **options).items()
        }

    def estimate(self, predictions, references, **options) -> dict[str, Estimate]:
        both = [predictions.tensor()] + ([references.tensor()] if self.references else [])
        return type(self).function(*both, **options)

    def biased_by(self, number: str, **options) -> tuple[str, ...]:
        """The counts, of `COUNTS`, that the expectation of a number depends on."""
        return ()

    def origin(self) -> dict[str, Any]:
        """Extractor fields of the passport."""
        return {}


def _is_plain(value) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))
