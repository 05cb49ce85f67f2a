"""Conditional models: every method equals the one without conditions where it must, and p(x|y) is exact if linear."""

import warnings

import pytest
import torch
from cases import MODELS, generator, images
from huggingface_hub.errors import StrictDataclassError
from torch.distributions import MultivariateNormal

from gae_hub import (
    GaussianMixtureSampler,
    InMemoryDataset,
    KLGANConfig,
    KLGANModel,
    PerClassSampler,
    VAEConfig,
    VAEGANConfig,
    VAEGANModel,
    VAEModel,
    VAMPConfig,
    VAMPModel,
)
from gae_hub.data.embeddings import embed_dataset
from gae_hub.modules.conditions import ConditionalNetwork, drop_conditions

NUM_CLASSES, SIZE = 3, 5
CLASSES = {"num_classes": NUM_CLASSES, "condition_embedding_dim": SIZE}
FILM = {**CLASSES, "condition_injection": "film"}
SUPPORTED = [case for case in MODELS if case.model_class.supports_conditions]
TRACEABLE = [case for case in SUPPORTED if case.fullgraph and case.model_class.can_be_compiled]
METHODS = pytest.mark.parametrize("case", SUPPORTED, ids=lambda case: case.id)
X, Y = images(6).double(), torch.tensor([0, 1, 2, 2, 1, 0])


def fold(network, embedding):
    """State of the plain network that a concatenating network equals for one embedding: the condition is a bias."""
    state = {name: value.clone() for name, value in network.network.state_dict().items()}
    weight = next(name for name, value in state.items() if name.endswith("weight") and value.dim() == 2)
    bias = weight.replace("weight", "bias")
    layer = network.concatenation
    appended = embedding if layer.to_channel is None else layer.to_channel(embedding)
    num = state[weight].shape[1] - appended.shape[1]
    state[bias] += state[weight][:, num:] @ appended[0]
    state[weight] = state[weight][:, :num]
    return state


def unconditional(case, model, label):
    """The method without conditions that equals a conditional model with concatenation for one label."""
    plain = case.build().double()
    state = {k: v for k, v in model.state_dict().items() if k in plain.state_dict()}
    for name, part in model.named_children():
        if isinstance(part, ConditionalNetwork):
            folded = fold(part, part.embedding(torch.tensor([label])))
            state |= {f"{name}.{key}": value for key, value in folded.items()}
    plain.load_state_dict(state)
    return plain


@METHODS
@pytest.mark.parametrize("training", [True, False])
def test_a_constant_label_is_the_method_without_conditions(case, training):
    model = case.build(**CLASSES).double().train(training)
    plain = unconditional(case, model, 1).train(training)
    found, expected = model(X, generator=generator(), class_labels=1), plain(X, generator=generator())
    terms = found.losses.keys() - {"decoder_norm"}  # of the weights, of which the conditional model has more
    torch.testing.assert_close([found.losses[t] for t in terms], [expected.losses[t] for t in terms])
    torch.testing.assert_close(found.reconstruction, expected.reconstruction)
    model.eval(), plain.eval()
    torch.testing.assert_close(model.embed(X, class_labels=1), plain.embed(X))
    torch.testing.assert_close(model.interpolate(X[:2], X[2:4], 4, 1), plain.interpolate(X[:2], X[2:4], 4))
    if case.has_prior:
        found = model.generate(5, generator=generator(), class_labels=1)
        torch.testing.assert_close(found, plain.generate(5, generator=generator()))
    if case.has_likelihood:
        found = model.log_likelihood(X, 4, generator(), class_labels=1)
        torch.testing.assert_close(found, plain.log_likelihood(X, 4, generator()))


@METHODS
def test_film_starts_as_the_method_without_conditions(case):
    model, plain = case.build(**FILM).double().eval(), case.build().double().eval()
    state = {key.replace(".network.", "."): value for key, value in model.state_dict().items()}
    plain.load_state_dict({key: state[key] for key in plain.state_dict() if "discriminator" not in key}, strict=False)
    torch.testing.assert_close(model.reconstruct(X, class_labels=Y), plain.reconstruct(X), rtol=0, atol=0)
    torch.testing.assert_close(model.embed(X, class_labels=Y), plain.embed(X), rtol=0, atol=0)


