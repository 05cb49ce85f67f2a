"""Grids of images during training, on disk and in trackers."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cases import MODELS, VAE, images
from PIL import Image
from trainers import make_trainer
from transformers import TrainerCallback

from gae_hub import GAETrainer, GAETrainingArguments
from gae_hub.data.datasets import InMemoryDataset
from gae_hub.images.normalization import Normalization
from gae_hub.training import image_callback
from gae_hub.training.image_callback import _SENDERS, _send_image

EVAL = images(8, seed=1)


def test_grids_are_written_and_do_not_change_training(tmp_path):
    models = [VAE.build(), VAE.build()]
    for folder, model, interval in (("with", models[0], 2), ("without", models[1], 0)):
        make_trainer(tmp_path / folder, model, eval_data=EVAL, num_train_epochs=4, image_interval=interval).train()
    assert all(torch.equal(p, q) for p, q in zip(*(m.parameters() for m in models), strict=True))
    found = {path.name for path in (tmp_path / "with" / "assets" / "progress").iterdir()}
    assert found == {f"{n}-{step:08d}.png" for n in ("reconstructions", "samples") for step in (6, 12)}
    grid = np.asarray(Image.open(tmp_path / "with" / "assets" / "progress" / "samples-00000012.png"))
    assert grid.std() > 10
    assert not (tmp_path / "without" / "assets").exists()


def test_an_evaluation_of_other_data_draws_that_data(tmp_path):
    args = GAETrainingArguments(str(tmp_path), image_interval=1, disable_tqdm=True)
    GAETrainer(VAE.build(), args).evaluate(images(8))
    assert len(list((tmp_path / "assets" / "progress").iterdir())) == 2


def test_a_method_without_a_prior_draws_reconstructions_only(tmp_path):
    model = next(case for case in MODELS if case.id == "ae").build()
    make_trainer(tmp_path, model, eval_data=EVAL, image_interval=1, num_train_epochs=1).train()
    assert [path.name for path in (tmp_path / "assets" / "progress").iterdir()] == ["reconstructions-00000003.png"]


def test_images_reach_tensorboard(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "logs"))
    make_trainer(tmp_path / "run", eval_data=EVAL, report_to="tensorboard", image_interval=1).train()
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    assert {"images/reconstructions", "images/samples"} <= set(events.Tags()["images"])
    assert [event.step for event in events.Images("images/samples")] == [3, 6]
    assert {"train/kl", "train/reconstruction", "eval/kl"} <= set(events.Tags()["scalars"])


@pytest.mark.parametrize("shape", [(5,), (2, 30), (1, 4, 8, 8)])
def test_other_data_are_drawn_in_their_units(tmp_path, monkeypatch, shape):
    drawn = {}
    for name in ("draw_samples", "draw_reconstructions"):
        draw = getattr(image_callback, name)
        monkeypatch.setattr(image_callback, name, lambda *a, n=name, d=draw: drawn.setdefault(n, a) and d(*a))
    data = InMemoryDataset(images(8, shape))
    data.normalization = Normalization("standardize", (10,) * shape[0], (2,) * shape[0])
    model = VAE.build(input_shape=shape)
    make_trainer(tmp_path, model, data, data, image_interval=1, num_train_epochs=1).train()
    assert len(list((tmp_path / "assets" / "progress").iterdir())) == 2
    originals, reconstructions, _ = drawn["draw_reconstructions"]
    torch.testing.assert_close(originals.float(), images(8, shape) * 2 + 10)
    assert reconstructions.shape == originals.shape and 10 <= reconstructions.min() and reconstructions.max() <= 12
    samples, title, compared, _ = drawn["draw_samples"]
    assert samples.shape[1:] == shape and samples.min() >= 10 and torch.equal(compared, originals)
    assert len(samples) == (500 if shape == (5,) else 36) and title.startswith("New ")


class Recorder:
    """Replaces the module of a tracker, and records calls."""

    def __init__(self):
        self.calls = []

    def Image(self, image):  # noqa: N802 (a name of the trackers)
        return image

    def get_logger(self):
        return self

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.calls.append((name, args, kwargs))


@pytest.mark.parametrize("name", _SENDERS)
def test_each_tracker_receives_the_image(name):
    recorder = Recorder()
    attributes = ("tb_writer", "_wandb", "_trackio", "_ml_flow", "_experiment", "_clearml_task", "_swanlab")
    callback = type(name, (), dict.fromkeys(attributes, recorder))()
    image = Image.new("L", (4, 6))
    _send_image([SimpleNamespace(), callback], "images/samples", image, 7)
    ((_, args, kwargs),) = recorder.calls
    flat = [*args, *kwargs.values(), *(value for arg in args if isinstance(arg, dict) for value in arg.values())]
    assert any(value is image or getattr(value, "shape", None) == (6, 4, 3) for value in flat)
    assert any(value == 7 for value in flat if isinstance(value, int))


def test_senders_are_callbacks_of_transformers():
    from transformers.integrations import integration_utils

    assert all(issubclass(getattr(integration_utils, name), TrainerCallback) for name in _SENDERS)
