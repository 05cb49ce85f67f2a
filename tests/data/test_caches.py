"""`hash_network`: what it covers, and for which networks it is None."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from cases import MODELS, VAE
from torch import nn

from gae_hub import AutoGAE
from gae_hub.data.caches import hash_network


@pytest.mark.parametrize("case", MODELS, ids=lambda case: case.id)
def test_every_method_has_a_hash_that_survives_saving(case, tmp_path):
    model = case.build().eval()
    key = hash_network(model)
    model.facts, model.examples = {"steps": 3}, torch.zeros(2)
    model.example_labels = model.example_conditions = torch.zeros(2)
    model.label_names = ("cat", "dog")
    model.save_pretrained(tmp_path)
    assert key is not None and hash_network(AutoGAE.from_pretrained(tmp_path)) == key == hash_network(model.train())


def change(**changes):
    """A function that sets attributes of the second layer."""

    def apply(network):
        for name, value in changes.items():
            setattr(network[1], name, value)

    return apply


CHANGES = {
    "weight": lambda network: nn.init.zeros_(network[0].weight),
    "buffer": lambda network: network[1].running_mean.add_(1),
    "transient buffer": lambda network: network.register_buffer("a", torch.zeros(1), persistent=False),
    "number": change(eps=1e-3),
    "text": change(mode="a"),
    "tensor": change(offset=torch.ones(2)),
    "array": change(offset=torch.ones(2).numpy()),
    "function": change(activation=F.gelu),
    "builtin": change(activation=torch.tanh),
    "partial": change(activation=partial(F.leaky_relu, negative_slope=0.3)),
    "list": change(sizes=[1, (2, None)]),
    "dict": change(sizes={"a": {1, 2}}),
    "class": lambda network: network.append(nn.Identity()),
    "dtype": lambda network: network.double(),
    "config": change(config=VAE.build().config),
}
UNKNOWN = {
    "class": lambda network: network.append(type("Mine", (nn.Identity,), {"__module__": "torchlike"})()),
    "lambda": change(activation=lambda x: x),
    "function": change(activation=change),
    "method": change(activation=nn.Identity().forward),
    "object": change(activation=object()),
    "array": change(offset=torch.ones(2).numpy().astype(object)),
    "nested": change(sizes=[{"a": object()}]),
    "foreign module": change(layers=[nn.Identity()]),
    "replaced": lambda network: setattr(network[1], "forward", F.relu),
    "hook": lambda network: network[1].register_forward_hook(lambda *args: None),
    "pre-hook": lambda network: network[1].register_forward_pre_hook(lambda *args: None),
}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_changes_the_hash(name):
    plain, changed = network(), network()
    assert hash_network(plain) == hash_network(changed) != None  # noqa: E711
    CHANGES[name](changed)
    assert hash_network(changed) not in (None, hash_network(plain))
    again = network()
    CHANGES[name](again)
    assert hash_network(again) == hash_network(changed)


@pytest.mark.parametrize("name", UNKNOWN)
def test_networks_without_a_hash(name):
    changed = network()
    UNKNOWN[name](changed)
    assert hash_network(changed) is None


def test_global_hooks_and_autocast():
    plain = hash_network(network())
    handle = nn.modules.module.register_module_forward_hook(lambda *args: None)
    assert hash_network(network()) is None
    handle.remove()
    assert hash_network(network()) == plain
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert hash_network(network()) not in (None, plain)
