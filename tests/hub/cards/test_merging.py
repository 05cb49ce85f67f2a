"""Text and metadata that people added to a card stay when the card is written again."""

from cases import VAE
from huggingface_hub import ModelCard, ModelCardData

from gae_hub.hub.cards.merging import _TRANSFORMERS_DESCRIPTION, BEGIN, END, merge_cards


def test_text_outside_the_marks_stays(tmp_path):
    model = VAE.build()
    model.save_pretrained(tmp_path)
    path = tmp_path / "README.md"
    edited = path.read_text().replace("license: apache-2.0", "license: mit").replace(END, END + "\n\nMy notes.")
    path.write_text(edited.replace(BEGIN, "Before.\n\n" + BEGIN).replace("Auto-Encoding", "Something wrong"))
    model.save_pretrained(tmp_path)
    text = path.read_text()
    assert text.index("Before.") < text.index(BEGIN) < text.index(END) < text.index("My notes.")
    assert "license: mit" in text and "Something wrong" not in text and text.count(BEGIN) == 1
    assert merge_cards(edited, edited).count(BEGIN) == 1


def test_a_card_without_marks_stays(tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\nMy own card.")
    VAE.build().save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "---\nlicense: mit\n---\nMy own card."


def test_a_card_whose_mark_has_another_wording_is_updated(tmp_path):
    model = VAE.build()
    model.save_pretrained(tmp_path)
    path = tmp_path / "README.md"
    mark = "<!-- gae_hub: begin. All up to the end mark is written anew at each save; write above or below. -->"
    path.write_text(path.read_text().replace(BEGIN, "Before.\n" + mark).replace("Auto-Encoding", "Something wrong"))
    model.save_pretrained(tmp_path)
    text = path.read_text()
    assert text.count("gae_hub: begin") == 1 and BEGIN in text and "Before." in text and "Something wrong" not in text


def test_results_of_earlier_weights_are_removed(tmp_path):
    model = VAE.build()
    model.facts = {"results": {"dataset": "user/data", "split": "test", "metrics": {"mse": 0.25}}}
    model.save_pretrained(tmp_path)
    path = tmp_path / "README.md"
    path.write_text(path.read_text().replace("license: apache-2.0", "license: mit").replace("tags:", "tags:\n- mine"))
    assert ModelCard.load(path).data.eval_results
    VAE.build().save_pretrained(tmp_path)
    data = ModelCard.load(path).data
    assert not data.eval_results and data.license == "mit" and "mine" in data.tags and "vae" in data.tags


def test_the_template_of_transformers_is_replaced_unless_edited():
    template = str(
        ModelCard.from_template(
            ModelCardData(library_name="transformers"), model_description=_TRANSFORMERS_DESCRIPTION
        )
    )
    new = f"---\nlibrary_name: gae-hub\n---\n{BEGIN}\nnew\n{END}\n"
    assert merge_cards(template, new) == new
    edited = template.replace("[More Information Needed]", "Trained by me.", 1)
    assert merge_cards(edited, new) == edited


def test_a_card_with_invalid_metadata_stays(tmp_path, caplog):
    (tmp_path / "README.md").write_text(f"---\ntags: [\n---\n{BEGIN}\n{END}\nMine.")
    VAE.build().save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text().endswith("Mine.")
    assert "README.md was not updated, because its metadata cannot be read" in caplog.text
