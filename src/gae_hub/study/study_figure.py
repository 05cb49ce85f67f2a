"""One figure of a study: its file, what it shows, and why it is missing if it is."""

__all__ = ["StudyFigure", "file_name"]

import hashlib
import re
import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True)
class StudyFigure:
    """A figure of a study.

    Args:
        name: name of its files, without a suffix.
        title: heading.
        caption: what is shown, how configurations were chosen, and how to read it.
        paper: the figure of the paper that it corresponds to, "Figure 2"; None if there is none.
        task: what it is about, for filters: "interpolation", "generation", "training", "all".
        method: name of the method, if it shows only one.
        dataset, network: what it is limited to; None for all.
        missing: why it was not drawn; None if it was.
    """

    name: str
    title: str
    caption: str
    paper: str | None = None
    task: str = "all"
    method: str | None = None
    dataset: str | None = None
    network: str | None = None
    missing: str | None = None


def file_name(*parts: str) -> str:
    """A file name, and a name in the page, of lower-case letters, digits, "-" and "_": "method--beta-vae".

    A part that has other characters than letters, digits and "-" gets a checksum. Parts that differ in more than
    upper and lower case, which the names of a study do, therefore give different names.
    """
    return "--".join(map(_slug, parts))


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:80].strip("-")
    if slug and slug == text.lower():
        return slug
    return f"{slug}_{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:8]}"
