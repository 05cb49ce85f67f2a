"""Results: an estimate with its uncertainty, and a measured number with the record of how it was measured."""

__all__ = ["Estimate", "Measurement", "Passport"]

import operator
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

from torch import Tensor

from .._version import __version__

Z95 = 1.959963984540054  # half the width of the 95 % interval of N(0, 1)


@dataclass(frozen=True)
class Estimate:
    """A value with its uncertainty, as plain functions of arrays return it.

    Args:
        value: the estimated number.
        error: standard error of the value, over the draws that the interval is about.
        interval: 95 % confidence interval.
        method: how error and interval were computed.
        details: anything else worth recording, by name.
        interval_name: field of [`Passport`] for the interval, which says what it covers: "interval" or
            "same_count_interval".
        refit_std: standard deviation over refits on the same data, without Bessel's correction.
    """

    value: float
    error: float | None = None
    interval: tuple[float, float] | None = None
    method: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    interval_name: str = "interval"
    refit_std: float | None = None

    @classmethod
    def normal(
        cls, value: float, error: float, method: str, lower_bound: float | None = None, **details: Any
    ) -> "Estimate":
        """Estimate with the interval of a normal distribution, cut off at the smallest possible value."""
        return cls(value, error, _interval(value, error, Z95, lower_bound), method, details)

    @classmethod
    def mean(cls, values: Tensor, lower_bound: float | None = None, **details: Any) -> "Estimate":
        """Mean of (num,) independent values, with Student's interval."""
        values = values.double()
        mean, num = values.mean().item(), len(values)
        if num < 2:
            return cls(mean, details=details)
        error = (values.std() / num**0.5).item()
        interval = _interval(mean, error, _student_quantile(num - 1), lower_bound)
        return cls(mean, error, interval, "closed form: mean of independent images, Student's t", details)

    @classmethod
    def mean_of_refits(cls, values: Tensor) -> "Estimate":
        """Mean of the (num,) values of refits on the same data, with their standard deviation.

        There is no interval: the mean over refits says nothing about other data, and its error is not normal where few
        of the fits fail. `details` holds `num_refits`.
        """
        values = values.double()
        details = {"num_refits": len(values)}
        return cls(values.mean().item(), details=details, refit_std=values.std(correction=0).item())

    @classmethod
    def proportion(cls, hits: Tensor, **details: Any) -> "Estimate":
        """Proportion of true values among (num,) independent booleans."""
        value = hits.double().mean().item()
        error = (value * (1 - value) / len(hits)) ** 0.5
        return cls(value, error, _wilson_interval(value, len(hits)), "closed form: Wilson", details)

    @classmethod
    def jackknife(
        cls,
        value: float,
        *left_out: Tensor,
        lower_bound: float | None = None,
        num_cases: int | None = None,
        **details: Any,
    ) -> "Estimate":
        """Value of a function of independent rows, with the interval of its expectation at the same numbers of rows.

        The variance is the sum over sides of (n - 1) / n times the squared deviations of the values without one row.
        It is at least as large as the variance of the function, in expectation and for any function (The Jackknife
        Estimate of Variance, Efron & Stein, 1981, doi:10.1214/aos/1176345462).

        Args:
            value: the function of all rows.
            left_out: for each side, (num,) values of the function without one of its rows.
            lower_bound: the smallest possible value.
            num_cases: for a proportion, the number of cases. The interval is then cut off at 0 and 1, and contains
                Wilson's interval for independent cases, so it has a width at 0 and 1.
        """
        sides = (values.double() for values in left_out)
        spreads = [(len(side) - 1) / len(side) * (side - side.mean()).square().sum() for side in sides]
        error = sum(spread.item() for spread in spreads) ** 0.5
        interval = _interval(value, error, Z95, lower_bound)
        if num_cases is not None:
            low, high = _wilson_interval(value, num_cases)
            interval = max(0.0, min(interval[0], low)), min(1.0, max(interval[1], high))
        return cls(value, error, interval, "jackknife", details, "same_count_interval")


