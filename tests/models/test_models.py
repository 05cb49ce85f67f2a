"""The contract of all methods, tested for every row of cases.py."""

from copy import deepcopy

import pytest
import torch
from cases import MODELS, SHAPE, generator, images
from transformers import AutoConfig, AutoModel

from gae_hub import AutoGAE, GAETrainer, GAETrainingArguments
from gae_hub.models.base import MODELS as REGISTRY

X = images()


@pytest.fixture(params=MODELS, ids=lambda case: case.id)
def case(request):
    return request.param


@pytest.fixture
def model(case):
    return case.build()


def same_state(one, other):
    """Whether both models have equal tensors, to the bit."""
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def own(config):
    """The fields of a config that gae_hub declares, and those of its networks."""
    values = {name: getattr(config, name) for name in type(config).own_fields()}
    return {name: own(value) if hasattr(value, "own_fields") else value for name, value in values.items()}


class Latents:
    """A sampler that always returns the same latents."""

    def sample(self, num_samples, generator=None):
        return torch.ones(num_samples, 3)


def test_every_registered_method_has_a_row_in_cases():
    missing = set(REGISTRY) - {case.id for case in MODELS}
    assert not missing, f"add a row for {', '.join(missing)} to MODELS in tests/cases.py"


def test_forward(model, case):
    out = model(X)
    assert out.loss.dim() == 0 and out.loss.isfinite()
    assert out.reconstruction.shape == X.shape and 0 <= out.reconstruction.min() and out.reconstruction.max() <= 1
    assert out.latents.shape == (16, 3)
    assert set(out.losses) == set(case.terms)
    assert not any(term.requires_grad for term in out.losses.values())
    out.loss.backward()
    assert all((p.grad is not None) == case.is_trained(name) for name, p in model.named_parameters())


def test_loss_is_the_weighted_sum_of_its_terms(model):
    out = model(X, generator=generator())
    weights = model.loss_weights()
    torch.testing.assert_close(out.loss, sum(weights.get(name, 1.0) * term for name, term in out.losses.items()))


WITH_KL = [case for case in MODELS if hasattr(case.model_class.config_class(), "kl_warmup_fraction")]


