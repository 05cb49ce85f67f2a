"""Images in memory are indexed on the training device, and models can be compiled."""

import pytest
import torch

from gae_hub import AEConfig, AEModel, AutoGAE, GAETrainer, GAETrainingArguments
from gae_hub.data import datasets as data
from gae_hub.data.batches import collate
from gae_hub.data.datasets import InMemoryDataset, OnDemandDataset


def uint8_images(num: int = 24) -> torch.Tensor:
    return torch.randint(0, 256, (num, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def make_trainer(folder, dataset, model=None, **changes) -> GAETrainer:
    options = {"num_train_epochs": 1, "per_device_train_batch_size": 8, "report_to": "none", "disable_tqdm": True}
    arguments = GAETrainingArguments(str(folder), **{**options, **changes})
    torch.manual_seed(0)
    model = model or AEModel(AEConfig(input_shape=(1, 4, 4), latent_dim=2))
    return GAETrainer(model, arguments, train_dataset=dataset, eval_dataset=dataset)


def test_images_are_copied_to_the_device_once_if_they_fit(monkeypatch):
    dataset, device = InMemoryDataset(uint8_images(), torch.arange(24), "name", "train"), torch.device("meta")
    assert dataset.place_on(device) is dataset  # its free memory is unknown
    monkeypatch.setattr(data, "free_device_memory", lambda device: 4 * dataset.pixel_values.nbytes - 1)
    assert dataset.place_on(device) is dataset  # more than a quarter of the free memory
    monkeypatch.setattr(data, "free_device_memory", lambda device: 4 * dataset.pixel_values.nbytes)
    there = dataset.place_on(device)
    assert there is dataset.place_on(device)
    assert there.pixel_values.device == device and there.pixel_values.dtype == torch.uint8
    assert (there.name, there.split, len(there)) == ("name", "train", 24) and there.labels is dataset.labels
    assert dataset.pixel_values.device.type == "cpu"
    assert there.read([3, 1]).shape == (2, 1, 4, 4)


def test_training_on_resident_images_gives_the_same_weights(tmp_path, monkeypatch):
    plain = make_trainer(tmp_path / "plain", InMemoryDataset(uint8_images()))
    plain.train()
    monkeypatch.setattr(data, "free_device_memory", lambda device: 2**30)
    images = InMemoryDataset(uint8_images())
    resident = make_trainer(tmp_path / "resident", images, dataloader_num_workers=2, dataloader_pin_memory=True)
    for loader in (resident.get_train_dataloader(), resident.get_eval_dataloader()):
        assert loader.dataset is images.copies[resident.args.device]
        assert loader.num_workers == 0 and not loader.pin_memory
    assert resident.args.dataloader_num_workers == 2 and resident.args.dataloader_pin_memory
    resident.train()
    for one, other in zip(plain.model.parameters(), resident.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_other_data_sets_are_not_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "free_device_memory", lambda device: 2**30)
    listed = [{"pixel_values": image} for image in uint8_images()]
    loader = make_trainer(tmp_path, listed).get_train_dataloader()
    assert isinstance(loader.dataset, OnDemandDataset)
    assert collate(listed[:2])["pixel_values"].shape == (2, 1, 4, 4)


@pytest.mark.parametrize(
    ("name", "backend", "fields"),
    [
        ("vae", "aot_eager", {"kl_warmup_fraction": 1.0}),  # reads the progress of the training
        ("factor_vae", "eager", {"discriminator_hidden_sizes": [8]}),  # two networks with their own losses
        ("vq_vae", "eager", {"num_embeddings": 4}),  # updates code vectors and counts
        # contains a gradient, which is not compiled
        pytest.param("hvae", "eager", {}, marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # by dynamo
def test_a_compiled_model_trains_alike(tmp_path, name, backend, fields):
    """The last batches of training and evaluation, of 21 images each, are smaller."""
    runs, cls = [], AutoGAE.model_class(name)
    torch._dynamo.reset()
    for folder, options in (("plain", {}), ("compiled", {"torch_compile": True, "torch_compile_backend": backend})):
        torch.manual_seed(0)
        networks = {"encoder_config": {"hidden_sizes": [8]}, "decoder_config": {"hidden_sizes": [8]}}
        model = cls(cls.config_class(input_shape=(1, 4, 4), latent_dim=2, **networks, **fields))
        options = {"per_device_eval_batch_size": 16, "num_train_epochs": 2, **options}
        run = make_trainer(tmp_path / folder, InMemoryDataset(uint8_images(21)), model, **options)
        run.train()
        losses = run.evaluate()
        runs.append({"eval_loss": torch.tensor(losses["eval_loss"]), **run.plain_model.state_dict()})
    assert runs[0].keys() == runs[1].keys()
    for name, value in runs[0].items():
        torch.testing.assert_close(runs[1][name], value)


@pytest.mark.parametrize("name", ["hvae", "rhvae", "rae_gp"])
def test_models_that_cannot_be_compiled_raise_before_training(tmp_path, name):
    cls = AutoGAE.model_class(name)
    model = cls(cls.config_class(input_shape=(1, 4, 4), latent_dim=2))
    arguments = GAETrainingArguments(str(tmp_path), torch_compile=True, report_to="none")
    with pytest.raises(ValueError, match=f"torch_compile=True does not work for {cls.__name__}"):
        GAETrainer(model, arguments, train_dataset=InMemoryDataset(uint8_images()))
