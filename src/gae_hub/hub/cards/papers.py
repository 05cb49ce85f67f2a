"""The paper behind a method, parsed from its file's docstring: name, title, authors, year, identifier, formula."""

__all__ = ["GROUPS", "Paper", "paper_of"]

import inspect
import re
import sys
from dataclasses import dataclass
from textwrap import dedent

_FIRST_LINE = re.compile(
    r"(?P<name>[^:]+): (?P<title>.+) \((?P<authors>[^()]+), (?P<year>\d{4})\), (?P<id>\S+:\S+?)\.?"
)
_URLS = {
    "arXiv": "https://arxiv.org/abs/",
    "doi": "https://doi.org/",
    "openreview": "https://openreview.net/forum?id=",
}


GROUPS = {
    "objective": "Objective: what is minimised",
    "bound": "Bound: posterior and evidence bound",
    "prior": "Prior: learned with the model",
    "adversarial": "Adversarial: with a discriminator",
    "discrete": "Discrete: integer codes",
    "geometry": "Geometry: curved latent spaces",
}
"""What a method changes, from the line `Changes:` of its docstring, to the title of such methods in lists."""


@dataclass(frozen=True)
class Paper:
    """A method's paper.

    Args:
        name: name of the method.
        title: title of the paper.
        authors: family names, separated by ", " and " & ", or ending in "et al.".
        year: year of publication.
        id: "arXiv:...", "doi:..." or "openreview:...".
        formula: the loss in LaTeX, if the docstring has one.
        relations: how the method relates to others.
        changes: what the method changes, a key of `GROUPS`; empty for a sampler.
        use_when: when to choose the method.
    """

    name: str
    title: str
    authors: str
    year: int
    id: str
    formula: str | None = None
    relations: str = ""
    changes: str = ""
    use_when: str = ""

    @property
    def url(self) -> str:
        """Web address of the paper."""
        scheme, _, number = self.id.partition(":")
        return _URLS[scheme] + number

    @property
    def bibtex(self) -> str:
        """BibTeX entry of the paper."""
        scheme, _, number = self.id.partition(":")
        first_author = re.sub(r"\W", "", re.split(r",| & | et al", self.authors)[0].split()[-1].lower())
        authors = re.sub(r" et al\.?$", " and others", re.sub(r", | & ", " and ", self.authors))
        place = {"arXiv": f"journal = {{arXiv preprint {self.id}}}", "openreview": "journal = {OpenReview}"}
        return (
            f"@article{{{first_author}{self.year},\n  title = {{{self.title}}},\n  author = {{{authors}}},\n"
            f"  year = {{{self.year}}},\n  {place.get(scheme, f'doi = {{{number}}}')},\n  url = {{{self.url}}}\n}}"
        )


def paper_of(method_class: type) -> Paper | None:
    """The paper of a model or sampler class, or of its nearest parent that has one; None if no parent has one."""
    for cls in method_class.__mro__:
        text = inspect.cleandoc(sys.modules[cls.__module__].__doc__ or "")
        first_paragraph, _, rest = text.partition("\n\n")
        match = _FIRST_LINE.fullmatch(" ".join(first_paragraph.split()))
        if match is not None and match["id"].partition(":")[0] in _URLS:
            return _parse_paper(match, rest)
    return None


def _parse_paper(first: re.Match, rest: str) -> Paper:
    formula = re.search(r"\.\. math::\n((?:    .*\n|\n)+)", rest)
    return Paper(
        name=first["name"],
        title=first["title"],
        authors=first["authors"],
        year=int(first["year"]),
        id=first["id"],
        formula=" ".join(line.strip() for line in formula[1].strip().splitlines()) if formula else None,
        relations=dedent(rest.partition("Relations:\n")[2]).strip(),
        changes=_parse_line("Changes", rest).rstrip("."),
        use_when=_parse_line("Use it when", rest),
    )


def _parse_line(label: str, text: str) -> str:
    """The text after "label: ", with its indented continuation lines."""
    found = re.search(rf"^{label}: (.*(?:\n    .*)*)", text, re.M)
    return " ".join(found[1].split()) if found else ""
