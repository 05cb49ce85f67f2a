"""Methods with a discriminator: gradients equal those of a loop with one loss and one optimizer per network."""

from copy import deepcopy
from functools import partial

import pytest
import torch
from cases import ROWS, generator, images

from gae_hub import AAEConfig, FactorVAEConfig, GAETrainer, GAETrainingArguments, VAEGANConfig, WAEGANConfig
from gae_hub.models.factor_vae import permute_dimensions
from gae_hub.modules.noise import randn
from gae_hub.modules.posteriors import DiagonalGaussian

X = images(6).double()


def build(name, **fields):
    return ROWS[name].build(**fields).double()


def loss_gradients(model):
    """Gradients of the model's loss, by parameter name."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    loss = model(X, generator=generator()).loss
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


def separate_gradients(model, losses):
    """Gradients of each network's own loss with respect to its own parameters, by parameter name."""
    names = {id(p): name for name, p in model.named_parameters()}
    found = {}
    for network, parameters in model.parameter_groups().items():
        gradients = torch.autograd.grad(losses(model)[network], parameters)
        found |= {names[id(p)]: gradient for p, gradient in zip(parameters, gradients, strict=True)}
    return found


def log_sigmoid_losses(fake, real):
    """-log D(real) - log(1 - D(fake)), as in the papers."""
    return -(torch.sigmoid(real).log() + (1 - torch.sigmoid(fake)).log()).mean()


def latent_gan(model):
    """Tolstikhin et al., algorithm 1; Makhzani et al., section 2."""
    g = generator()
    z = model.encode(X).rsample(generator=g)
    prior = randn(z.shape, z, g)
    log_p, _ = model.log_prob(X, z)
    game = -torch.sigmoid(model.discriminator(z)).log()
    return {
        "autoencoder": (-log_p + model.config.adversarial_weight * game).mean(),
        "discriminator": log_sigmoid_losses(model.discriminator(z), model.discriminator(prior)),
    }


def factor_vae(model):
    """Kim & Mnih, algorithm 2."""
    g = generator()
    posterior = model.encode(X)
    z = posterior.rsample(generator=g)
    product = torch.sigmoid(model.discriminator(permute_dimensions(z, g)))
    joint = torch.sigmoid(model.discriminator(z))
    log_p, _ = model.log_prob(X, z)
    return {
        "autoencoder": (-log_p + posterior.kl() + model.config.gamma * (joint.log() - (1 - joint).log())).mean(),
        "discriminator": -0.5 * (joint.log() + (1 - product).log()).mean(),
    }


def vae_gan(model):
    """Larsen et al., algorithm 1."""
    g, alpha = generator(), model.config.reconstruction_weight
    posterior = model.encode(X)
    z = posterior.rsample(generator=g)
    reconstruction, generated = model.decode(z), model.decode(randn(z.shape, z, g))
    (features, real), (decoded, first) = (model.discriminator(x) for x in (X, reconstruction))
    _, second = model.discriminator(generated)
    feature = 0.5 * (features - decoded).square().sum(1).mean()
    game = log_sigmoid_losses(first, real) - (1 - torch.sigmoid(second)).log().mean()
    return {
        "encoder": posterior.kl().mean() + feature,
        "decoder": alpha * feature - (1 - alpha) * game,
        "discriminator": game,
    }


PLAYERS = [
    ("wae_gan", latent_gan, {}),
    ("aae", latent_gan, {}),
    ("aae", latent_gan, {"posterior": "deterministic", "adversarial_weight": 3.0}),
    ("factor_vae", factor_vae, {}),
    ("vae_gan", vae_gan, {}),
    ("vae_gan", vae_gan, {"feature_layer": 1, "reconstruction_weight": 0.3}),
]


@pytest.mark.parametrize(("name", "losses", "fields"), PLAYERS, ids=lambda value: str(value)[:20])
def test_gradients_of_each_network(name, losses, fields):
    model = build(name, **fields)
    ours, theirs = loss_gradients(model), separate_gradients(model, losses)
    assert ours.keys() == theirs.keys()
    for key, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[key], msg=lambda text, key=key: f"{key}: {text}")
        assert gradient.abs().max() > 0


@pytest.mark.parametrize(("name", "losses", "fields"), PLAYERS, ids=lambda value: str(value)[:20])
def test_training_equals_one_optimizer_per_network(name, losses, fields):
    """In each of five steps, all gradients are computed in the same state, then each optimizer takes its step."""
    model = build(name, **fields)
    other = deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    optimizers = [torch.optim.Adam(p, lr=1e-2) for p in other.parameter_groups().values()]
    for _ in range(5):
        optimizer.zero_grad()
        model(X, generator=generator()).loss.backward()
        optimizer.step()
        gradients = separate_gradients(other, losses)
        for key, parameter in other.named_parameters():
            parameter.grad = gradients[key]
        for one in optimizers:
            one.step()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_adversarial_losses_of_the_decoder():
    model = build("vae_gan", adversarial_loss="non_saturating")
    logits = torch.tensor([-2.0, 3.0], dtype=torch.float64)
    torch.testing.assert_close(model.compute_adversarial_loss(logits), -torch.sigmoid(logits).log())
    minimax = build("vae_gan").compute_adversarial_loss(logits)
    torch.testing.assert_close(minimax, (1 - torch.sigmoid(logits)).log())


