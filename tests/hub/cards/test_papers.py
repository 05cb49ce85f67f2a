"""The paper of each method, parsed from the docstring of its file."""

import re
import sys

import pytest
from cases import MODELS, SAMPLERS

from gae_hub import AEModel, BetaVAEModel, VAEModel
from gae_hub.hub.cards.papers import paper_of

CLASSES = [case.model_class for case in MODELS] + [type(case.build()) for case in SAMPLERS]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_method_has_a_paper(cls):
    paper, name = paper_of(cls), cls.__module__.rpartition(".")[2]
    first_paragraph = " ".join(sys.modules[cls.__module__].__doc__.partition("\n\n")[0].split())
    assert first_paragraph.startswith(f"{paper.name}: {paper.title} ("), (
        f"the docstring of {name}.py must begin with 'Name: Title (Authors, year), arXiv:number'"
    )
    assert paper.use_when, f"the docstring of {name}.py needs the line 'Use it when: ...'"
    assert paper.url.startswith("https://") and 1980 < paper.year < 2100 and paper.formula and paper.relations
    assert re.fullmatch(r"@article\{\w+\d{4},\n(  \w+ = \{.+\},?\n)+\}", paper.bibtex)


def test_fields_of_a_paper():
    paper = paper_of(BetaVAEModel)
    assert paper.title == "Learning Basic Visual Concepts with a Constrained Variational Framework"
    assert paper.authors.endswith("Mohamed & Lerchner") and paper.year == 2017
    assert paper.url == "https://openreview.net/forum?id=Sy2fzU9gl"
    assert "author = {Higgins and Matthey and" in paper.bibtex and "@article{higgins2017," in paper.bibtex
    assert "journal = {OpenReview}" in paper.bibtex
    assert "doi = {10.1126/science.1127647}" in paper_of(AEModel).bibtex
    assert "journal = {arXiv preprint arXiv:1312.6114}" in paper_of(VAEModel).bibtex


def test_a_subclass_has_the_paper_of_its_parent():
    class Custom(BetaVAEModel):
        pass

    assert paper_of(Custom) == paper_of(BetaVAEModel)
    assert paper_of(dict) is None
