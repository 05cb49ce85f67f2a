"""Labels of streams: each example has its own, also beside examples that cannot be read."""

import io

import datasets
import pytest
import torch
from cases import images
from PIL import Image

from gae_hub import (
    GAETrainer,
    GAETrainingArguments,
    InMemoryDataset,
    PerClassSampler,
    VAEConfig,
    VAEModel,
    embed_dataset,
    load_data,
)
from gae_hub.data.class_labels import with_conditions
from gae_hub.plot import plot_embeddings

NUM = 300  # more than a chunk
LABELS = [i % 3 for i in range(NUM)]


def encode(value):
    buffer = io.BytesIO()
    Image.new("L", (8, 8), value % 256).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def as_images(**columns):
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])})
    cells = [encode(i) for i in range(NUM)]
    return datasets.Dataset.from_dict({"image": cells, "label": LABELS} | columns, features)


def as_arrays(**columns):
    cells = [[float(i % 256)] * 4 for i in range(NUM)]
    return datasets.Dataset.from_dict({"x": cells, "label": LABELS} | columns)


def as_table(**columns):
    cells = [float(i % 256) for i in range(NUM)]
    return datasets.Dataset.from_dict({"a": cells, "b": cells, "label": LABELS} | columns)


@pytest.mark.parametrize("build", [as_images, as_arrays, as_table])
def test_each_example_has_its_label(build):
    stream = load_data(build().to_iterable_dataset(num_shards=2))
    assert "class_labels" not in next(iter(stream))
    found = list(stream.with_class_labels())
    assert [int(example["class_labels"]) for example in found] == LABELS
    scale = 255 if build is as_images else 1
    assert [round(float(example["pixel_values"].max()) * scale) for example in found] == [i % 256 for i in range(NUM)]
    assert "class_labels" not in next(iter(stream.with_class_labels().without_class_labels()))


@pytest.mark.parametrize("build", [as_images, as_arrays])
def test_examples_that_cannot_be_read_take_their_labels_along(build):
    column = "image" if build is as_images else "x"
    cells = build().with_format(None)[column][:] if build is as_arrays else [encode(i) for i in range(NUM)]
    for row in (1, 257, 258):
        cells[row] = None if build is as_images else [float("nan")] * 4
    labels = [None if i == 5 else label for i, label in enumerate(LABELS)]
    stream = load_data(build(**{column: cells, "label": labels}).to_iterable_dataset(), on_error="skip")
    expected = [-1 if i == 5 else label for i, label in enumerate(LABELS) if i not in (1, 257, 258)]
    assert [int(example["class_labels"]) for example in stream.with_class_labels()] == expected


def test_names_of_classes():
    assert load_data(as_images().to_iterable_dataset()).label_names == ("a", "b", "c")


def test_a_stream_trains_as_the_same_data_in_memory(tmp_path):
    """To the same weights, so that every image had its own label."""
    pixels = images(60).flatten(1)
    labels = torch.arange(60) % 7 % 3
    rows = datasets.Dataset.from_dict({"x": pixels.tolist(), "label": labels.tolist()})
    sources = load_data(rows.to_iterable_dataset()), InMemoryDataset(pixels, labels)
    trained = []
    for source in sources:
        torch.manual_seed(0)
        model = VAEModel(
            VAEConfig(input_shape=(64,), latent_dim=2, num_classes=3, encoder_config={"hidden_sizes": [8]})
        )
        args = GAETrainingArguments(
            tmp_path / str(len(trained)),
            max_steps=6,
            per_device_train_batch_size=10,
            learning_rate=1e-2,
            disable_tqdm=True,
            report_to="none",
            save_strategy="no",
            train_sampling_strategy="sequential",
        )
        GAETrainer(model, args, train_dataset=source).train()
        trained.append(model)
    for one, two in zip(trained[0].parameters(), trained[1].parameters(), strict=True):
        torch.testing.assert_close(one, two)
    assert trained[0].class_shares.tolist() == pytest.approx([1 / 3] * 3) != trained[1].class_shares.tolist()
    embedded = [embed_dataset(trained[1], source, progress=False) for source in sources]
    torch.testing.assert_close(*embedded)
    drawn = [plot_embeddings(trained[1], source).axes[0].collections for source in sources]
    assert [len(points.get_offsets()) for points in drawn[0]] == [len(points.get_offsets()) for points in drawn[1]]
    with pytest.raises(
        ValueError, match=r"is a stream, whose labels are not known ahead, but num_classes = 3 needs all"
    ):
        PerClassSampler(num_classes=3).fit_to(trained[1], sources[0], progress=False)


def test_labels_that_are_no_classes():
    """They are checked in the stream, as a model on a GPU does not check them."""
    stream = load_data(as_arrays(label=[0, 1, 7] * 100).to_iterable_dataset())
    model = VAEModel(VAEConfig(input_shape=(4,), latent_dim=2, num_classes=3))
    with pytest.raises(ValueError, match=r"must be integers in \[0, 3\), got 7"):
        list(with_conditions(model, stream))


@pytest.mark.parametrize(
    ("rows", "fields", "message"),
    [
        (as_arrays().remove_columns("label"), {"num_classes": 3}, "has no labels, .* a stream needs integers"),
        (as_arrays(label=["a", "b", "c"] * 100), {"num_classes": 3}, "has no labels, .* a stream needs integers"),
        (as_arrays(), {"condition_dim": 2}, "has labels, but VAEModel needs vectors, as condition_dim is set"),
    ],
)
def test_streams_without_the_labels_of_a_model(rows, fields, message):
    model = VAEModel(VAEConfig(input_shape=(4,), latent_dim=2, **fields))
    with pytest.raises(ValueError, match=message):
        with_conditions(model, load_data(rows.to_iterable_dataset()))
