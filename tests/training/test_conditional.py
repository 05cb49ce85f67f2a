"""A conditional model from training to its card: labels of the data reach the model wherever they are needed."""

import numpy as np
import pytest
import torch
from cases import generator
from shell import run
from torch.utils.data import Dataset, IterableDataset
from trainers import make_arguments, make_trainer

from gae_hub import AutoGAE, GAETrainer, GenerationPipeline, InMemoryDataset, VAEConfig, VAEModel, load_images
from gae_hub.pipelines.feature_extraction import FeatureExtractionPipeline
from gae_hub.pipelines.reconstruction import ReconstructionPipeline

FIELDS = {
    "input_shape": (1, 8, 8),
    "latent_dim": 2,
    "encoder_config": {"hidden_sizes": [32]},
    "decoder_config": {"hidden_sizes": [32]},
}
LABELS = torch.arange(96) % 3 % 2 + torch.arange(96) % 3 // 2  # a third of class 0, two thirds of class 1
PATTERNS = torch.zeros(2, 1, 8, 8)
PATTERNS[0, :, :4], PATTERNS[1, :, 4:] = 0.8, 0.8
TRAINING = {"num_train_epochs": 40, "learning_rate": 1e-2, "image_interval": 40}


def dataset():
    noise = 0.1 * torch.rand(96, 1, 8, 8, generator=generator())
    return InMemoryDataset(PATTERNS[LABELS] + noise, LABELS, "patterns")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A conditional model after training, and its folder with a card."""
    torch.manual_seed(0)
    model, folder = VAEModel(VAEConfig(**FIELDS, num_classes=2, condition_dropout=0.2)), tmp_path_factory.mktemp("run")
    trainer = make_trainer(folder, model, dataset(), dataset(), **TRAINING)
    trainer.train()
    GenerationPipeline(model).save_pretrained(folder / "model")
    return model.eval(), folder


def test_the_trainer_passes_the_labels_of_the_data(trained):
    model, folder = trained
    assert model.class_shares.tolist() == pytest.approx([1 / 3, 2 / 3])
    drawn = model.generate(20, generator=generator(), class_labels=torch.arange(20) % 2)
    errors = (drawn - PATTERNS[torch.arange(20) % 2] - 0.05).square().mean((1, 2, 3))
    assert errors.max() < 0.02
    styled = model.reconstruct(PATTERNS, class_labels=torch.arange(2), target_class_labels=1 - torch.arange(2))
    assert (styled - PATTERNS.flip(0)).square().mean() < 0.02
    assert len(list((folder / "assets" / "progress").iterdir())) > 0
    log_p = model.class_log_probs(dataset()[:20]["pixel_values"], 20, generator())
    assert torch.equal(log_p.argmax(1), LABELS[:20])


def test_the_card_and_a_loaded_model(trained):
    model, folder = trained
    card = (folder / "model" / "README.md").read_text()
    assert (
        "class_labels = torch.randint(2, (16,))" in card and "seed=0, class_labels=class_labels)  # PIL images" in card
    )
    assert "(16, 2) (16, 1, 8, 8)" in card  # the output of the code
    for name in ("samples", "reconstructions", "interpolations", "embeddings", "traversal"):
        assert (folder / "model" / "assets" / f"{name}.png").is_file()
    loaded = AutoGAE.from_pretrained(folder / "model")
    found = loaded.generate(4, generator=generator(), class_labels=1, guidance_scale=2.0)
    torch.testing.assert_close(found, model.generate(4, generator=generator(), class_labels=1, guidance_scale=2.0))


def test_pipelines_take_classes(trained):
    model, _ = trained
    pipe = GenerationPipeline(model)
    images = pipe(num_samples=4, seed=0, class_labels=[0, 1, 1, 0])
    expected = [np.asarray(image) for image in pipe(num_samples=4, seed=0, class_labels=torch.tensor([0, 1, 1, 0]))]
    assert all(np.array_equal(np.asarray(image), other) for image, other in zip(images, expected, strict=True))
    means = [np.asarray(image)[:4].mean() for image in images]
    assert min(means[0], means[3]) > 150 and max(means[1:3]) < 60
    row = {"image": images[0], "label": 0}
    embed, reconstruct = FeatureExtractionPipeline(model), ReconstructionPipeline(model)
    given = embed(images[0], class_labels=0)
    np.testing.assert_allclose(embed(row), given)
    assert not np.allclose(embed({**row, "label": 1}), given)
    swapped = np.asarray(reconstruct(images[0], class_labels=0, target_class_labels=1))
    assert swapped[:4].mean() < 60 < swapped[4:].mean()
    with pytest.raises(ValueError, match="class_labels is missing"):
        embed(images[0])
    with pytest.raises(ValueError, match="class_labels must be one or one for each of 4, got 3"):
        pipe(num_samples=4, class_labels=[0, 1, 1])
    with pytest.raises(ValueError, match=r"class_labels must be one value for all inputs, .*, pass rows"):
        embed(images[:2], class_labels=[0, 1], batch_size=2)


class Rows(IterableDataset):
    """A stream of examples that have class_labels, or not."""

    def __init__(self, with_labels):
        self.with_labels = with_labels

    def __iter__(self):
        for example in dataset().with_class_labels():
            yield example if self.with_labels else {"pixel_values": example["pixel_values"]}


def test_examples_of_a_custom_stream_have_labels_of_their_own(tmp_path):
    model = VAEModel(VAEConfig(**FIELDS, num_classes=2))
    make_trainer(tmp_path / "a", model, Rows(True), max_steps=3).train()
    with pytest.raises(ValueError, match="class_labels is missing: this model is conditional"):
        make_trainer(tmp_path / "b", model, Rows(False), max_steps=3).train()


def test_data_without_fitting_labels_are_refused_before_training(tmp_path):
    model = VAEModel(VAEConfig(**FIELDS, num_classes=2))
    with pytest.raises(ValueError, match="has no labels, but a conditional model needs them"):
        make_trainer(tmp_path / "a", model, InMemoryDataset(dataset().pixel_values))
    with pytest.raises(ValueError, match=r"does not fit VAEModel: class_labels must be integers in \[0, 2\), got 2"):
        make_trainer(tmp_path / "b", model, InMemoryDataset(dataset().pixel_values, LABELS + 1))


def stack_rows(rows):
    return {"pixel_values": torch.stack(rows)}


class NamedRows(Dataset):
    """Examples of a data set of one's own, whose labels are names."""

    labels = ("cat", "dog")

    def __len__(self):
        return 16

    def __getitem__(self, index):
        return PATTERNS[index % 2]


