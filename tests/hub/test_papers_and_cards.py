"""The paper behind each method, and the card of a saved model."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from cases import AE, MODELS, SAMPLERS, VAE, images
from huggingface_hub import ModelCard, ModelCardData

from gae_hub import AutoGAE, BetaVAEModel, GaussianMixtureSampler, GenerationPipeline, VAEModel
from gae_hub.hub.cards.papers import paper_of
from gae_hub.hub.cards.pictures import latent_facts, traverse
from gae_hub.hub.cards.render import BEGIN, END, merge, record_results
from gae_hub.models.base import GAEPreTrainedModel
from gae_hub.training.run_info import EnergyMeter

CLASSES = [case.model_class for case in MODELS] + [type(case.build()) for case in SAMPLERS]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_file_begins_with_its_paper(cls):
    paper = paper_of(cls)
    assert paper.name in sys.modules[cls.__module__].__doc__.partition("\n")[0]
    assert paper.url.startswith("https://") and 1980 < paper.year < 2100 and paper.formula and paper.relations
    assert re.fullmatch(r"@article\{\w+\d{4},\n(  \w+ = \{.+\},?\n)+\}", paper.bibtex)


def test_a_paper_is_read_whole():
    paper = paper_of(BetaVAEModel)
    assert paper.title == "Learning Basic Visual Concepts with a Constrained Variational Framework"
    assert paper.authors.endswith("Mohamed & Lerchner") and paper.year == 2017
    assert paper.url == "https://openreview.net/forum?id=Sy2fzU9gl"
    assert "author = {Higgins and Matthey and" in paper.bibtex and "@article{higgins2017," in paper.bibtex

    class Mine(BetaVAEModel):
        pass

    assert paper_of(Mine) == paper
    assert paper_of(dict) is None


def test_card_of_a_trained_model(trained):
    card = ModelCard.load(trained / "README.md")
    data = card.data.to_dict()
    assert data["library_name"] == "gae-hub" and "beta-vae" in data["tags"]
    assert {entry["output"]["url"] for entry in data["widget"]} <= {
        f"assets/{p.name}" for p in (trained / "assets").iterdir()
    }
    for part in (
        "# betavae-digits",
        r"\beta\, KL",
        "validation kl",
        "trained on `digits`",
        "@article{higgins2017",
        "gaussian mixture sampler",
        "| beta | `0.1` |",
        "| num_train_epochs | `2` |",
        "1397 images, 28 steps on 1 process",
        "`digits`, revision `scikit-learn",
        "latent dimensions are active on 200 images",
        "By dimension, the KL to the prior",
        "standard deviation 1: nats depend on that",
        f"torch {torch.__version__}",
        "<Gallery />",
        "16 (8, 8) L\n(16, 4) (16, 1, 8, 8)",
    ):
        assert part in card.text, part
    assert {path.stem for path in (trained / "assets").iterdir()} == {
        "samples",
        "samples_prior",
        "reconstructions",
        "interpolations",
        "traversal",
        "loss",
    }
    assert "None" not in card.text and "\n\n\n\n" not in card.text


def test_the_snippet_of_a_card_runs(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained.parent)
    text = (trained / "README.md").read_text()
    snippet, output = re.search(r"```python\n(.*?)```\n\nIt prints.*?```\n(.*?)\n```", text, re.S).groups()
    scope = {}
    exec(snippet, scope)
    assert scope["latents"].shape == (16, 4) and capsys.readouterr().out.strip() == output


def test_a_card_keeps_the_facts_when_the_model_is_loaded_and_saved_again(trained, tmp_path):
    AutoGAE.from_pretrained(trained).save_pretrained(tmp_path)
    assert "1397 images, 28 steps" in (tmp_path / "README.md").read_text()
    assert json.loads((tmp_path / "training.json").read_text())["steps"] == 28


def test_results_become_the_model_index(tmp_path):
    model = VAE.build()
    model.facts = {"results": {"dataset": "user/data", "split": "test", "metrics": {"mse": 0.25}}}
    model.save_pretrained(tmp_path)
    result = ModelCard.load(tmp_path / "README.md").data.eval_results[0]
    assert (result.dataset_name, result.dataset_split, result.metric_type, result.metric_value) == (
        "user/data",
        "test",
        "mse",
        0.25,
    )
    assert "| mse | 0.25 |" in (tmp_path / "README.md").read_text()


def test_passports_are_in_the_table_and_in_the_model_index(tmp_path):
    model = VAE.build()
    model.save_pretrained(tmp_path)
    results = {
        "dataset": "user/data",
        "split": "test",
        "num_samples": 10,
        "seed": 0,
        "metrics": {"fid": 12.5, "mse": 1.0},
    }
    passport = {"extractor": "user/inception", "sha256": "abc", "num_samples": 10}
    record_results(model, tmp_path, {**results, "passports": {"fid": passport}})
    card = ModelCard.load(tmp_path / "README.md")
    assert "| fid | 12.5 | extractor user/inception, sha256 abc, num_samples 10 |" in card.text
    assert "| mse | 1 |  |" in card.text
    by_name = {result.metric_type: result for result in card.data.eval_results}
    assert by_name["fid"].metric_args == passport and by_name["mse"].metric_args is None


def test_pictures_are_drawn_for_a_run_and_not_for_a_checkpoint(tmp_path):
    model = VAE.build()
    model.examples = images(16)
    model.save_pretrained(tmp_path)
    assert not (tmp_path / "assets").exists() and "It prints" not in (tmp_path / "README.md").read_text()
    GenerationPipeline(model).save_pretrained(tmp_path)
    assert {path.stem for path in (tmp_path / "assets").iterdir()} == {
        "samples",
        "reconstructions",
        "interpolations",
        "traversal",
    }


def test_dimensions_in_the_order_of_their_kl(tmp_path):
    model = VAE.build(latent_dim=3).eval()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([0.0, 2.0, 1.0, 0.0, 0.0, 0.0]))  # means 0, 2, 1; variances 1
    found = latent_facts(model, images())
    assert found["order"] == [1, 2, 0] and found["values"] == [2.0, 0.5, 0.0] and found["active_units"] == 0
    rows = traverse(model, images(), [1], num_steps=5)
    assert rows.shape == (5, 1, 8, 8)
    model.facts = {"latents": found}
    model.save_pretrained(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "0 of 3 latent dimensions" in text and "3 have collapsed" in text and ": 2, 0.5, 0." in text


def test_limits_by_the_likelihood(tmp_path):
    for case, fields, text in (
        (AE, {}, "has no likelihood"),
        (VAE, {"likelihood": "bernoulli"}, "that of binary pixels"),
        (VAE, {"observation_std": 0.5}, "standard deviation 0.5"),
    ):
        case.build(**fields).save_pretrained(tmp_path)
        assert text in (tmp_path / "README.md").read_text()


def test_a_network_of_ones_own_has_a_snippet_without_output(tmp_path):
    trunk = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 5))
    GenerationPipeline(VAEModel(VAE.build().config, encoder=trunk)).save_pretrained(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "```python" in text and "It prints" not in text


CARDS = sorted((Path(__file__).parents[2] / "model_cards").glob("*/README.md"))


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.parent.name)
def test_the_cards_of_reproduced_models_say_what_was_measured(path):
    card, measured = ModelCard.load(path), json.loads((path.parent / "measured.json").read_text())
    (result,) = card.data.eval_results
    assert result.metric_value == measured["nll"] and result.metric_args["samples"] == measured["num_samples"]
    assert (
        f"**{measured['nll']:.2f}** +- {measured['nll_standard_error']:.2f} | {measured['epochs']} epochs" in card.text
    )
    assert f"python scripts/reproduce.py {path.parent.name}" in card.text
    pictures = {entry["output"]["url"] for entry in card.data.to_dict()["widget"]}
    assert pictures == {f"assets/{picture.name}" for picture in (path.parent / "assets").iterdir()}


def test_there_are_cards_of_reproduced_models():
    assert {"vae", "iwae", "ciwae", "miwae", "piwae", "svae"} <= {path.parent.name for path in CARDS}


def test_energy_is_told_only_where_there_are_meters(tmp_path, monkeypatch):
    monkeypatch.setattr("gae_hub.training.run_info.POWERCAP", tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert EnergyMeter().read() is None
    for name, energy in (("intel-rapl:0", 10_000_000), ("intel-rapl:0:0", 5), ("intel-rapl:1", 99_000_000)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{energy}\n")
        (tmp_path / name / "max_energy_range_uj").write_text("100000000\n")
    meter = EnergyMeter()
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("12000000\n")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("4000000\n")  # which has begun anew
    assert meter.read() == pytest.approx(2 + 5)
    model = VAE.build()
    model.facts = {"log": [{"epoch": 1, "step": 1, "loss": 1.0}], "num_processes": 1, "steps": 1, "joules": 7200.0}
    model.facts |= {"seconds": 1, "best_step": None, "num_train_images": 3}
    model.save_pretrained(tmp_path / "model")
    assert "2 Wh by the processor's own meter" in (tmp_path / "model" / "README.md").read_text()


def test_a_persons_text_survives(tmp_path):
    model = VAE.build()
    model.save_pretrained(tmp_path)
    path = tmp_path / "README.md"
    edited = (
        path.read_text()
        .replace("library_name: gae-hub", "library_name: gae-hub\nlicense: mit")
        .replace(END, END + "\n\nMy notes.")
    )
    path.write_text(edited.replace(BEGIN, "Before.\n\n" + BEGIN).replace("Auto-Encoding", "Something wrong"))
    model.save_pretrained(tmp_path)
    text = path.read_text()
    assert text.index("Before.") < text.index(BEGIN) < text.index(END) < text.index("My notes.")
    assert "license: mit" in text and "Something wrong" not in text and text.count(BEGIN) == 1
    path.write_text("---\nlicense: mit\n---\nAll my own.")
    model.save_pretrained(tmp_path)
    assert path.read_text() == "---\nlicense: mit\n---\nAll my own."
    assert merge(edited, edited).count(BEGIN) == 1


def test_numbers_of_earlier_weights_do_not_survive(tmp_path):
    model = VAE.build()
    model.facts = {"results": {"dataset": "user/data", "split": "test", "metrics": {"mse": 0.25}}}
    model.save_pretrained(tmp_path)
    path = tmp_path / "README.md"
    path.write_text(path.read_text().replace("tags:", "license: mit\ntags:\n- mine"))
    VAE.build().save_pretrained(tmp_path)
    data = ModelCard.load(path).data
    assert not data.eval_results and data.license == "mit" and "mine" in data.tags and "vae" in data.tags


def test_an_unedited_card_of_transformers_is_replaced_and_an_edited_one_kept(tmp_path):
    from transformers.utils.hub import create_and_tag_model_card  # noqa: F401 (whose template this is)

    from gae_hub.hub.cards.render import _DESCRIPTION

    template = str(ModelCard.from_template(ModelCardData(library_name="transformers"), model_description=_DESCRIPTION))
    new = f"---\nlibrary_name: gae-hub\n---\n{BEGIN}\nnew\n{END}\n"
    assert merge(template, new) == new
    edited = template.replace("[More Information Needed]", "Trained by me.", 1)
    assert merge(edited, new) == edited


LINE = {"epoch": 1, "step": 1, "loss": 1.0}
RESULTS = {"dataset": "user/data", "split": "test", "metrics": {"mse": 1.0}}


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
        {"log": [{**LINE, "loss": [1.0]}]},
        {"log": [{**LINE, "loss": 10**400}]},
        {"log": {"loss": 1}},
        {"dataset": 3},
        {"steps": "many"},
        {"joules": "many"},
        {"arguments": [1]},
        {"environment": 1},
        {"imported": {"x": 1}},
        {"imported": {"from": "VAE", "notes": 1}},
        {"warnings": ["ill"]},
        {"divergences": [{"step": 1}]},
        {"of another version": json.loads("[" * 500 + "]" * 500)},
    ],
    ids=lambda facts: json.dumps(facts)[:60],
)
def test_a_card_never_stops_a_save(tmp_path, facts, caplog):
    """What does not fit is left out, with a warning; what does is told."""
    VAE.build().save_pretrained(tmp_path / "model")
    name, more = next(iter(facts)), {"dataset": "user/data", "log": [LINE], "steps": 7}
    (tmp_path / "model" / "training.json").write_text(json.dumps({**more, **facts}))
    AutoGAE.from_pretrained(tmp_path / "model").save_pretrained(tmp_path / "again")
    assert f"the card will not tell of '{name}'" in caplog.text
    kept = {key: value for key, value in more.items() if key != name}
    assert json.loads((tmp_path / "again" / "training.json").read_text()) == kept
    text = (tmp_path / "again" / "README.md").read_text()
    assert "## Limits" in text and ("dataset" not in kept or "images of `user/data` only" in text)


def test_facts_of_many_kinds_are_told(tmp_path):
    """A text that UTF-8 cannot write, a run of unknown length, results without a split."""
    VAE.build().save_pretrained(tmp_path / "model")
    facts = {"dataset": "odd \ud800", "log": [LINE], "results": {"dataset": "user/data", "metrics": {"mse": 1}}}
    (tmp_path / "model" / "training.json").write_text(json.dumps(facts))
    AutoGAE.from_pretrained(tmp_path / "model").save_pretrained(tmp_path / "again")
    text = (tmp_path / "again" / "README.md").read_text()
    assert "trained on `odd  `" in text and "| mse | 1 |" in text and "| 1 | 1 | 1 |" in text and "None" not in text


def test_warnings_and_divergences_are_limits(tmp_path):
    model = VAE.build()
    model.facts = {
        "warnings": {"posterior collapse": "1.0 of 3 latent dimensions are in use <b>", "dead codes": "9 of 10 are"},
        "divergences": [
            {"step": 30, "term": "kl", "restored_step": 20},
            {"step": 31, "term": "gradient", "restored_step": 20},
        ],
    }
    model.save_pretrained(tmp_path)
    limits = (tmp_path / "README.md").read_text().partition("## Limits")[2].partition("## ")[0]
    assert "evaluation of its training, posterior collapse: 1.0 of 3 latent dimensions are in use  b ." in limits
    assert "training, dead codes: 9 of 10 are." in limits
    assert "diverged at step 30 by its kl, back to step 20; at step 31 by its gradient, back to step 20;" in limits
    model.facts = {"warnings": {}, "divergences": []}
    model.save_pretrained(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "diverged" not in text and "evaluation of its training" not in text


def test_a_card_whose_metadata_is_broken_stays(tmp_path):
    (tmp_path / "README.md").write_text(f"---\ntags: [\n---\n{BEGIN}\n{END}\nMine.")
    VAE.build().save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text().endswith("Mine.")


def test_a_card_is_written_whatever_is_there(tmp_path, trained):
    """The folder it was loaded from is gone; the method has no paper; the images are no pictures."""
    copy = tmp_path / "copy"
    AutoGAE.from_pretrained(trained).save_pretrained(copy)
    loaded = AutoGAE.from_pretrained(copy)
    shutil.rmtree(copy)
    loaded.save_pretrained(tmp_path / "saved")
    assert "beta-VAE with" in (tmp_path / "saved" / "README.md").read_text()

    class Bare(GAEPreTrainedModel):
        """A method of somebody's own, without a paper."""

    Bare(VAE.build().config).save_pretrained(tmp_path / "bare")
    assert "Bare with" in (tmp_path / "bare" / "README.md").read_text()
    GenerationPipeline(VAE.build(input_shape=(2, 8, 8))).save_pretrained(tmp_path / "two")
    assert (tmp_path / "two" / "README.md").is_file() and not (tmp_path / "two" / "assets").exists()


def test_card_of_a_sampler(tmp_path):
    GaussianMixtureSampler(num_components=2).fit(torch.randn(9, 2)).save_pretrained(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "latents of size 2" in text and "num_components | `2`" in text and "AutoSampler.from_pretrained" in text


def test_an_own_subclass_has_a_card(tmp_path):
    class Mine(VAEModel):
        pass

    Mine(VAE.build().config).save_pretrained(tmp_path)
    assert "Auto-Encoding Variational Bayes" in (tmp_path / "README.md").read_text()


def test_html_in_a_name_stays_text(tmp_path):
    folder = tmp_path / "<script>alert(1)<"
    VAE.build().save_pretrained(folder)
    assert "<script>" not in (folder / "README.md").read_text()


def test_pipeline_without_prior_has_no_samples(tmp_path):
    GenerationPipeline(AE.build()).save_pretrained(tmp_path)
    assert not (tmp_path / "assets" / "samples.png").exists() and (tmp_path / "README.md").exists()
