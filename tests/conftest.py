"""Fixtures of all tests. Every test starts from one seed, with empty caches, and cannot reach the real Hub."""

import gc
import os
import tempfile

_HOME = tempfile.TemporaryDirectory(prefix="gae_hub_tests_")
os.environ.update(
    HF_HOME=_HOME.name,
    HF_ENDPOINT="http://127.0.0.1:9",  # no server listens on this port
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_XET="1",
    HF_UPDATE_DOWNLOAD_COUNTS="0",
    DISABLE_SAFETENSORS_CONVERSION="1",
    NO_PROXY="127.0.0.1,localhost",
    MPLBACKEND="agg",
)
os.environ.pop("HF_TOKEN", None)

import pytest  # noqa: E402 (the environment must be set first)
import torch  # noqa: E402

from gae_hub import AutoGAE, load_images  # noqa: E402


def pytest_collection_modifyitems(items):
    """Skip the GPU tests where there is no GPU: `make test-gpu` counts them."""
    if torch.cuda.is_available() or "GAE_HUB_TEST_DEVICE" in os.environ:
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA GPU"))


@pytest.fixture(scope="module", autouse=True)
def freeze_objects():
    """Exempt what is imported so far from garbage collection: accelerate collects whenever a training starts."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def digits():
    """Training and validation splits of scikit-learn's digits."""
    return load_images("digits", splits=("train", "validation"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory, digits):
    """A folder with a beta-VAE from `gae-hub train`, after two epochs on digits, and a sampler from `fit-sampler`."""
    from gae_hub.cli.main import main

    folder = tmp_path_factory.mktemp("trained") / "betavae-digits"
    flags = "--model beta_vae --beta 0.1 --latent_dim 4 --num_train_epochs 2 --disable_tqdm true --output_dir"
    assert main(["train", *flags.split(), str(folder)]) == 0
    assert main(["fit-sampler", str(folder), "--num_components", "3"]) == 0
    return folder


@pytest.fixture
def model(trained):
    """The beta-VAE in the folder `trained`."""
    return AutoGAE.from_pretrained(trained)
