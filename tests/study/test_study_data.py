"""Data sets of a study: splits cut to size, fingerprints, labels, and folders that the test makes."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_study import make_split

from gae_hub import load_data
from gae_hub.study.settings import DataSettings
from gae_hub.study.study_data import StudyData


def digits(**changes) -> StudyData:
    return StudyData(DataSettings("d", "digits", **changes))


def test_sizes():
    """The first examples of each split, with their labels."""
    cut, whole = digits(num_train=30, num_validation=20, num_test=10), digits()
    assert cut.sizes == {"train": 30, "validation": 20, "test": 10}
    for name, split in cut.splits.items():
        assert torch.equal(split.read(list(range(10))), whole.splits[name].read(list(range(10))))
        assert torch.equal(split.labels, whole.splits[name].labels[: len(split)])
    assert sum(whole.sizes.values()) == 1797 and whole.input_shape == (1, 8, 8)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_more_than_there_are(split):
    """The message names the setting, the data set and the number of its examples."""
    with pytest.raises(ValueError, match=rf"num_{split} is 99,999, but 'digits' has [\d,]+ examples in its {split}"):
        digits(**{f"num_{split}": 99_999})


def test_fingerprints(monkeypatch):
    """They change with the images, their number and their labels, and with nothing else."""

    def fingerprint(num=20, seed=0, classes=4):
        splits = tuple(make_split(num, seed=seed, classes=classes) for _ in range(3))
        monkeypatch.setattr("gae_hub.study.study_data.load_data", lambda *args, **options: splits)
        return StudyData(DataSettings("d", "x")).fingerprints["test"]

    assert fingerprint() == fingerprint()
    assert (
        len(
            {
                fingerprint(),
                fingerprint(num=19),
                fingerprint(seed=1),
                fingerprint(classes=3),
                fingerprint(classes=None),
            }
        )
        == 5
    )


def test_fingerprint_of_cut_data():
    """Equal examples have equal fingerprints, however they were chosen."""
    assert digits(num_test=50).fingerprints["train"] == digits().fingerprints["train"]
    assert digits(num_test=50).fingerprints["test"] != digits(num_test=51).fingerprints["test"]


def test_data_that_cannot_be_fingerprinted(monkeypatch):
    """Its cells could not be told from those of other data."""

    class Unknown:
        input_shape, labels = (3,), None

        def __len__(self):
            return 3

    monkeypatch.setattr("gae_hub.study.study_data.load_data", lambda *args, **options: (Unknown(),) * 3)
    data = StudyData(DataSettings("d", "mine"))
    with pytest.raises(ValueError, match="'mine' cannot be fingerprinted.*save it in a folder or a file"):
        data.fingerprints  # noqa: B018 (a property that computes)


def test_labels(monkeypatch):
    """All examples of all splits need labels."""

    def has_labels(*classes):
        splits = tuple(make_split(6, classes=number) for number in classes)
        monkeypatch.setattr("gae_hub.study.study_data.load_data", lambda *args, **options: splits)
        return StudyData(DataSettings("d", "x")).has_labels

    assert has_labels(3, 3, 3) and not has_labels(3, 3, None) and not has_labels(None, None, None)
    split = make_split(6, classes=3)
    split.labels[4] = -1
    monkeypatch.setattr("gae_hub.study.study_data.load_data", lambda *args, **options: (split,) * 3)
    assert not StudyData(DataSettings("d", "x")).has_labels


@pytest.mark.parametrize(
    ("shape", "expected"), [((1, 8, 8), True), ((3, 4, 4), True), ((4, 8, 8), False), ((6,), False)]
)
def test_images(monkeypatch, shape, expected):
    """An extractor accepts images with 1 or 3 channels."""
    monkeypatch.setattr("gae_hub.study.study_data.load_data", lambda *args, **options: (make_split(4, shape),) * 3)
    assert StudyData(DataSettings("d", "x")).is_images is expected


def test_folder_of_images(tmp_path):
    """A stand-in of CELEBA: a folder of colour images, resized to 64 x 64."""
    generator = np.random.default_rng(0)
    for split, num in (("train", 6), ("test", 3)):
        for label in ("no", "yes"):
            (tmp_path / split / label).mkdir(parents=True)
            for number in range(num):
                pixels = generator.integers(0, 255, (70, 72, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / label / f"{number}.png")
    options = {"image_size": 64, "validation_size": 4}
    data = StudyData(DataSettings("faces", str(tmp_path), options=options))
    assert data.input_shape == (3, 64, 64) and data.sizes == {"train": 8, "validation": 4, "test": 6}
    assert data.is_images and data.has_labels
    again = StudyData(DataSettings("faces", str(tmp_path), options=options))
    assert again.fingerprints == data.fingerprints


def test_same_splits_as_load_data():
    """The study reads what `load_data` reads with the same options."""
    options = {"validation_size": 100, "seed": 3}
    data = StudyData(DataSettings("d", "digits", options=options))
    train, validation, test = load_data("digits", ("train", "validation", "test"), **options)
    for name, split in (("train", train), ("validation", validation), ("test", test)):
        assert torch.equal(data.splits[name].labels, split.labels)


def test_data_without_a_test_split(tmp_path):
    """A tenth of the training examples is held out, or what the study says."""
    np.save(tmp_path / "x.npy", np.zeros((200, 1, 8, 8), dtype=np.float32))
    name = str(tmp_path / "x.npy")
    assert StudyData(DataSettings("d", name)).sizes == {"train": 162, "validation": 18, "test": 20}
    options = {"test_size": 50, "validation_size": 30}
    assert StudyData(DataSettings("d", name, options=options)).sizes == {"train": 120, "validation": 30, "test": 50}


def test_remedies_are_written_as_in_a_study_file(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((20, 3, 8, 3), dtype=np.float32))
    with pytest.raises(ValueError, match=r"data\.d: .*\(in a study file, .*: `layout: channels_first`"):
        StudyData(DataSettings("d", str(tmp_path / "x.npy")))
