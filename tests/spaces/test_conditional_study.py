"""The Space of a study with conditional methods: test images get their classes, uploaded images have none."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from spaces.study_cases import SETUP, TASKS, decode, load, pixels
from tiny_study import run, tiny

from gae_hub.metrics.functional.reconstruction import squared_error
from gae_hub.spaces.study_folder import write_study_space
from gae_hub.spaces.study_views import StudyViews
from gae_hub.study import StudyFolder

METHODS = {
    "VAE": {"model": "vae"},
    "Given": {"model": "vae", "fields": {"num_classes": 10}},
    "Dropped": {"model": "vae", "fields": {"num_classes": 10, "condition_dropout": 0.2}},
}


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """What the Space of a study of three methods answers, two of which are given classes."""
    folder = tmp_path_factory.mktemp("study") / "tiny"
    settings = tiny(methods=METHODS, tasks=TASKS, samplers={"normal": {"sampler": "normal"}})
    assert run(settings | {"training": {"num_train_epochs": 20}}, folder) == {"done": 3}
    return StudyViews(write_study_space(StudyFolder.find(folder), folder.parent / "space"))


def shown(row):
    return [decode(uri).tolist() for uri in row["images"]]


def test_test_images_get_their_classes(conditional, monkeypatch):
    monkeypatch.setattr("gae_hub.spaces.example_sets._MAX_BATCH_VALUES", 2 * 64)  # batches of two images
    examples = conditional.compared.examples(SETUP)
    images, labels = examples.pixel_values, torch.tensor(examples.labels)
    for method in ("Given", "Dropped"):
        _, model, processor = load(conditional, method)
        expected, other = (
            model.reconstruct(images[:5], class_labels=given) for given in (labels[:5], labels[:5].flip(0))
        )
        (row,) = conditional.reconstruct([0, 1, 2, 3, 4], methods=[method])
        assert row["errors"] == pytest.approx(squared_error(expected, images[:5]).tolist(), rel=1e-4)
        assert row["errors"] != pytest.approx(squared_error(other, images[:5]).tolist(), rel=1e-4)
        (row,) = conditional.interpolate(0, 3, 6, methods=[method])
        path = model.interpolate(images[:1], images[3:4], 6, labels[:1], labels[3:4])[0]
        assert labels[0] != labels[3] and shown(row) == pixels(processor.postprocess(path))
        (row,) = conditional.sample(["normal"], 4, 7, methods=[method])
        assert row["missing"] is None and len(row["images"]) == 4


def test_uploaded_images_have_no_class(conditional):
    """A method that is trained with condition_dropout can do without; another one says why its row is empty."""
    file = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 3).save(file, "PNG")
    uri = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    plain, given, dropped = conditional.reconstruct([0, uri])
    assert plain["missing"] is None and len(plain["images"]) == len(dropped["images"]) == 2
    assert given["missing"] == "this method needs the class of each image, and uploaded images have none"
    assert given["images"] == given["errors"] == []

    examples = conditional.compared.examples(SETUP)
    _, model, processor = load(conditional, "Dropped")
    upload = processor.preprocess(file.getvalue())["pixel_values"]
    images = torch.cat([examples.pixel_values[:1], torch.as_tensor(upload)])
    expected = model.reconstruct(images, class_labels=torch.tensor([examples.labels[0], -1]))
    assert shown(dropped) == pixels(processor.postprocess(expected))
