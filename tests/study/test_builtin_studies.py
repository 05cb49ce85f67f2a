"""The studies that come with the library."""

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from gae_hub import AutoGAE, GAETrainingArguments, load_data
from gae_hub.modules.ms_ssim import max_scales
from gae_hub.study.declaration import BUILTIN_STUDIES, load_study
from gae_hub.study.method_grids import check_configuration

SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32), "celeba": (3, 64, 64), "digits": (1, 8, 8)}
SMOKE = load_study("smoke")


def resolve(study, method, configuration, data, network, latent_dim=None):
    """The config of a configuration in a study, as its plan makes it."""
    networks = study.networks[network]
    values = {
        "input_shape": SHAPES[data],
        "latent_dim": latent_dim or study.data[data].latent_dim,
        **{name: value for name, value in networks.items() if name != "fields"},
        **method.resolve_fields(configuration, SHAPES[data], networks.get("fields", {}).get(method.name)),
    }
    return check_configuration(method, configuration, values)


def test_names():
    parts = {f"paper-{data}-{net}" for data in ("mnist", "cifar10", "celeba") for net in ("convnet", "resnet")}
    others = {"paper", "paper-latent-dims", "smoke", "template", "cifar10-mlp"}
    others |= {"mnist-mlp", "mnist-resnet", "mnist-latent-dims"}
    assert set(BUILTIN_STUDIES) >= parts | others
    assert [name for name in BUILTIN_STUDIES if load_study(name).name != name] == ["template"]  # for users to name


@pytest.mark.parametrize("name", [name for name in BUILTIN_STUDIES if not name.startswith("paper-")])
def test_every_configuration_is_valid(name):
    """With each network, the first data set and the largest latent dimension; and training arguments exist."""
    study = load_study(name)
    data = next(iter(study.data))
    for network in study.networks:
        for method in study.methods.values():
            assert not study.samplers or not method.samplers or set(method.samplers) & set(study.samplers)
            for configuration in method.configurations:
                if configuration.skip is None:
                    resolve(study, method, configuration, data, network, max(study.latent_dims, default=None))
    fields = {**GAETrainingArguments.__dataclass_fields__, "recipe": None}
    for training in [study.training, *(one.training for one in (*study.data.values(), *study.samplers.values()))]:
        assert training.keys() <= fields.keys()


def test_the_paper():
    """The settings of section C."""
    study = load_study("paper")
    assert {name: (one.dataset, one.latent_dim) for name, one in study.data.items()} == {
        "mnist": ("ylecun/mnist", 16),
        "cifar10": ("uoft-cs/cifar10", 256),
        "celeba": ("flwrlabs/celeba", 64),
    }
    assert study.data["celeba"].training == {"num_train_epochs": 50, "learning_rate": 1e-3}
    assert study.training == {"recipe": "paper", "num_train_epochs": 100} and study.extractor == "inception"
    num_models = len(study.data) * len(study.networks) * sum(len(m.configurations) for m in study.methods.values())
    assert num_models == 1140
    assert study.samplers["maf"].fields == {"num_flows": 2, "num_hidden_layers": 3, "hidden_size": 128}
    assert study.samplers["two_stage_vae"].fields == {"hidden_sizes": [1024, 1024]}
    for name in ("maf", "two_stage_vae"):
        assert study.samplers[name].training == {
            "num_train_epochs": 200,
            "learning_rate": 1e-4,
            "per_device_train_batch_size": 100,
            "lr_scheduler_type": "reduce_lr_on_plateau",
            "lr_scheduler_kwargs": {"factor": 0.5, "patience": 10},
        }


@pytest.mark.parametrize("data", ["mnist", "cifar10", "celeba"])
@pytest.mark.parametrize("network", ["convnet", "resnet"])
def test_parts_of_the_paper(data, network):
    whole, part = load_study("paper"), load_study(f"paper-{data}-{network}")
    assert part.data == {data: whole.data[data]} and part.networks == {network: whole.networks[network]}
    for field in ("methods", "training", "samplers", "tasks", "extractor", "seeds"):
        assert getattr(part, field) == getattr(whole, field)


def test_latent_dimensions_of_the_paper():
    study = load_study("paper-latent-dims")
    assert study.latent_dims == (16, 32, 64, 128, 256, 512)
    assert (list(study.data), list(study.networks)) == (["mnist", "cifar10"], ["convnet"])


def test_sizes_of_the_small_studies():
    assert sum(len(method.configurations) for method in load_study("mnist-mlp").methods.values()) == 190
    one_each = load_study("mnist-latent-dims")
    assert len(one_each.methods) == 19 and one_each.latent_dims == (16, 32, 64, 128, 256, 512)
    assert {len(method.configurations) for method in one_each.methods.values()} == {1}
    assert {len(method.configurations) for method in SMOKE.methods.values()} == {2} and len(SMOKE.methods) == 19
    assert set(SMOKE.samplers) == {"normal", "gmm", "vamp", "two_stage_vae", "maf"} and len(SMOKE.tasks) == 6


@pytest.mark.parametrize("name", SMOKE.methods)
def test_methods_of_smoke_take_a_step(name, digits):
    """Both configurations of each method train on digits: finite losses, and a step that changes the decoder."""
    method = SMOKE.methods[name]
    images = torch.stack([digits[0][i]["pixel_values"] for i in range(100)])
    images = images.float() / 255 if images.dtype == torch.uint8 else images
    for configuration in method.configurations:
        assert configuration.skip is None and configuration.duplicate_of is None
        model = AutoGAE.from_config(resolve(SMOKE, method, configuration, "digits", "mlp")).train()
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        before = [p.detach().clone() for p in model.decoder.parameters()]
        output = model(images)
        output.loss.backward()
        optimizer.step()
        assert torch.isfinite(output.loss) and all(torch.isfinite(term) for term in output.losses.values())
        assert any((p != old).any() for p, old in zip(model.decoder.parameters(), before, strict=True))
        assert torch.isfinite(model(images).loss)


def test_similarity_of_digits_has_two_scales():
    """MS-SSIM halves digits once, to 4 x 4 pixels, where it crops windows of 5 pixels. Larger ones would be equal."""
    assert max_scales(8, 8) == 2
    assert [one.fields["window_size"] for one in SMOKE.methods["MSSSIM-VAE"].configurations] == [3, 5]


def test_celeba_like_on_the_hub():
    """Photos of 178 x 218 pixels with attributes and a split "valid" become 64 x 64, without labels."""
    columns = {"image": datasets.Image(), "celeb_id": datasets.Value("int64"), "Smiling": datasets.Value("bool")}
    photos = [Image.fromarray(np.full((218, 178, 3), shade, np.uint8)) for shade in range(6)]
    rows = {"image": photos, "celeb_id": [*range(6)], "Smiling": [True, False] * 3}
    all_rows = datasets.Dataset.from_dict(rows, features=datasets.Features(columns))
    source = datasets.DatasetDict(train=all_rows, valid=all_rows.select(range(3)), test=all_rows.select(range(2)))
    settings = load_study("paper").data["celeba"]
    options = {name: value for name, value in settings.options.items() if name != "name"}
    splits = load_data(source, ("train", "validation", "test"), **options)
    assert [len(split) for split in splits] == [6, 3, 2]
    assert splits[0].input_shape == SHAPES["celeba"] and splits[0].labels is None
