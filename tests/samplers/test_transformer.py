"""TransformerSampler: causality, sampling with the cache and without, probabilities, and codes of every quantizer."""

import pytest
import torch
from cases import generator
from densities import noise
from huggingface_hub.errors import StrictDataclassError

from gae_hub import TransformerSampler


def fit_sampler(levels=1, num_classes=None, shape=(3, 4), k=6, dtype=torch.float64):
    """A sampler after one epoch on random codes, with these codes and their labels."""
    sampler = TransformerSampler(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_classes=num_classes)
    codes = torch.randint(0, k, (30, *shape, levels), generator=generator())
    labels = None if num_classes is None else torch.arange(30) % num_classes
    sampler.fit(codes, noise(levels, k, 2, seed=1), class_labels=labels, num_train_epochs=1, progress=False)
    return sampler.to(dtype), codes, labels


@pytest.mark.parametrize(("levels", "num_classes"), [(1, None), (3, None), (2, 4)])
@pytest.mark.parametrize("shape", [(6,), (3, 4), (3, 2, 2)])
def test_sampling_with_the_cache_equals_one_pass_per_code(shape, levels, num_classes):
    sampler, codes, labels = fit_sampler(levels, num_classes, shape)
    labels = None if labels is None else labels[:7]
    drawn = sampler.draw_codes(7, generator(2), class_labels=labels)
    uniform = torch.rand(drawn.shape, generator=generator(2), dtype=torch.float64).flatten(1)
    slow = torch.zeros_like(drawn)
    with torch.no_grad():
        for place in range(uniform.shape[1]):
            p = sampler.network(slow, labels).flatten(1, -2)[:, place].softmax(-1).cumsum(-1)
            slow.view(7, -1)[:, place] = (p < uniform[:, place, None] * p[:, -1:]).sum(-1)
    assert torch.equal(drawn, slow)


@pytest.mark.parametrize("levels", [1, 2])
def test_each_code_depends_on_all_codes_before_it_and_no_other(levels):
    sampler, codes, _ = fit_sampler(levels)
    logits = sampler.network(codes[:1]).flatten(1, -2)
    for changed in range(12 * levels):
        other = codes[:1].clone()
        other.view(-1)[changed] = (other.view(-1)[changed] + 1) % 6
        moved = (sampler.network(other).flatten(1, -2) - logits).abs().amax(-1)[0] > 1e-9
        assert not moved[: changed + 1].any() and moved[changed + 1 :].all()


@pytest.mark.parametrize("num_classes", [None, 2])
@pytest.mark.parametrize("shape", [(2,), (2, 1), (1, 2, 1)])
def test_probabilities_sum_to_one(shape, num_classes):
    """Over all maps of codes; and samples have these probabilities."""
    sampler, *_ = fit_sampler(2, num_classes, shape, k=3)
    every = torch.cartesian_prod(*[torch.arange(3)] * 4).view(-1, *shape, 2)
    label = None if num_classes is None else 1
    shares = sampler.code_log_prob(every, label).exp()
    torch.testing.assert_close(shares.sum().item(), 1.0)
    drawn = sampler.draw_codes(20_000, generator(), class_labels=label).flatten(1)
    index = (drawn * torch.tensor([27, 9, 3, 1])).sum(1)
    assert (index.bincount(minlength=81).double() / 20_000 - shares).abs().max() < 0.012


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_attention_heads": 3}, "num_attention_heads must divide hidden_size 128, got 3"),
        ({"num_attention_heads": 0}, "num_attention_heads must be above 0, got 0"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), got 1.0"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be above 0, got 0"),
    ],
)
def test_invalid_fields(fields, message):
    with pytest.raises(StrictDataclassError, match=message):
        TransformerSampler(**fields)


def test_labels_without_classes():
    with pytest.raises(ValueError, match="this sampler was fitted without class_labels"):
        fit_sampler()[0].draw_codes(2, class_labels=1)
