"""Half precision and inference mode, for every method."""

from copy import deepcopy

import pytest
import torch
from cases import MODELS, ROWS, generator, images

from gae_hub import AutoGAE

EACH = pytest.mark.parametrize("case", MODELS, ids=lambda case: case.id)
# largest relative errors of losses, and of gradients: the dtypes have 8 and 11 binary digits
PRECISION = {torch.bfloat16: (5e-3, 0.1), torch.float16: (1e-3, 0.02)}


def trained(case, **fields):
    """A model after one training step, in eval mode."""
    model = case.build(**fields).train()
    model(images(32))
    return model.zero_grad() or model.eval()


def gradient(model):
    """All gradients in one vector."""
    return torch.cat([p.grad.flatten().float() for p in model.parameters() if p.grad is not None])


def dtypes(model):
    return {name: tensor.dtype for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("dtype", PRECISION, ids=str)
@EACH
def test_half_precision_trains_and_evaluates_as_float32(case, dtype):
    model = trained(case)
    half = deepcopy(model).to(dtype)
    loss_error, gradient_error = PRECISION[dtype]
    x = images(16)
    assert half.dtype == dtype
    torch.testing.assert_close(
        half(x, generator=generator()).loss, model(x, generator=generator()).loss, rtol=loss_error, atol=0
    )
    torch.testing.assert_close(half.reconstruct(x).float(), model.reconstruct(x), rtol=0, atol=0.02)
    if case.has_prior:
        torch.testing.assert_close(
            half.generate(4, generator=generator()).float(),
            model.generate(4, generator=generator()),
            rtol=0,
            atol=0.02,
        )
    for network in (model, half):
        network.train()(x, generator=generator()).loss.backward()
    expected = gradient(model)
    assert (gradient(half) - expected).norm() < gradient_error * expected.norm()
    half.before_optimizer_step()
    torch.optim.SGD(half.parameters(), lr=1e-3).step()
    assert all(tensor.isfinite().all() for tensor in half.state_dict().values())


@EACH
def test_casts_keep_the_statistics_that_loading_keeps(case, tmp_path):
    fields = {} if case.id == "msssim_vae" else {"likelihood": "gaussian", "observation_std": "optimal"}
    model = trained(case, **fields)
    model.save_pretrained(tmp_path)
    loaded = AutoGAE.from_pretrained(tmp_path, dtype=torch.float16)
    for half in (deepcopy(model).half(), deepcopy(model).to(torch.float16), deepcopy(model).to("cpu", torch.float16)):
        assert dtypes(half) == dtypes(loaded) and half.progress.dtype == torch.float32
        assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in half.state_dict().items())
    assert dtypes(deepcopy(model).bfloat16().float()) == dtypes(model)
    assert set(dtypes(model.double()).values()) <= {torch.float64, torch.long, torch.bool}


def test_an_optimal_variance_keeps_its_digits():
    """A running average of weight 0.9 would not move in half precision, where the ratio of neighbours is 1.008."""
    model = ROWS["vae"].build(observation_std="optimal").bfloat16().train()
    model.likelihood.variance.fill_(1.001)
    assert model.likelihood.variance.item() == pytest.approx(1.001, rel=1e-6)
    assert model(images(8)).loss.isfinite() and model.likelihood.variance < 0.95


def test_gradients_of_statistics_are_cast_with_them():
    """The codes of a VQ-VAE may be parameters. PyTorch casts gradients with their parameters."""
    model = ROWS["vq_vae"].build(codebook_update="gradient").train()
    model(images(16)).loss.backward()
    expected = model.codebook.codes.grad.clone()
    model.half()
    assert torch.equal(model.codebook.codes.grad, expected) and model.codebook.codes.dtype == torch.float32
    assert model.head.weight.grad.dtype == torch.float16


@EACH
def test_inference_mode_equals_no_grad(case):
    """Also in training mode, whose step may change buffers; the model can still be trained afterwards."""
    model, x = trained(case), images(8)
    for training in (False, True):
        one, two = deepcopy(model).train(training), deepcopy(model).train(training)
        with torch.no_grad():
            expected = one(x, generator=generator())
        with torch.inference_mode():
            found = two(images(8), generator=generator())  # images made in inference mode as well
            two.reconstruct(images(2))
            if case.has_likelihood:
                assert two.log_likelihood(x, num_samples=2).isfinite().all()
        for name in ("loss", "reconstruction", "latents"):
            assert torch.equal(getattr(found, name), getattr(expected, name))
        two(x).loss.backward()


def test_a_penalty_has_a_gradient_in_eval_mode():
    """RAE-GP's loss in eval mode has the gradient of its loss in training mode, as it has no layer that differs."""
    case, x = ROWS["rae_gp"], images(8)
    gradients = []
    for training in (True, False):
        model = case.build().train(training)
        model(x, generator=generator()).loss.backward()
        gradients.append(gradient(model))
    assert torch.equal(*gradients)
