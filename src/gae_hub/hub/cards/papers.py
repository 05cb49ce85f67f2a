"""The paper behind a method, read from the first lines of its file: name, title, authors, year, identifier."""

__all__ = ["Paper", "paper_of"]

import inspect
import re
import sys
from dataclasses import dataclass
from textwrap import dedent

_FIRST = re.compile(r"(?P<name>[^:]+): (?P<title>.+) \((?P<authors>[^()]+), (?P<year>\d{4})\), (?P<id>\S+:\S+?)\.?")
_URLS = {
    "arXiv": "https://arxiv.org/abs/",
    "doi": "https://doi.org/",
    "openreview": "https://openreview.net/forum?id=",
}


@dataclass(frozen=True)
class Paper:
    """What a method's docstring says of its paper."""

    name: str
    title: str
    authors: str
    year: int
    id: str
    formula: str | None = None
    relations: str = ""

    @property
    def url(self) -> str:
        scheme, _, number = self.id.partition(":")
        return _URLS[scheme] + number

    @property
    def bibtex(self) -> str:
        scheme, _, number = self.id.partition(":")
        first = re.sub(r"\W", "", re.split(r",| & | et al", self.authors)[0].split()[-1].lower())
        authors = re.sub(r" et al\.?$", " and others", re.sub(r", | & ", " and ", self.authors))
        journal = f"arXiv preprint {self.id}" if scheme == "arXiv" else scheme
        return (
            f"@article{{{first}{self.year},\n  title = {{{self.title}}},\n  author = {{{authors}}},\n"
            f"  year = {{{self.year}}},\n  journal = {{{journal}}},\n  url = {{{self.url}}}\n}}"
        )


def paper_of(model_class: type) -> Paper | None:
    """The paper of a model or sampler class; for a class of somebody's own that of its nearest parent, or None."""
    for cls in model_class.__mro__:
        text = inspect.cleandoc(sys.modules[cls.__module__].__doc__ or "")
        first, _, rest = text.partition("\n\n")
        match = _FIRST.fullmatch(" ".join(first.split()))
        if match is not None and match["id"].partition(":")[0] in _URLS:
            return _paper(match, rest)
    return None


def _paper(first: re.Match, rest: str) -> Paper:
    formula = re.search(r"\.\. math::\n((?:    .*\n|\n)+)", rest)
    return Paper(
        **{**first.groupdict(), "year": int(first["year"])},
        formula=formula and " ".join(line.strip() for line in formula[1].strip().splitlines()),
        relations=dedent(rest.partition("Relations:\n")[2]).strip(),
    )
