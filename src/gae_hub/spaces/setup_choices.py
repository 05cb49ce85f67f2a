"""Which networks and latent dimensions a visitor can choose: those for which a study's Space has models."""

__all__ = ["latent_dims_of", "nearest_setup", "networks_of"]

from collections.abc import Sequence

from ..study.selection import Setup


def networks_of(setups: Sequence[Setup], dataset: str) -> list[str]:
    """Networks with models of a data set."""
    return list(dict.fromkeys(setup.network for setup in setups if setup.dataset == dataset))


def latent_dims_of(setups: Sequence[Setup], dataset: str, network: str) -> list[int]:
    """Numbers of latent dimensions with models of a data set and networks."""
    return [setup.latent_dim for setup in setups if (setup.dataset, setup.network) == (dataset, network)]


def nearest_setup(setups: Sequence[Setup], dataset: str, network: str, latent_dim: int) -> Setup:
    """The setup of a data set with these networks and latent dimensions, as far as there are models of both."""
    wanted = dataset, network, latent_dim
    return max(setups, key=lambda setup: [a == b for a, b in zip(_place(setup), wanted, strict=True)])


def _place(setup: Setup) -> tuple[str, str, int]:
    return setup.dataset, setup.network, setup.latent_dim
