"""The YAML block of a card: what people typed stays, and all parsers read the same."""

import pytest
import yaml
from cases import VAE
from huggingface_hub import ModelCard

from gae_hub.hub.cards.front_matter import dump_metadata, read_metadata
from gae_hub.hub.cards.merging import merge_cards


@pytest.mark.parametrize(
    ("typed", "read_by_pyyaml", "written"),
    [
        ("no", "no", "'no'"),
        ("yes", "yes", "'yes'"),
        ("on", "on", "'on'"),
        ("Off", "Off", "'Off'"),
        ("n", "n", "n"),
        ("2024-01-01", "2024-01-01", "'2024-01-01'"),
        ("2001-12-14t21:59:43Z", "2001-12-14t21:59:43Z", "'2001-12-14t21:59:43Z'"),
        ("12:30:45", "12:30:45", "'12:30:45'"),
        ("010", "010", "'010'"),
        ("1_000", "1_000", "'1_000'"),
        ("0x1F", "0x1F", "'0x1F'"),
        ("=", "=", "'='"),
        ("true", True, "true"),
        ("False", False, "false"),
        ("null", None, "null"),
        ("~", None, "null"),
        ("", None, "null"),
        ("7", 7, "7"),
        ("3.10", 3.1, "3.10"),
        ("1.0e-05", 1e-5, "1.0e-05"),
        (".5", 0.5, ".5"),
        ("-.inf", float("-inf"), "-.inf"),
        ("1e5", "1e5", "1e5"),
        ("'no'", "no", "'no'"),
        ("mit", "mit", "mit"),
    ],
)
def test_words_that_yaml_parsers_read_differently(typed, read_by_pyyaml, written):
    block = dump_metadata(read_metadata(f"---\nkey: {typed}\nlist: [{typed or '~'}]\n---\ntext"))
    assert block == f"key: {written}\nlist:\n- {written}"
    assert yaml.safe_load(block) == {"key": read_by_pyyaml, "list": [read_by_pyyaml]}


def test_metadata_of_people_survives_saves(tmp_path):
    model, path = VAE.build(), tmp_path / "README.md"
    model.save_pretrained(tmp_path)
    path.write_text(
        path.read_text().replace("tags:", "language: no\npython_version: 3.10\nreleased: 2024-01-01\ntags:")
    )
    for _ in range(2):
        model.save_pretrained(tmp_path)
    data = ModelCard.load(path).data.to_dict()
    assert data["language"] == "no" and data["released"] == "2024-01-01" and data["library_name"] == "gae-hub"
    assert "\npython_version: 3.10\n" in path.read_text()


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("tags: [", "is not valid"),
        ("- a", "must be a mapping, got a list"),
        ("text", "must be a mapping, got a str"),
        ("a: !!python/object/apply:os.system [ls]", "is not valid"),
        ("a: " + "[" * 5000, "is not valid"),
    ],
)
def test_a_card_with_other_metadata_is_not_changed(block, message, caplog):
    card = f"---\n{block}\n---\n<!-- gae_hub: begin -->\n<!-- gae_hub: end -->"
    assert merge_cards(card, "---\na: 1\n---\n") == card
    assert message in caplog.text


def test_a_byte_order_mark_and_tags_of_other_types():
    new = "---\ntags: [new]\n---\n<!-- gae_hub: begin -->x<!-- gae_hub: end -->"
    for tags, expected in (("old", ["new", "old"]), ("3", ["new", 3]), ("{a: b}", ["new"]), ("true", ["new"])):
        old = f"\ufeff---\ntags: {tags}\n---\n<!-- gae_hub: begin -->y<!-- gae_hub: end -->"
        merged = merge_cards(old, new)
        assert merged.startswith("---\n") and merged.count("gae_hub: begin") == 1
        assert yaml.safe_load(merged.split("---\n")[1])["tags"] == expected