def test_a_model_without_conditions_ignores_the_labels_of_a_custom_data_set(tmp_path):
    arguments = make_arguments(tmp_path, num_train_epochs=1)
    trainer = GAETrainer(VAEModel(VAEConfig(**FIELDS)), arguments, stack_rows, NamedRows(), NamedRows())
    assert trainer.train().global_step == 2


def test_vectors_as_conditions(tmp_path):
    data = InMemoryDataset(dataset().pixel_values, conditions=torch.eye(2)[LABELS])
    model = VAEModel(VAEConfig(**FIELDS, condition_dim=2))
    make_trainer(tmp_path, model, data, data, **TRAINING).train()
    drawn = model.eval().generate(6, generator=generator(), class_labels=torch.eye(2)[torch.arange(6) % 2])
    assert (drawn - PATTERNS[torch.arange(6) % 2] - 0.05).square().mean() < 0.02


def test_the_command_line_from_training_to_samples(tmp_path, capsys):
    folder, data = tmp_path / "model", ["--dataset", "digits"]
    networks = ["--num_classes", 10, "--condition_dropout", 0.1, "--latent_dim", 3]
    assert run("train", "--model", "vae", *data, *networks, "--num_train_epochs", 1, "--output_dir", folder) == 0
    assert run("generate", folder, "--class_label", 7, "--num_samples", 4, "--output", tmp_path / "a.npy") == 0
    assert "4 images of class 7 from the model's prior" in capsys.readouterr().out
    model = AutoGAE.from_pretrained(folder).eval()
    expected = GenerationPipeline.from_pretrained(folder).model.generate(
        4, generator=torch.Generator().manual_seed(0), class_labels=7
    )
    found = np.load(tmp_path / "a.npy").astype(np.float32)
    np.testing.assert_allclose(found / (255 if found.max() > 1 else 1), expected.numpy(), atol=0.01)
    assert run("reconstruct", folder, "--num_samples", 6, "--output", tmp_path / "r.png") == 0
    assert run("embed", folder, *data, "--split", "validation", "--output", tmp_path / "z.npy") == 0
    batch = load_images("digits", "validation").with_class_labels()[:]
    np.testing.assert_allclose(np.load(tmp_path / "z.npy"), model.embed(**batch).numpy(), atol=1e-5)
    assert run("fit-sampler", folder, "--sampler", "per_class", "--num_classes", 10) == 0
    assert run("generate", folder, "--class_label", 7, "--num_samples", 4, "--output", tmp_path / "s.png") == 0
    assert "4 images of class 7 from PerClassSampler" in capsys.readouterr().out
    assert run("generate", folder, "--class_label", 17, "--output", tmp_path / "x.png") == 2
    assert "class_labels must be integers in [0, 10)" in capsys.readouterr().err
