"""training.json: which facts pass their checks, how their text is shown, and how latents are measured."""

import json
import re
from unicodedata import category

import pytest
import torch
from cases import VAE, images
from fuzzing import broken_texts, check_reading, json_variants

from gae_hub import AutoGAE
from gae_hub.data.latent_dimensions import measure_latents
from gae_hub.hub.cards.escaping import code, escape
from gae_hub.hub.cards.facts import is_hub_dataset, is_repo_id
from gae_hub.hub.cards.merging import BEGIN, END
from gae_hub.hub.cards.render import write_card
from gae_hub.hub.cards.results import record_results

NUM_VARIANTS = 50  # of training.json; there are about 450
LOG_ENTRY = {"epoch": 1, "step": 1, "loss": 1.0}
RESULTS = {"dataset": "user/data", "split": "test", "metrics": {"mse": 1.0}}


def saved_again(folder, facts):
    """Save a model, write its training.json, load it and save it again. Returns the second folder."""
    VAE.build().save_pretrained(folder / "model")
    text = facts if isinstance(facts, str) else json.dumps(facts)
    (folder / "model" / "training.json").write_text(text)
    AutoGAE.from_pretrained(folder / "model").save_pretrained(folder / "again")
    return folder / "again"


def test_facts_are_kept_when_a_model_is_loaded_and_saved(trained, tmp_path):
    AutoGAE.from_pretrained(trained).save_pretrained(tmp_path)
    assert "1397 images, 28 steps" in (tmp_path / "README.md").read_text()
    assert json.loads((tmp_path / "training.json").read_text())["steps"] == 28


@pytest.mark.parametrize(
    "facts",
    [
        {"latents": {"a": 1}},
        {"latents": {"order": [0], "by": "entropy", "values": [1.0], "active_units": 1, "num_images": 1}},
        {"results": {"metrics": {"a": 1}}},
        {"results": {**RESULTS, "metrics": {"mse": "1.0"}}},
        {"results": {**RESULTS, "metrics": [1.0]}},
        {"results": {**RESULTS, "passports": {"mse": 1}}},
        {"log": [{"loss": 1}]},
        {"log": [{**LOG_ENTRY, "loss": [1.0]}]},
        {"log": [{**LOG_ENTRY, "loss": 10**400}]},
        {"log": {"loss": 1}},
        {"dataset": 3},
        {"steps": "many"},
        {"joules": "many"},
        {"arguments": [1]},
        {"environment": 1},
        {"imported": {"x": 1}},
        {"imported": {"from": "VAE", "notes": 1}},
        {"warnings": ["collapse"]},
        {"divergences": [{"step": 1}]},
        {"of another version": json.loads("[" * 500 + "]" * 500)},
    ],
    ids=lambda facts: json.dumps(facts)[:60],
)
def test_invalid_facts_are_ignored_with_a_warning(tmp_path, facts, caplog):
    """The save succeeds, and the valid facts are kept."""
    name, valid = next(iter(facts)), {"dataset": "user/data", "log": [LOG_ENTRY], "steps": 7}
    folder = saved_again(tmp_path, {**valid, **facts})
    assert f"ignoring '{name}' from training.json" in caplog.text
    kept = {key: value for key, value in valid.items() if key != name}
    assert json.loads((folder / "training.json").read_text()) == kept
    text = (folder / "README.md").read_text()
    assert "## Limitations" in text and ("dataset" not in kept or "trained on `user/data` only" in text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 10, "is not valid JSON"),
        ("[1, 2]", "expected a JSON object, got a list"),
        ('"text"', "expected a JSON object, got a str"),
        (" " * (1 << 25), "it has 33,554,432 bytes, expected at most 16,777,216"),
    ],
    ids=["broken", "list", "text", "large"],
)
def test_an_invalid_file_is_ignored_with_a_warning(tmp_path, text, message, caplog):
    folder = saved_again(tmp_path, text)
    assert message in caplog.text
    assert (folder / "README.md").is_file() and not (folder / "training.json").exists()


def test_incomplete_facts_are_shown(tmp_path):
    """A text that UTF-8 cannot encode, a run of unknown length, results without a split."""
    facts = {"dataset": "odd \ud800", "log": [LOG_ENTRY], "results": {"dataset": "user/data", "metrics": {"mse": 1}}}
    text = (saved_again(tmp_path, facts) / "README.md").read_text()
    assert "trained on `odd`" in text and "| mse | 1 |" in text and "| 1 | 1 | 1 |" in text and "None" not in text
    assert "\nOn `user/data`:\n" in text