@dataclass(frozen=True)
class Passport:
    """Record of how a number was measured.

    Args:
        metric: name of the number.
        settings: options that change the number, by name: neighbours, bins, splits.
        extractor: name of the network whose features were compared.
        extractor_sha256: SHA-256 of the extractor's tensors.
        extractor_training: what the extractor was trained on and how well, if it has a record; None means unknown.
        resize: how the extractor resizes and scales images.
        num_samples: number of measured samples.
        num_references: number of references that they were compared with.
        biased_by: the counts that the expected value of the number depends on: num_samples, num_references or both.
        references_fingerprint: fingerprint of the references, or of the data that a likelihood was computed for. It
            does not depend on their order.
        seed: seed of everything random.
        standard_error: standard error of the number, over the draws that its interval is about.
        interval: 95 % confidence interval of the value for infinitely many images.
        same_count_interval: 95 % confidence interval of the expected value for as many samples and references, for
            numbers whose expectation depends on these counts.
        refit_std: standard deviation of the number over refits on the same data, without Bessel's correction. It says
            nothing about other data.
        interval_method: how standard error and interval were computed.
        details: additional information that does not change the number.
        library: name and version of the library.
    """

    metric: str
    settings: dict[str, Any] = field(default_factory=dict)
    extractor: str | None = None
    extractor_sha256: str | None = None
    extractor_training: dict[str, Any] = field(default_factory=dict)
    resize: str | None = None
    num_samples: int | None = None
    num_references: int | None = None
    biased_by: tuple[str, ...] = ()
    references_fingerprint: str | None = None
    seed: int | None = None
    standard_error: float | None = None
    interval: tuple[float, float] | None = None
    same_count_interval: tuple[float, float] | None = None
    refit_std: float | None = None
    interval_method: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    library: str = f"gae_hub {__version__}"

    COMPARED_FIELDS: ClassVar[tuple[str, ...]] = (
        "metric",
        "settings",
        "extractor",
        "extractor_sha256",
        "resize",
        "references_fingerprint",
    )

    @property
    def uncertainty(self) -> dict[str, Any]:
        """Those of `interval`, `same_count_interval` and `refit_std` that are set."""
        found = {name: getattr(self, name) for name in ("interval", "same_count_interval", "refit_std")}
        return {name: value for name, value in found.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """Fields that are set, ready for JSON."""
        known = {name: value for name, value in asdict(self).items() if value not in (None, {}, ())}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in known.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Passport":
        """Passport from the output of `to_dict`.

        Raises:
            ValueError: for an unknown field.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"Passport has no field {', '.join(unknown)}; its fields are {', '.join(sorted(known))}")
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**given)


def _checked(operation: Callable[[Any, Any], Any]) -> Callable[["Measurement", Any], Any]:
    """A binary operation of floats that first checks that both operands are comparable."""

    def apply(self: "Measurement", other: Any) -> Any:
        self.check_comparable(other)
        return operation(float(self), other)

    return apply


class Measurement(float):
    """A float with a `passport`.

    Comparing, adding, subtracting or dividing two measurements raises ValueError unless both were measured in the same
    way: same metric, settings, extractor, resizing and references, and same counts where the number is biased by them.
    FID of 10 images cannot be compared with FID of 50,000. Plain numbers have no passport and are accepted;
    `float(x)` removes the passport.
    """

    passport: Passport

    def __new__(cls, value: float, passport: Passport):
        number = super().__new__(cls, value)
        number.passport = passport
        return number

    def __getnewargs__(self):
        return float(self), self.passport

    def check_comparable(self, other: Any):
        """Raise ValueError if `other` is a measurement that was measured in another way."""
        if not isinstance(other, Measurement):
            return
        for name in (*Passport.COMPARED_FIELDS, *self.passport.biased_by, *other.passport.biased_by):
            mine, theirs = getattr(self.passport, name), getattr(other.passport, name)
            if mine != theirs:
                raise ValueError(
                    f"these numbers cannot be compared: their {name} is {mine} and {theirs}; measure both in the same "
                    "way, or drop the check with float(x) and float(y)"
                )

    __hash__ = float.__hash__  # Python removes it from a class that defines __eq__

    __eq__ = _checked(operator.eq)
    __ne__ = _checked(operator.ne)
    __lt__ = _checked(operator.lt)
    __le__ = _checked(operator.le)
    __gt__ = _checked(operator.gt)
    __ge__ = _checked(operator.ge)
    __add__ = _checked(operator.add)
    __sub__ = _checked(operator.sub)
    __truediv__ = _checked(operator.truediv)


def _interval(value: float, error: float, quantile: float, lower_bound: float | None) -> tuple[float, float]:
    """Value plus and minus quantile * error, cut off at the smallest possible value."""
    low = value - quantile * error
    return (low if lower_bound is None else max(lower_bound, low), value + quantile * error)


def _student_quantile(num_degrees: int) -> float:
    """Half the width of the 95 % interval of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(num_degrees, 0.975))


def _wilson_interval(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a proportion of independent cases (Wilson, 1927, doi:10.2307/2276774)."""
    centre = (share + Z95**2 / (2 * count)) / (1 + Z95**2 / count)
    half = Z95 / (1 + Z95**2 / count) * (share * (1 - share) / count + Z95**2 / (4 * count**2)) ** 0.5
    return min(share, centre - half), max(share, centre + half)  # at 0 and 1, rounding would exclude the share