@METHODS
@pytest.mark.parametrize("fields", [CLASSES, FILM], ids=["concatenation", "film"])
def test_each_example_has_its_own_label(case, fields):
    """A batch of several labels equals batches of one label, in embeddings, reconstructions, draws and densities."""
    model = randomize(case.build(**fields).double()).eval()
    own = [Y == label for label in range(NUM_CLASSES)]
    for method in ("embed", "reconstruct"):
        together = getattr(model, method)(X, class_labels=Y)
        for label, rows in enumerate(own):
            torch.testing.assert_close(getattr(model, method)(X[rows], class_labels=label), together[rows])
        assert not torch.allclose(together, getattr(model, method)(X, class_labels=(Y + 1) % NUM_CLASSES))
    styled = model.reconstruct(X, class_labels=Y, target_class_labels=2)
    torch.testing.assert_close(styled, model.decode(model.embed(X, class_labels=Y), class_labels=2))
    if case.has_prior:
        drawn = model.generate(6, generator=generator(), class_labels=Y, batch_size=4)
        latents = model.draw_latents(6, generator=generator(), class_labels=Y)
        expected = torch.cat([model.decode(z[None], int(y)) for z, y in zip(latents, Y, strict=True)])
        torch.testing.assert_close(drawn, expected)
    z = torch.randn(6, 4, *model.latent_shape, generator=generator()).double() / 10
    log_p, _ = model.given(Y).log_prob(X, z)  # four latents of each example
    alone = [model.given(int(Y[i])).log_prob(X[i : i + 1], z[i : i + 1])[0] for i in range(6)]
    torch.testing.assert_close(log_p, torch.cat(alone))
    if case.has_likelihood:
        draws = generator()
        parts = [model.log_likelihood(X[rows], 3, draws, 4, Y[rows]) for rows in (slice(4), slice(4, 6))]
        found = model.log_likelihood(X, 3, generator(), 4, class_labels=Y)
        torch.testing.assert_close(found, torch.cat(parts))