@pytest.mark.parametrize(("name", "weight"), [("wae_gan", "adversarial_weight"), ("factor_vae", "gamma")])
def test_autoencoder_without_the_adversarial_term(name, weight):
    model, plain = build(name, **{weight: 0.0}), build("ae" if name == "wae_gan" else "vae")
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("discriminator")})
    gradients = loss_gradients(model)
    for key, gradient in loss_gradients(plain).items():
        torch.testing.assert_close(gradients[key], gradient)


def test_permuted_dimensions_have_the_same_marginals_and_are_independent():
    z = torch.randn(5000, 1, generator=generator()).expand(-1, 3) + torch.tensor([0.0, 10.0, 20.0])
    permuted = permute_dimensions(z, generator())
    assert torch.equal(permuted.sort(0).values, z.sort(0).values)
    off_diagonal = torch.corrcoef(permuted.T) - torch.eye(3)
    assert off_diagonal.abs().max() < 0.06


def test_factor_vae_decodes_every_image():
    model = build("factor_vae")
    posterior = model.encode(X)
    z = posterior.rsample(generator=generator())
    losses = model(X, generator=generator()).losses
    torch.testing.assert_close(losses["reconstruction"], -model.log_prob(X, z)[0].mean().detach())
    torch.testing.assert_close(losses["total_correlation"], model.discriminator(z).mean().detach())


@pytest.mark.parametrize("name", ["aae", "wae_gan", "factor_vae", "vae_gan"])
def test_discriminator_and_latent_metrics(name):
    metrics = build(name)(X).metrics
    assert 0 <= metrics["discriminator_accuracy"] <= 1
    assert metrics["active_units"].shape == ()


@pytest.mark.parametrize(
    ("real", "fake", "skipping"),
    [
        (0.7, 0.7, set()),
        (0.1, 0.7, {"discriminator"}),
        (0.7, 0.1, {"discriminator"}),
        (0.7, 1.2, {"decoder"}),
        (1.2, 0.7, {"decoder"}),
        (0.1, 1.2, set()),  # both would skip, so neither does
    ],
)
def test_decide_skips(real, fake, skipping):
    decision = build("vae_gan").decide_skips(torch.tensor(real), torch.tensor(fake), 0.4)
    assert {name for name, skips in decision.items() if skips} == skipping


@pytest.mark.parametrize("network", ["decoder", "discriminator"])
def test_skipping_network_keeps_its_parameters(network, tmp_path, monkeypatch):
    """The optimizer's momentum does not move them either."""
    model = ROWS["vae_gan"].build()
    names = [name for name, _ in model.named_parameters()]
    seen = []

    def skip_from_the_third_step(self, real, fake, margin):
        seen.append(deepcopy(self.state_dict()))
        return {name: torch.tensor(name == network and len(seen) > 2) for name in ("decoder", "discriminator")}

    monkeypatch.setattr(type(model), "decide_skips", skip_from_the_third_step)
    args = GAETrainingArguments(str(tmp_path), per_device_train_batch_size=4, num_train_epochs=1, disable_tqdm=True)
    GAETrainer(model, args, train_dataset=images(20)).train()
    for name in names:
        moved = [not torch.equal(a[name], b[name]) for a, b in zip(seen, seen[1:], strict=False)]
        assert all(moved[:2]) and all(moved[2:]) != name.startswith(network), name


def test_no_skips_without_margin_or_in_evaluation():
    model = build("vae_gan", margin=None)
    model(X)
    assert model.skips is None
    model = build("vae_gan").eval()
    model(X)
    assert model.skips is None


def test_deterministic_encoder_has_no_likelihood():
    model = build("aae", posterior="deterministic")
    assert torch.equal(model.embed(X, sample=True), model.embed(X))
    with pytest.raises(NotImplementedError, match="AAEModel has no likelihood"):
        model.log_likelihood(X)


def test_gaussian_encoder_has_the_likelihood_of_the_vae():
    """The generative model is that of the VAE, although the encoder is trained by another loss."""
    model, vae = build("aae"), build("vae")
    vae.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("discriminator")})
    assert isinstance(model.encode(X), DiagonalGaussian)
    likelihood = partial(vae.log_likelihood, X, 10)
    assert torch.equal(model.log_likelihood(X, 10, generator=generator()), likelihood(generator=generator()))


def test_factor_vae_needs_two_examples():
    with pytest.raises(ValueError, match="FactorVAE.* needs at least 2 examples in a batch, got 1"):
        build("factor_vae")(X[:1])
    assert build("factor_vae").embed(X[:1]).shape == (1, 3)


@pytest.mark.parametrize(
    ("config_class", "fields"),
    [
        (WAEGANConfig, {"adversarial_weight": -1}),
        (AAEConfig, {"discriminator_hidden_sizes": []}),
        (AAEConfig, {"posterior": "laplace"}),
        (FactorVAEConfig, {"gamma": -1}),
        (FactorVAEConfig, {"discriminator_hidden_sizes": [0]}),
        (VAEGANConfig, {"reconstruction_weight": 1.1}),
        (VAEGANConfig, {"feature_layer": 4}),
        (VAEGANConfig, {"feature_layer": 0}),
        (VAEGANConfig, {"margin": -0.1}),
        (VAEGANConfig, {"equilibrium": 0}),
        (VAEGANConfig, {"adversarial_loss": "hinge"}),
    ],
)
def test_invalid_fields(config_class, fields):
    with pytest.raises(Exception, match=next(iter(fields))):
        config_class(**fields)
