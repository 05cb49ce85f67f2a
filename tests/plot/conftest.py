"""The model that most figures are of."""

import pytest
from cases import VAE


@pytest.fixture
def model():
    return VAE.build(latent_dim=4).eval()
