"""Use of codes and their size in bits: by hand, and for models with one code per token and with several."""

from math import log2

import pytest
import torch
from cases import QUANTIZERS, ROWS, generator, images

from gae_hub.metrics.functional.codes import code_usage


def values(found):
    return {name: number.value for name, number in found.items()}


def test_one_code_per_token_by_hand():
    """Codes 0, 1, 1, 3 of 4: three in use, of frequencies 1/4, 1/2, 1/4."""
    found = values(code_usage(torch.tensor([[0, 1], [1, 3]]), 4))
    assert found == pytest.approx(
        {
            "used_codes": 0.75,
            "perplexity": 2**1.5,
            "bits_per_example": 4.0,
            "entropy_bits_per_example": 2 * 1.5,
        }
    )


def test_several_codes_per_token_by_hand():
    """Each has its own frequencies: the first is always 0, the second even."""
    found = code_usage(torch.tensor([[[0, 0], [0, 1]], [[0, 1], [0, 0]]]), 2, num_codes_per_token=2)
    assert values(found) == pytest.approx(
        {"used_codes": 0.75, "perplexity": 1.5, "bits_per_example": 4.0, "entropy_bits_per_example": 2.0}
    )
    assert found["perplexity"].details["of_each_code"] == pytest.approx([1.0, 2.0])


def test_even_use_needs_all_bits():
    found = values(code_usage(torch.arange(8).view(2, 2, 2), 8))
    assert found["entropy_bits_per_example"] == pytest.approx(found["bits_per_example"]) == pytest.approx(4 * log2(8))


@pytest.mark.parametrize("case", [*QUANTIZERS, ROWS["hrq_vae"]], ids=lambda case: case.id)
def test_every_model_with_codes(case):
    """The codes of an untrained model, and random codes, which need nearly all bits."""
    model = case.build(encoder_config="conv")
    assert code_usage(model.encode_codes(images(20)), model.config.num_embeddings, model.num_codes_per_token)
    codes = torch.randint(model.config.num_embeddings, (500, *model.code_shape), generator=generator())
    found = values(code_usage(codes, model.config.num_embeddings, model.num_codes_per_token))
    assert found["bits_per_example"] == pytest.approx(model.bits_per_example)
    assert 0.99 < found["entropy_bits_per_example"] / found["bits_per_example"] < 1
    assert found["used_codes"] == 1 and 0.98 < found["perplexity"] / model.config.num_embeddings < 1


def test_invalid_codes():
    codes = torch.zeros(3, 2, dtype=torch.long)
    with pytest.raises(ValueError, match=r"codes must lie in \[0, 4\), got \[4, 4\]"):
        code_usage(codes + 4, 4)
    with pytest.raises(ValueError, match="needs a tensor of integers, got"):
        code_usage(codes.float(), 4)
    with pytest.raises(ValueError, match=r"codes of shape \(3, 2\) are not 3 per token"):
        code_usage(codes, 4, num_codes_per_token=3)