@pytest.mark.parametrize("case", WITH_KL, ids=lambda case: case.id)
def test_kl_warmup(case):
    """The warm-up scales the KL in training. With one sample, a bound is the reconstruction plus the KL there."""
    single = {name: 1 for name in case.fields if name in ("num_samples", "num_estimates")}
    if hasattr(case.model_class.config_class(), "capacity"):  # it has its own schedule
        single["capacity"] = 0.0
    model, plain = case.build(kl_warmup_fraction=0.5, **single), case.build(**single)
    whole = plain(X, generator=generator())
    weights = plain.loss_weights()
    kl = sum(weights.get(name, 1.0) * whole.losses[name] for name in model.kl_terms)
    if not model.kl_terms:
        kl = len(case.terms) * whole.metrics["kl"]  # each term is a bound
    for progress, share in ((0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (1.0, 1.0)):
        state = deepcopy(model)
        state.progress.fill_(progress)
        torch.testing.assert_close(state(X, generator=generator()).loss, whole.loss - (1 - share) * kl)


def test_forward_without_loss(model):
    out = model(X, return_loss=False)
    assert out.loss is None and out.losses is None and out.reconstruction.shape == X.shape


def test_embed_reconstruct_and_interpolate(model, case):
    assert model.embed(X).shape == (16, 3)
    assert model.reconstruct(X).shape == X.shape
    path = model.interpolate(X[:2], X[2:4], num_steps=5)
    assert path.shape == (2, 5, *SHAPE)
    torch.testing.assert_close(path[:, 0], model.reconstruct(X[:2]))
    torch.testing.assert_close(path[:, -1], model.reconstruct(X[2:4]))


def test_generate(model, case):
    if not case.has_prior:
        with pytest.raises(NotImplementedError, match="fit a sampler"):
            model.generate(4)
        return
    once = model.generate(5, generator=generator())
    assert once.shape == (5, *SHAPE) and 0 <= once.min() and once.max() <= 1
    assert torch.equal(once, model.generate(5, generator=generator()))
    assert not torch.equal(once, model.generate(5, generator=generator(1)))
    torch.testing.assert_close(once, model.generate(5, generator=generator(), batch_size=2))
    with pytest.raises(ValueError, match="num_samples must be 1 or more, got 0"):
        model.generate(0)


def test_sampled_pixels_scatter_around_the_decoded_mean(case):
    model = case.build(likelihood="gaussian", observation_std=0.5)
    latents = model.embed(X[:1])
    drawn = model.sample_pixel_values(latents.expand(20_000, *latents.shape[1:]), generator())
    torch.testing.assert_close(drawn.mean(0), model.decode(latents)[0].detach(), rtol=0, atol=5 * 0.5 / 20_000**0.5)
    torch.testing.assert_close(drawn.std(0), torch.full_like(drawn[0], 0.5), rtol=0.03, atol=0)


def test_log_likelihood(model, case):
    if not case.has_likelihood:
        with pytest.raises(NotImplementedError, match=f"{type(model).__name__} has no likelihood"):
            model.log_likelihood(X)
        return
    nats = model.log_likelihood(X, num_samples=20, generator=generator())
    assert nats.shape == (16,) and nats.isfinite().all()
    torch.testing.assert_close(nats, model.log_likelihood(X, num_samples=20, generator=generator(), batch_size=400))


def test_inference_is_deterministic_and_does_not_change_the_model(model, case):
    model.train()
    before = deepcopy(model.state_dict())
    first = model.embed(X)
    assert all(module.training == case.is_trained(name) for name, module in model.named_modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(first, model.embed(X)) and torch.equal(first, model.eval().embed(X))
    assert not first.requires_grad


def test_random_methods_use_the_generator(model):
    draws = [model.embed(X, sample=True, generator=generator(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    losses = [
        deepcopy(model)(X, generator=generator(seed)).loss for seed in (0, 0)
    ]  # copies, because a training step may change buffers
    assert torch.equal(*losses)


def test_save_and_load(model, tmp_path):
    model.train()(X).loss.backward()
    model.save_pretrained(tmp_path)
    for auto in (AutoGAE, AutoModel, type(model)):
        again = auto.from_pretrained(tmp_path)
        assert type(again) is type(model) and same_state(again, model) and again.progress == 1
        assert own(again.config) == own(model.config)
        assert torch.equal(again(X, generator=generator()).loss, model.eval()(X, generator=generator()).loss)
        # the next model would reuse this freed memory for a buffer that was not initialised
        garbage = [torch.full((1000, 100), torch.nan) for _ in range(20)]
        del garbage
    assert not list(tmp_path.glob("*.bin")) and not list(tmp_path.glob("*.pt")) and not list(tmp_path.glob("*.pkl"))


def test_init_weights_keeps_loaded_weights(model, tmp_path):
    model.save_pretrained(tmp_path)
    again = AutoGAE.from_pretrained(tmp_path)
    again.init_weights()
    assert same_state(again, model)


def test_from_config_and_deepcopy(model):
    config = AutoConfig.for_model(**model.config.to_dict())
    torch.manual_seed(0)
    assert same_state(AutoGAE.from_config(config), model)
    assert same_state(deepcopy(model), model)


def test_parameter_groups_are_a_partition(model, case):
    groups = model.parameter_groups()
    grouped = [id(p) for parameters in groups.values() for p in parameters]
    assert len(grouped) == len(set(grouped)) and set(grouped) == {
        id(p) for name, p in model.named_parameters() if case.is_trained(name)
    }


def test_half_precision(model, tmp_path):
    with torch.autocast("cpu", torch.bfloat16):
        out = model(X)
    assert out.loss.dtype == torch.float32 and out.loss.isfinite()
    out.loss.backward()
    model.save_pretrained(tmp_path)
    half = AutoGAE.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert (
        half.dtype == torch.bfloat16
        and half.eval()(X).loss.isfinite()
        and half.generate(2, sampler=Latents()).isfinite().all()
    )
    assert half.embed(X).dtype == half(X).latents.dtype == torch.float32  # densities need float32
    assert half.progress.dtype == torch.float32


def test_train_and_eval_reach_every_module(model, case):
    """Also a module that is in another mode than the model."""
    for mode in (True, False, False, True):
        model.encoder.train(not mode)
        assert model.train(mode) is model
        for name, module in model.named_modules():
            assert module.training is (mode and case.is_trained(name))


def test_double_precision(model):
    assert model.double()(X.double()).loss.dtype == torch.float64


@pytest.mark.parametrize("case", [case for case in MODELS if case.reduces_to], ids=lambda case: case.id)
def test_reduction(case):
    """With these fields, a method has the same loss as another, for the same weights and noise."""
    special, plain = case.build(**case.reduced_by), case.reduces_to()
    special.load_state_dict(plain.state_dict())
    torch.testing.assert_close(special(X, generator=generator()).loss, plain(X, generator=generator()).loss)
    assert not torch.isclose(case.build()(X, generator=generator()).loss, plain(X, generator=generator()).loss)


@pytest.mark.parametrize("networks", ["conv", "resnet", "mlp"])
def test_every_network(case, networks):
    model = case.build(input_shape=(3, 9, 7), encoder_config=networks, decoder_config=networks)
    out = model(images(4, (3, 9, 7)))
    assert out.reconstruction.shape == (4, 3, 9, 7)
    out.loss.backward()


def test_vectors(case):
    if case.images_only:
        with pytest.raises(Exception, match=r"input_shape must be \(channels, height, width\).* got \(5,\)"):
            case.build(input_shape=(5,))
        return
    model = case.build(input_shape=(5,))
    assert model(images(4, (5,))).reconstruction.shape == (4, 5)


@pytest.mark.parametrize(
    ("pixel_values", "message"),
    [
        (torch.rand(8, 3, 8, 8), r"has shape \(8, 3, 8, 8\), but this model was built for input_shape \(1, 8, 8\)"),
        (torch.rand(8, 8, 8), r"built for input_shape \(1, 8, 8\)"),
        (torch.rand(0, 1, 8, 8), "the batch is empty"),
        (torch.full((2, 1, 8, 8), torch.nan), "128 values that are nan or infinite"),
        (torch.full((2, 1, 8, 8), torch.inf), "nan or infinite"),
        (torch.full((2, 1, 8, 8), 200.0), r"must lie in \[0, 1\], got values from 200 to 200; .*divide by 255"),
        (torch.full((2, 1, 8, 8), -1.0), r"must lie in \[0, 1\].*scaled to"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "dtype torch.uint8, but must be floats"),
    ],
)
def test_invalid_pixel_values(model, pixel_values, message):
    for call in (model, model.embed, model.reconstruct):
        with pytest.raises(ValueError, match=message):
            call(pixel_values)


def test_training_logs_and_resumes_to_the_bit(model, case, tmp_path):
    """A resumed run ends with the same weights as an uninterrupted one."""

    def trainer(folder, net):
        args = GAETrainingArguments(
            str(tmp_path / folder),
            per_device_train_batch_size=4,
            num_train_epochs=2,
            logging_steps=1,
            eval_strategy="steps",
            eval_steps=3,
            save_total_limit=None,
            load_best_model_at_end=False,
            disable_tqdm=True,
        )
        return GAETrainer(net, args, train_dataset=images(18), eval_dataset=images(6, seed=1))

    start = deepcopy(model)
    whole = trainer("whole", model)
    whole.train()
    before = dict(start.named_parameters())
    still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    assert still == [name for name in before if name in case.resting or not case.is_trained(name)]
    entries = [entry for entry in whole.state.log_history if "loss" in entry]
    assert all(term in entries[0] for term in case.terms)
    assert all(f"eval_{term}" in whole.evaluate() for term in (*case.terms, "loss"))
    first, second = whole.evaluate(), whole.evaluate()
    assert first["eval_loss"] == second["eval_loss"]

    resumed = deepcopy(start)
    trainer("whole", resumed).train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-6"))
    assert same_state(resumed, model)