def randomize(model):
    """Give FiLM weights that matter."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".film." in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator()) / 4)
    return model


# Densities

LINEAR = {
    "decoder_config": {"hidden_sizes": []},
    "likelihood": "gaussian",
    "output_activation": "identity",
    "observation_std": 1.5,
}
GAUSSIAN = [case for case in SUPPORTED if case.has_likelihood and case.gaussian_prior]


def evidence(model, label):
    """log p(x|y) of a linear model: x = W z + V e(y) + b + noise is N(V e(y) + b, W W^T + sigma^2 I)."""
    layer, embedding = model.decoder.network.net[0], model.decoder.embedding(torch.tensor([label]))[0]
    dim = model.config.latent_dim
    mean = layer.bias + layer.weight[:, dim:] @ embedding
    covariance = layer.weight[:, :dim] @ layer.weight[:, :dim].T + 1.5**2 * torch.eye(64, dtype=torch.float64)
    return MultivariateNormal(mean, covariance).log_prob(X.flatten(1)).detach()


@pytest.mark.parametrize("case", GAUSSIAN, ids=lambda case: case.id)
def test_conditional_evidence_marginal_and_bayes_rule_of_linear_models(case):
    model = case.build(**CLASSES, **LINEAR).double().eval()
    with torch.no_grad():
        model.decoder.network.net[0].weight.mul_(2)
    model.set_class_shares(torch.tensor([0, 0, 1, 2, -1]))
    joint = torch.stack([evidence(model, label) for label in range(NUM_CLASSES)], 1)
    options = {"num_samples": 6_000, "batch_size": 12_000}
    found = model.log_likelihood(X[:2], generator=generator(), class_labels=1, **options)
    torch.testing.assert_close(found, joint[:2, 1], atol=0.1, rtol=0)
    joint = joint + torch.tensor([0.5, 0.25, 0.25]).double().log()
    found = model.log_likelihood(X[:2], generator=generator(), **options)
    torch.testing.assert_close(found, joint[:2].logsumexp(1), atol=0.1, rtol=0)
    found = model.class_log_probs(X[:2], generator=generator(), **options)
    torch.testing.assert_close(found, joint[:2].log_softmax(1), atol=0.15, rtol=0)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(2).double())


# Missing conditions and guidance


def test_missing_labels_have_their_own_embedding_and_are_dropped_at_random():
    model = VAEModel(VAEConfig(input_shape=(1, 8, 8), latent_dim=2, **CLASSES, condition_dropout=0.3)).double().eval()
    with torch.no_grad():
        model.decoder.embedding.project.weight[1] = model.decoder.embedding.missing
        model.encoder.embedding.project.weight[1] = model.encoder.embedding.missing
    torch.testing.assert_close(model.reconstruct(X, class_labels=-1), model.reconstruct(X, class_labels=1))
    dropped = drop_conditions(torch.zeros(1, dtype=torch.long), 0.3, 10_000, generator())
    assert (dropped == -1).double().mean() == pytest.approx(0.3, abs=0.02) and dropped.max() == 0
    vectors = drop_conditions(torch.ones(10_000, 2), 0.3, 10_000, generator())
    assert vectors.isnan().any(1).double().mean() == pytest.approx(0.3, abs=0.02)
    assert (vectors.isnan().any(1) == vectors.isnan().all(1)).all()


def test_dropout_in_training_only_and_the_same_for_encoder_and_decoder():
    model = VAEModel(VAEConfig(input_shape=(1, 8, 8), latent_dim=2, **CLASSES, condition_dropout=0.5))
    torch.testing.assert_close(
        model.eval()(X.float(), generator=generator(), class_labels=Y).loss,
        model.eval()(X.float(), generator=generator(), class_labels=Y).loss,
        rtol=0,
        atol=0,
    )
    seen = {}
    for name in ("encoder", "decoder"):
        embedding = getattr(model, name).embedding
        embedding.register_forward_hook(lambda _m, args, _o, name=name: seen.update({name: args[0]}))
    model.train()(X.float(), generator=generator(), class_labels=Y)
    assert torch.equal(seen["encoder"], seen["decoder"]) and (seen["encoder"] == -1).any()
    assert ((seen["encoder"] == -1) | (seen["encoder"] == Y)).all()


def test_guidance_extrapolates_before_the_activation():
    model = VAEModel(VAEConfig(input_shape=(1, 8, 8), latent_dim=2, **CLASSES, condition_dropout=0.3)).double().eval()
    z = torch.randn(6, 2, generator=generator()).double()
    given, missing = (model.decode(z, labels).logit() for labels in (Y, -1))
    for scale in (0.0, 0.5, 3.0):
        guided = model.given(Y, scale).decode(z).logit()
        torch.testing.assert_close(guided, missing + scale * (given - missing))
    drawn = model.generate(6, generator=generator(), class_labels=Y, guidance_scale=3.0)
    torch.testing.assert_close(drawn, model.given(Y, 3.0).decode(model.sample_prior(6, generator())))


def test_vectors_as_conditions():
    """Vectors that are one-hot equal labels, if the linear layer has their embeddings."""
    fields = {"input_shape": (1, 8, 8), "latent_dim": 2, "condition_embedding_dim": SIZE, "condition_dropout": 0.1}
    labelled = VAEModel(VAEConfig(num_classes=3, **fields)).double().eval()
    model = VAEModel(VAEConfig(condition_dim=3, **fields)).double().eval()
    state = labelled.state_dict()
    for name in ("encoder", "decoder"):
        key = f"{name}.embedding.project"
        state |= {f"{key}.weight": state[f"{key}.weight"].T, f"{key}.bias": torch.zeros(SIZE).double()}
    del state["class_shares"]
    model.load_state_dict(state)
    vectors = torch.eye(3)[Y]
    torch.testing.assert_close(model.reconstruct(X, class_labels=vectors), labelled.reconstruct(X, class_labels=Y))
    vectors[0], labels = torch.nan, Y.clone()
    labels[0] = -1
    torch.testing.assert_close(model.embed(X, class_labels=vectors), labelled.embed(X, class_labels=labels))
    assert model.generate(6, generator=generator(), class_labels=vectors).shape == X.shape


# One object


def test_a_given_model_is_guided_and_not_saved(tmp_path):
    model = VAEModel(VAEConfig(input_shape=(1, 8, 8), latent_dim=2, **CLASSES, condition_dropout=0.1)).eval()
    found = model.given(1).generate(4, generator=generator(), guidance_scale=3.0)
    expected = model.given(1, 3.0).decode(model.sample_prior(4, generator()))
    torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match=r"is a result of given\(class_labels\), which a checkpoint does not hold"):
        model.given(1).save_pretrained(tmp_path / "given")
    assert not (tmp_path / "given").exists()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.uint16])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_integers_of_any_size(dtype, dropout):
    model = VAEModel(VAEConfig(input_shape=(1, 8, 8), latent_dim=2, **CLASSES, condition_dropout=dropout)).eval()
    latents = model.sample_prior(3, generator())
    expected = model.decode(latents, class_labels=torch.tensor([2, 0, 1]))
    torch.testing.assert_close(model.decode(latents, class_labels=torch.tensor([2, 0, 1], dtype=dtype)), expected)


def test_a_sampler_with_another_number_of_classes():
    model = VAEModel(VAEConfig(input_shape=(1, 8, 8), latent_dim=2, **CLASSES)).eval()
    sampler = PerClassSampler(GaussianMixtureSampler(num_components=1), num_classes=2)
    sampler.fit(torch.randn(20, 2), class_labels=torch.arange(20) % 2)
    with pytest.raises(ValueError, match="PerClassSampler has 2 classes, but this VAEModel has 3: fit a sampler with"):
        model.generate(4, sampler=sampler)


def test_given_shares_weights_and_changes_nothing():
    model = VAEModel(VAEConfig(input_shape=(1, 8, 8), latent_dim=2, **CLASSES)).eval()
    given = model.given(Y)
    assert given.is_given and not model.is_given and model.encoder.conditions is None
    assert [id(p) for p in given.parameters()] == [id(p) for p in model.parameters()]
    torch.testing.assert_close(given.reconstruct(X.float()), model.reconstruct(X.float(), class_labels=Y))
    torch.testing.assert_close(
        given.log_likelihood(X.float(), 3, generator()),
        model.log_likelihood(X.float(), 3, generator(), class_labels=Y),
    )


@pytest.mark.parametrize("case", TRACEABLE, ids=lambda case: case.id)
def test_a_conditional_model_compiles_to_one_graph(case):
    torch.compiler.reset()
    model = case.build(**CLASSES).train()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        found = compiled(X.float(), class_labels=Y).loss
    torch.manual_seed(0)
    torch.testing.assert_close(found, model(X.float(), class_labels=Y).loss)
    assert not model.is_given


def test_saving_keeps_the_shares_of_the_classes(tmp_path):
    model = VAEModel(VAEConfig(input_shape=(1, 8, 8), latent_dim=2, **FILM)).eval()
    model.set_class_shares(torch.tensor([0, 0, 0, 2]))
    model.save_pretrained(tmp_path)
    loaded = VAEModel.from_pretrained(tmp_path)
    assert loaded.class_shares.tolist() == [0.75, 0, 0.25]
    expected = model.reconstruct(X.float(), class_labels=Y)
    torch.testing.assert_close(loaded.reconstruct(X.float(), class_labels=Y), expected)


def test_classes_are_drawn_with_their_shares():
    model = VAEModel(VAEConfig(input_shape=(2,), latent_dim=1, num_classes=3, output_activation="identity")).eval()
    model.set_class_shares(torch.tensor([0, 0, 0, 2]))
    with torch.no_grad():  # the decoder shows the label
        for parameter in model.decoder.network.parameters():
            parameter.zero_()
        model.decoder.network.net[0].weight[0, 1] = 1
        model.decoder.network.net[-1].weight[:, 0] = 1
        model.decoder.embedding.project.weight[:, 0] = torch.tensor([1.0, 2.0, 3.0])
    drawn = model.generate(4000, generator=generator())[:, 0]
    assert [float((drawn == value).double().mean()) for value in (1, 2, 3)] == pytest.approx([0.75, 0, 0.25], abs=0.02)


# Data sets


def test_embeddings_of_a_data_set_have_its_labels_and_the_cache_knows_them(tmp_path):
    model = VAEModel(VAEConfig(input_shape=(1, 8, 8), latent_dim=2, **CLASSES)).eval()
    data = InMemoryDataset(X.float(), Y)
    found = embed_dataset(model, data, batch_size=4, progress=False, cache=tmp_path)
    torch.testing.assert_close(found, model.embed(X.float(), class_labels=Y))
    other = embed_dataset(model, InMemoryDataset(X.float(), (Y + 1) % 3), progress=False, cache=tmp_path)
    torch.testing.assert_close(other, model.embed(X.float(), class_labels=(Y + 1) % 3))
    assert len(list(tmp_path.iterdir())) == 2


# Errors


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (3, r"class_labels must be integers in \[0, 3\), got 3"),
        (-1, r"class_labels must be integers in \[0, 3\), got -1"),
        (Y[:5], r"one integer, or one for each of 6 examples, got shape \(5,\)"),
        (Y.double(), "got dtype torch.float64"),
        ("seven", "got the text 'seven'"),
    ],
)
def test_wrong_labels(labels, message):
    model = VAEModel(VAEConfig(input_shape=(1, 8, 8), latent_dim=2, **CLASSES)).eval()
    with pytest.raises(ValueError, match=message):
        model.embed(X.float(), class_labels=labels)
    with pytest.raises(ValueError, match=message):
        model(X.float(), class_labels=labels)
    with pytest.raises(ValueError, match=message):
        model.generate(6, class_labels=labels)


def test_missing_and_unexpected_labels():
    model = VAEModel(VAEConfig(input_shape=(1, 8, 8), latent_dim=2, **CLASSES)).eval()
    plain = VAEModel(VAEConfig(input_shape=(1, 8, 8), latent_dim=2)).eval()
    for call in (model.embed, model.reconstruct, model):
        with pytest.raises(ValueError, match="class_labels is missing: this model is conditional"):
            call(X.float())
    for call in (plain.embed, plain.reconstruct, plain, plain.log_likelihood):
        with pytest.raises(ValueError, match="this VAEModel is not conditional"):
            call(X.float(), class_labels=Y)
    with pytest.raises(ValueError, match="class_labels need a conditional model or a sampler with classes"):
        plain.generate(6, class_labels=Y)
    with pytest.raises(ValueError, match="class_log_probs needs a model with num_classes, got None"):
        plain.class_log_probs(X.float())
    with pytest.raises(ValueError, match="guidance_scale = 2 needs a model that is trained with condition_dropout"):
        model.generate(6, class_labels=Y, guidance_scale=2)
    for scale in (float("nan"), -1, "much", True):
        with pytest.raises(ValueError, match="guidance_scale must be a number, 0 or more and finite, got"):
            model.generate(6, class_labels=Y, guidance_scale=scale)
        with pytest.raises(ValueError, match="guidance_scale must be a number, 0 or more and finite, got"):
            model.given(Y, scale)
    with pytest.raises(ValueError, match="has no labels, but a conditional model needs them"):
        embed_dataset(model, InMemoryDataset(X.float()), progress=False)
    with pytest.raises(ValueError, match=r"does not fit VAEModel: class_labels must be integers in \[0, 3\), got 7"):
        embed_dataset(model, InMemoryDataset(X.float(), Y + 7 * (Y == 0)), progress=False)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_classes": 3, "condition_dim": 2}, "num_classes = 3 and condition_dim = 2 exclude each other"),
        ({"num_classes": 0}, "num_classes must be above 0, got 0"),
        ({"condition_dropout": 0.1}, "condition_dropout = 0.1 has no effect without num_classes or condition_dim"),
        ({"condition_injection": "film"}, "condition_injection = film has no effect"),
        ({"num_classes": 2, "condition_dropout": 1.0}, r"condition_dropout must lie in \[0, 1\), got 1.0"),
        ({"num_classes": 2, "condition_embedding_dim": 0}, "condition_embedding_dim must be above 0, got 0"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(StrictDataclassError, match=message):
        VAEConfig(**fields)


@pytest.mark.parametrize(
    ("config", "model"), [(VAMPConfig, VAMPModel), (VAEGANConfig, VAEGANModel), (KLGANConfig, KLGANModel)]
)
def test_methods_without_conditions_say_so(config, model):
    with pytest.raises(ValueError, match=f"{model.__name__} cannot be conditional: num_classes"):
        model(config(num_classes=3))


def test_film_needs_a_network_that_supports_it():
    with pytest.raises(ValueError, match="condition_injection is 'film', but Linear has no argument 'modulations'"):
        VAEModel(VAEConfig(input_shape=(4,), num_classes=3, condition_injection="film"), encoder=torch.nn.Linear(4, 4))
