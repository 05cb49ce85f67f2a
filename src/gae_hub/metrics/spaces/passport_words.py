"""How a number was measured, in sentences."""

__all__ = ["describe_passport"]

from collections.abc import Iterator, Mapping
from typing import Any

from ..results import Passport

_SHOWN_DIGITS = 12  # of a SHA-256


def describe_passport(passport: Passport) -> list[str]:
    """Sentences about the fields of a passport that are set."""
    return list(_sentences(passport))


def _sentences(passport: Passport) -> Iterator[str]:
    yield from _counts(passport)
    if passport.extractor == "features":
        yield "The files hold features, which were compared as they are."
    elif passport.extractor is not None:
        network = f"the extractor {passport.extractor}"
        if passport.extractor_sha256 is not None:
            network += f" (SHA-256 {passport.extractor_sha256[:_SHOWN_DIGITS]}…)"
        yield f"Features come from {network}."
    if passport.extractor_training:
        yield f"The extractor's training: {_list(passport.extractor_training)}."
    if passport.resize is not None:
        yield f"Images are resized and scaled as {passport.resize}."
    if passport.settings:
        yield f"Settings: {_list(passport.settings)}."
    yield from _uncertainty(passport)
    if passport.references_fingerprint is not None:
        yield f"The references have the fingerprint {passport.references_fingerprint[:_SHOWN_DIGITS]}…"
    if passport.seed is not None:
        yield f"Everything random has the seed {passport.seed}."
    if passport.details:
        yield f"Also recorded: {_list(passport.details)}."
    yield f"Measured with {passport.library}."


def _counts(passport: Passport) -> Iterator[str]:
    if passport.num_samples is not None:
        examples = "example" if passport.num_samples == 1 else "examples"
        compared = f", compared with {passport.num_references:,} references" if passport.num_references else ""
        yield f"Measured on {passport.num_samples:,} {examples}{compared}."
    if passport.biased_by:
        sides = {"num_samples": "predictions", "num_references": "references"}
        names = " and ".join(sides.get(name, name) for name in passport.biased_by)
        yield f"The expected value depends on the number of {names}: compare it with values of the same numbers only."


def _uncertainty(passport: Passport) -> Iterator[str]:
    by = f", by {passport.interval_method}" if passport.interval_method else ""
    if passport.interval is not None:
        yield f"95 % interval of the value for infinitely many images: {_range(passport.interval)}{by}."
    if passport.same_count_interval is not None:
        yield f"95 % interval of the expected value for as many images: {_range(passport.same_count_interval)}{by}."
    if passport.standard_error is not None:
        yield f"Its standard error is {passport.standard_error:.3g}."
    if passport.refit_std is not None:
        yield f"Refits on the same data have the standard deviation {passport.refit_std:.3g}."
    if passport.interval is None and passport.same_count_interval is None and passport.refit_std is None:
        yield "No interval is known for this number."


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.5g} to {ends[1]:.5g}"


def _list(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_text(value)}" for name, value in values.items())


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return f"({_list(value)})"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return str(value)
