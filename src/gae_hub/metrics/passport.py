"""A number that knows how it was measured, and refuses to be compared with one that was measured otherwise."""

__all__ = ["Measurement", "Passport"]

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .._version import __version__

Z95 = 1.959963984540054  # half the width of a 95 % interval of N(0, 1)


@dataclass(frozen=True)
class Passport:
    """How a number was measured.

    Args:
        metric: what was measured, and by which formula.
        settings: what else the formula depends on, by name: neighbours, bins, splits.
        extractor: the network whose features were compared, its SHA-256, and how it resizes images.
        num_samples, num_references: how many were measured, and against how many.
        biased_by: which of these two counts the number depends on in expectation, as FID does on both.
        references_fingerprint: of the data on the other side, or that a likelihood is of, whatever its order.
        seed: of what was drawn.
        standard_error: of the number, over draws of the samples.
        interval, interval_method: where the number lies with a confidence of 95 %, and how that was found.
        details: what else is known, and changes nothing.
        library: name and version.
    """

    metric: str
    settings: dict[str, Any] = field(default_factory=dict)
    extractor: str | None = None
    extractor_sha256: str | None = None
    resize: str | None = None
    num_samples: int | None = None
    num_references: int | None = None
    biased_by: tuple[str, ...] = ()
    references_fingerprint: str | None = None
    seed: int | None = None
    standard_error: float | None = None
    interval: tuple[float, float] | None = None
    interval_method: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    library: str = f"gae_hub {__version__}"

    ALIKE = ("metric", "settings", "extractor", "extractor_sha256", "resize", "references_fingerprint")

    def to_dict(self) -> dict[str, Any]:
        """What is known, ready for JSON."""
        known = {name: value for name, value in asdict(self).items() if value not in (None, {}, ())}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in known.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Passport":
        """The passport that `to_dict` has written."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(
                f"a passport has no field {', '.join(unknown)}; its fields are {', '.join(sorted(known))}"
            )
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


class Measurement(float):
    """A float with a `passport`. Two of them compare, add, subtract and divide only if they were measured alike.

    Alike are metric, settings, extractor, resize and references; and for a number that is biased, how many images it
    is of: FID of 10 images is no FID of 50,000. Numbers without a passport compare as usual: the refusal is for two
    that are known to differ. float(x) has no passport.

    Raises:
        ValueError: from `==`, `<` and the like, `+`, `-` or `/` of two that were not measured alike.
    """

    passport: Passport

    def __new__(cls, value: float, passport: Passport):
        number = super().__new__(cls, value)
        number.passport = passport
        return number

    def __getnewargs__(self):
        return float(self), self.passport

    def check_alike(self, other: Any):
        """Raise unless the other number may be compared with this one."""
        if not isinstance(other, Measurement):
            return
        for name in (*Passport.ALIKE, *self.passport.biased_by, *other.passport.biased_by):
            mine, theirs = getattr(self.passport, name), getattr(other.passport, name)
            if mine != theirs:
                raise ValueError(
                    f"these two numbers cannot be compared: their {name} is {mine} and {theirs}; "
                    "measure both in the same way, or compare them as float(x) and float(y) at your own risk"
                )

    __hash__ = float.__hash__  # which a class that defines __eq__ would lose

    def __eq__(self, other):
        self.check_alike(other)
        return float(self) == other

    def __ne__(self, other):
        self.check_alike(other)
        return float(self) != other

    def __lt__(self, other):
        self.check_alike(other)
        return float(self) < other

    def __le__(self, other):
        self.check_alike(other)
        return float(self) <= other

    def __gt__(self, other):
        self.check_alike(other)
        return float(self) > other

    def __ge__(self, other):
        self.check_alike(other)
        return float(self) >= other

    def __add__(self, other):
        self.check_alike(other)
        return float(self) + other

    def __sub__(self, other):
        self.check_alike(other)
        return float(self) - other

    def __rsub__(self, other):
        return other - float(self)

    def __truediv__(self, other):
        self.check_alike(other)
        return float(self) / other


def normal_interval(value: float, error: float, least: float | None = None) -> tuple[float, float]:
    """The 95 % interval of a number with a normal error, cut at the least value that it can have."""
    low = value - Z95 * error
    return (low if least is None else max(least, low), value + Z95 * error)


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a proportion of independent cases (Wilson, 1927, doi:10.2307/2276774)."""
    centre = (share + Z95**2 / (2 * count)) / (1 + Z95**2 / count)
    half = Z95 / (1 + Z95**2 / count) * (share * (1 - share) / count + Z95**2 / (4 * count**2)) ** 0.5
    return centre - half, centre + half
