"""Passports say how numbers were measured; only numbers that were measured in the same way can be compared."""

__all__ = ["comparable"]

from collections.abc import Sequence
from typing import Any

# as `Passport.COMPARED_FIELDS` (importing it would load torch)
COMPARED_FIELDS = ("metric", "settings", "extractor", "extractor_sha256", "resize", "references_fingerprint")


def comparable(passports: Sequence[dict[str, Any]]) -> bool:
    """Whether numbers with these passports were measured in the same way. Empty passports are accepted."""
    known = [passport for passport in passports if passport]
    fields = [*COMPARED_FIELDS, *sorted({count for passport in known for count in passport.get("biased_by", ())})]
    if all(passport.get("extractor_sha256") for passport in known):
        fields.remove("extractor")  # equal weights are the same extractor, whatever its name
    return all(passport.get(name) == known[0].get(name) for passport in known for name in fields)
