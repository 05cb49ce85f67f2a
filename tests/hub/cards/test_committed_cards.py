"""The cards in model_cards/ show the numbers in their measured.json."""

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from gae_hub.hub.cards.merging import BEGIN, END

CARDS = sorted((Path(__file__).parents[3] / "model_cards").glob("*/README.md"))


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.parent.name)
def test_cards_show_what_was_measured(path):
    card, measured = ModelCard.load(path), json.loads((path.parent / "measured.json").read_text())
    (result,) = card.data.eval_results
    assert result.metric_value == measured["nll"] and result.metric_args["samples"] == measured["num_samples"]
    assert (
        f"**{measured['nll']:.2f}** +- {measured['nll_standard_error']:.2f} | {measured['epochs']} epochs" in card.text
    )
    assert f"python scripts/reproduce.py {path.parent.name}" in card.text
    pictures = {entry["output"]["url"] for entry in card.data.to_dict()["widget"]}
    assert pictures == {f"assets/{picture.name}" for picture in (path.parent / "assets").iterdir()}
    assert card.text.count(BEGIN) == card.text.count(END) == 1 and card.data.license == "apache-2.0"


def test_there_are_cards_of_all_reproduced_models():
    assert {"vae", "iwae", "ciwae", "miwae", "piwae", "svae"} <= {path.parent.name for path in CARDS}
