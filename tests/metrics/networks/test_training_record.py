"""What a classifier records about its training, and the warnings when its features say little about the images."""

import json

import pytest
import torch
from cases import VAE, images

from gae_hub.data.datasets import InMemoryDataset
from gae_hub.metrics import MEASURES, evaluate_model, load_extractor, train_extractor
from gae_hub.metrics.networks.classifier import FeatureClassifier, FeatureClassifierConfig
from gae_hub.metrics.networks.extractors import ClassifierExtractor

RECORD = {
    "dataset": "stripes",
    "dataset_split": "train",
    "num_train_examples": 40,
    "input_shape": [1, 8, 8],
    "num_classes": 3,
    "accuracy": 0.9,
    "guessing_accuracy": 0.5,
    "eval_split": "test",
    "num_eval_examples": 20,
}


def build(name, **fields):
    """An extractor with random weights and a record; each test names its own, because a warning is logged once."""
    config = FeatureClassifierConfig(image_size=8, channels=[4], feature_dim=6, **{**RECORD, **fields})
    return ClassifierExtractor(FeatureClassifier(config), name)


@pytest.fixture(scope="module")
def trained_folder(tmp_path_factory):
    """A classifier of classes 3, 4 and 5, trained on 40 images of 41 and measured on 20, half of class 3."""
    train = InMemoryDataset(images(41), torch.arange(41) % 3 + 3, name="stripes", split="train")
    train.labels[40] = -1
    train.label_names = ("zero", "one", "two", "three", "four", "five")
    test = InMemoryDataset(images(20), torch.tensor([3, 4, 3, 5] * 5), name="stripes", split="test")
    model = train_extractor(train, test, num_train_epochs=1, channels=[4], feature_dim=6, progress=False)
    folder = tmp_path_factory.mktemp("trained") / "stripes"
    model.save_pretrained(folder)
    return folder


def test_record_is_saved_and_in_passports(trained_folder):
    saved = json.loads((trained_folder / "config.json").read_text())
    assert {**RECORD, "accuracy": saved["accuracy"]}.items() <= saved.items() and 0 <= saved["accuracy"] <= 1
    assert saved["label_names"] == ["three", "four", "five"]
    fid = MEASURES["fid"](feature_extractor=str(trained_folder))
    fid.add(images(4), images(4, seed=1))
    passport = fid.compute()["fid"].passport.to_dict()
    assert passport["extractor_training"] == {**RECORD, "accuracy": saved["accuracy"]}
    assert "(40 images of 1 x 8 x 8)" in (trained_folder / "README.md").read_text()


def test_a_classifier_needs_not_be_saved(trained_folder):
    classifier = FeatureClassifier.from_pretrained(trained_folder)
    numbers = [
        evaluate_model(VAE.build(), images(8), ["fid"], num_samples=8, extractor=extractor)["fid"]
        for extractor in (classifier, trained_folder)
    ]
    assert numbers[0] == numbers[1] > 0
    unsaved = FeatureClassifier(FeatureClassifierConfig(channels=[4], feature_dim=6))
    assert load_extractor(unsaved).name == "trained classifier"
    with pytest.raises(ValueError, match="extractor must be 'inception', a folder .*, got an object of type Linear"):
        load_extractor(torch.nn.Linear(2, 2))


def test_training_without_held_out_images_is_a_warning(caplog):
    data = InMemoryDataset(images(40), torch.arange(40) % 3)
    config = train_extractor(data, num_train_epochs=1, channels=[4], feature_dim=6, progress=False).config
    assert (config.accuracy, config.guessing_accuracy, config.eval_split, config.num_eval_examples) == (None,) * 4
    assert "the extractor was trained, but its config records no accuracy on held-out images" in caplog.text


@pytest.mark.parametrize(
    ("accuracy", "guessing", "is_warning"),
    [
        (0.335, 0.1, True),
        (0.54, 0.1, True),
        (0.56, 0.1, False),
        (0.9, 0.85, True),
        (0.93, 0.85, False),
        (0.2, 1.0, False),
    ],
)
def test_accuracy_close_to_guessing_is_a_warning(accuracy, guessing, is_warning, caplog):
    """The boundary is (accuracy - guessing) / (1 - guessing) = 0.5: 0.55 for guessing 0.1, 0.925 for 0.85."""
    extractor = build(f"accuracy {accuracy} {guessing}", accuracy=accuracy, guessing_accuracy=guessing, num_classes=10)
    for seed in (0, 1, 2):
        extractor(images(4, seed=seed))
    message = (
        f"it classifies {accuracy:.1%} of the held-out images, and always guessing the most frequent of 10 classes"
    )
    assert caplog.text.count(message) == is_warning and caplog.text.count("WARNING") == is_warning
    assert caplog.text.count("train it for longer (--num_train_epochs) or on more images") == is_warning


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 9), (3, 8, 8)])
def test_images_of_another_shape_are_a_warning(shape, caplog):
    trained_on = [3, 8, 8] if shape != (3, 8, 8) else [1, 8, 8]
    extractor = build(f"shape {shape}", num_channels=3, input_shape=trained_on)
    extractor(images(4, tuple(trained_on)))
    assert not caplog.records
    for seed in (0, 1):
        extractor(images(4, shape, seed=seed))
    message = (
        f"the extractor 'shape {shape}' was trained on images of shape {tuple(trained_on)} of 'stripes', and gets "
        f"images of shape {shape}, which it resizes to 8 x 8"
    )
    assert caplog.text.count(message) == 1 and "train an extractor on these images" in caplog.text
    assert len(caplog.records) == 1


def test_extractor_without_a_record(tmp_path, caplog):
    """As saved before there was one."""
    build("old").network.save_pretrained(tmp_path / "old")
    path = tmp_path / "old" / "config.json"
    saved = {name: value for name, value in json.loads(path.read_text()).items() if name not in RECORD}
    path.write_text(json.dumps({**saved, "num_classes": 3}))
    fid = MEASURES["fid"](feature_extractor=load_extractor(str(tmp_path / "old")))
    fid.add(images(4), images(4, seed=1))
    passport = fid.compute()["fid"].passport.to_dict()
    assert passport["extractor_training"] == {**dict.fromkeys(RECORD), "num_classes": 3}
    assert caplog.text.count("its config records no accuracy on held-out images") == 1
    assert caplog.text.count("does not record the shape of the images that it was trained on") == 1


def test_extractor_on_the_images_it_was_trained_on(caplog):
    build("good")(images(4))
    assert not caplog.records