HOSTILE = (
    "<img src=x onerror=alert(1)>`|[a](javascript:b)\n# Title",
    "see https://evil.example/x www.evil.com",
    r"$\href{https://evil.example}{x}$ \(y\)",
    "&lt;b&gt; &#x3c;",
    "a\u202eb\u200bc",
    "<!-- gae_hub: end -->",
    "| a | b |\n|---|---|",
    "```\n# Title",
)


@pytest.mark.parametrize("bad", HOSTILE)
def test_text_of_facts_is_escaped(tmp_path, bad):
    facts = {
        "dataset": bad,
        "revision": bad,
        "num_train_images": 1,
        "arguments": {bad: bad},
        "environment": {bad: bad},
        "warnings": {bad: bad},
        "divergences": [{"step": 1, "term": bad, "restored_step": 0}],
        "imported": {"from": bad, "notes": [bad]},
        "log": [{"epoch": 1, "step": 1, "loss": 1.0, bad: 2.0}],
        "num_processes": 1,
        "steps": 1,
        "seconds": 1,
        "best_step": None,
        "results": {"dataset": bad, "split": bad, "metrics": {bad: 1.0}, "passports": {bad: {bad: bad}}},
    }
    folder = saved_again(tmp_path, facts)
    AutoGAE.from_pretrained(folder).save_pretrained(folder)  # merged with the first card
    text = (folder / "README.md").read_text()
    assert not {category(character) for character in text} & {"Cf", "Cs"}
    text = text.partition("---\n\n")[2]
    assert text.count(BEGIN) == text.count(END) == 1
    assert sum(map(text.count, {escape(bad), code(bad)})) >= 14  # every fact is shown
    tables = re.findall(r"(?:^\|.*\|\n)+", text, re.M)
    assert [len({row.count("|") for row in table.splitlines()}) for table in tables] == [1, 1, 1], tables
    outside = re.sub(r"(?s)```.*?```|(`+) ?.*?[^`]\1(?!`)", "", text)  # of code
    for part in ("<img", "\n# Title", "](javascript", "evil", "href", "&lt", "&#x3c"):
        assert part not in outside, part


def test_latents_are_ordered_by_their_kl():
    model = VAE.build(latent_dim=3).eval()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([0.0, 2.0, 1.0, 0.0, 0.0, 0.0]))  # means 0, 2, 1; variances 1
    found = measure_latents(model, images())
    assert found["order"] == [1, 2, 0] and found["values"] == [2.0, 0.5, 0.0] and found["by"] == "kl"
    assert found["active_units"] == 0 and found["num_images"] == len(images())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("user/data", True),
        ("digits", False),
        (None, False),
        ("", False),
        ("../data", False),
        ("a/b/c", False),
        ("/home/me", False),
        ("user/données", False),
        ("user/a--b", False),
        ("user/data\u202e", False),
        ("user/data\n", False),
    ],
)
def test_names_of_repositories(name, expected):
    assert is_repo_id(name) is expected


def test_a_folder_is_not_a_data_set_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "images").mkdir(parents=True)
    assert is_repo_id("data/images") and not is_hub_dataset("data/images", None) and is_hub_dataset("user/data", None)
    # what was opened decides, not the spelling
    assert is_hub_dataset("user/data", "hub")
    assert not any(is_hub_dataset("user/data", origin) for origin in ("local", "memory", "library", "nonsense"))


def test_odd_facts(tmp_path):
    """Each value of training.json is replaced or removed: the card is written, and results are recorded."""
    model = VAE.build()
    model.save_pretrained(tmp_path)
    file = tmp_path / "training.json"
    facts = {"dataset": "user/data", "steps": 7, "seconds": 1.5, "log": [LOG_ENTRY], "results": RESULTS}
    facts |= {"imported": {"from": "VAE", "notes": ["a"]}, "warnings": {"collapse": "seen"}, "arguments": {"lr": 0.1}}
    facts |= {"divergences": [{"step": 1, "term": "kl", "restored_step": 0}], "environment": {"torch": "2"}}
    facts |= {"latents": {"order": [0], "by": "kl", "values": [1.0], "active_units": 1, "num_images": 1}}
    file.write_text(json.dumps(facts))
    model = AutoGAE.from_pretrained(tmp_path)

    def write():
        model.facts = None
        write_card(model, tmp_path / "again")

    def record():
        model.facts = None
        record_results(model, tmp_path / "again", RESULTS)

    (tmp_path / "again").mkdir()
    variants = [*broken_texts(file.read_text()), *json_variants(facts, NUM_VARIANTS)]
    outcomes = check_reading(file, variants, write, allowed=())
    assert outcomes == {"read": len(variants)}
    check_reading(file, json_variants({"results": RESULTS}, 5), record, allowed=())
