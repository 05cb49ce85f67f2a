"""Flow matching: closed forms for Gaussians, integrals of densities, classes and guidance, and what is saved."""

from copy import deepcopy
from itertools import pairwise
from math import log

import pytest
import torch
from cases import VAE, generator, images
from densities import noise, plane, two_moons
from torch import nn
from transformers import TrainerCallback

from gae_hub import AutoSampler, FlowMatchingSampler, InMemoryDataset, PerClassSampler, SVAEConfig, SVAEModel
from gae_hub.modules.von_mises_fisher import VonMisesFisher
from gae_hub.samplers import flow_matching

SMALL = {"hidden_size": 16, "num_hidden_layers": 1}
BRIEF = {"num_train_epochs": 20, "per_device_train_batch_size": 50, "learning_rate": 1e-2, "progress": False}
MEAN = torch.tensor([3.0, -1.0, 0.5], dtype=torch.float64)
# of determinant 1.5, so that the log density depends on the traces
SCALE = torch.tensor([[1.0, 0.0, 0.0], [0.9, 0.5, 0.0], [-0.5, 0.3, 3.0]], dtype=torch.float64)
COVARIANCE = SCALE @ SCALE.T
GAUSSIAN = torch.distributions.MultivariateNormal(MEAN, COVARIANCE)


class GaussianVelocity(nn.Module):
    """The best velocity for latents from a Gaussian and independent pairs, times a factor and plus a shift."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones((), dtype=torch.float64))
        self.shift = nn.Parameter(torch.zeros(3, dtype=torch.float64))

    def forward(self, times, points, class_labels=None):
        t, eye = times[:, None, None], torch.eye(3, dtype=torch.float64)
        gain = (t * COVARIANCE - (1 - t) * eye) @ torch.linalg.inv((1 - t) ** 2 * eye + t**2 * COVARIANCE)
        moved = (gain @ (points - times[:, None] * MEAN).unsqueeze(-1)).squeeze(-1)
        return self.factor * (MEAN + moved) + self.shift


def build_gaussian(**fields):
    """A sampler whose velocity is that of a Gaussian."""
    sampler = FlowMatchingSampler(latent_dim=3, latent_shape=[3], **fields).double()
    sampler.network = GaussianVelocity()
    return sampler.eval()


def fit_classes(**fields):
    """A sampler that is fitted to three classes with shares of 1/2, 1/3 and 1/6, around -3, 0 and 3."""
    labels = torch.tensor([0, 0, 0, 1, 1, 2]).repeat(100)
    latents = 0.5 * noise(600, 2) + 3 * (labels - 1).unsqueeze(1)
    sampler = FlowMatchingSampler(num_classes=3, **{**SMALL, "hidden_size": 32, **fields})
    return sampler.fit(latents, class_labels=labels, **BRIEF)


@pytest.fixture(scope="module")
def with_classes():
    return fit_classes()


@pytest.fixture(scope="module")
def moons():
    return FlowMatchingSampler(**SMALL).fit(two_moons(500, 0), **BRIEF)


# Gaussians, in closed form


@pytest.mark.parametrize(
    ("fields", "tolerance"),
    [
        ({"solver": "dopri5", "relative_tolerance": 1e-8, "absolute_tolerance": 1e-8}, 1e-6),
        ({"solver": "heun", "num_steps": 400}, 1e-3),
    ],
    ids=["dopri5", "heun"],
)
def test_log_density_of_a_gaussian(fields, tolerance):
    sampler, latents = build_gaussian(**fields), GAUSSIAN.sample((50,))
    torch.testing.assert_close(sampler.log_prob(latents), GAUSSIAN.log_prob(latents), atol=tolerance, rtol=0)
    # with constants of standardization, latents are an affine function of those above
    sampler.standardization.mean.fill_(1.0)
    sampler.standardization.std.fill_(2.0)
    moved = torch.distributions.MultivariateNormal(2 * MEAN + 1, 4 * COVARIANCE).log_prob(2 * latents + 1)
    torch.testing.assert_close(sampler.log_prob(2 * latents + 1), moved, atol=tolerance, rtol=0)


def test_samples_of_a_gaussian():
    """The flow of this velocity is u -> mean + covariance^(1/2) u."""
    sampler = build_gaussian(solver="dopri5", relative_tolerance=1e-9, absolute_tolerance=1e-9)
    values, vectors = torch.linalg.eigh(COVARIANCE)
    root = vectors @ values.sqrt().diag() @ vectors.T
    start = torch.randn(20, 3, generator=generator(4), dtype=torch.float64)
    torch.testing.assert_close(sampler.sample(20, generator(4)), MEAN + start @ root, atol=1e-6, rtol=0)


def test_the_loss_is_minimal_at_the_closed_form():
    """The gradient is 0 up to 4 standard errors, and clearly not for another velocity."""
    sampler = build_gaussian(coupling="independent")
    gradients = []
    torch.manual_seed(0)
    for _ in range(40):
        sampler.zero_grad()
        sampler(GAUSSIAN.sample((2000,))).loss.backward()
        gradients.append(torch.cat([sampler.network.factor.grad.view(1), sampler.network.shift.grad]))
    found = torch.stack(gradients)
    error = found.std(0) / 40**0.5
    assert (found.mean(0).abs() < 4 * error).all() and error.max() < 0.1
    sampler.network.shift.data.fill_(0.3)
    sampler.zero_grad()
    sampler(GAUSSIAN.sample((2000,))).loss.backward()
    assert (sampler.network.shift.grad > 0.4).all()


@pytest.mark.parametrize("coupling", ["optimal_transport", "independent"])
def test_fit_to_a_gaussian(coupling):
    """The best density is the Gaussian of the data, whose likelihood is known."""
    data, fresh = GAUSSIAN.sample((2000,)).float(), GAUSSIAN.sample((2000,))
    sampler = FlowMatchingSampler(coupling=coupling, hidden_size=32, num_hidden_layers=2)
    sampler.fit(data, num_train_epochs=20, learning_rate=5e-3, per_device_train_batch_size=100, progress=False)
    torch.testing.assert_close(
        sampler.log_prob(fresh).mean(), GAUSSIAN.log_prob(fresh).mean().float(), atol=0.04, rtol=0
    )


def test_optimal_transport_straightens_the_flow():
    """With optimal pairs, a single step of the flow ends closer to the exact solution."""
    errors = {}
    for coupling in ("optimal_transport", "independent"):
        sampler = FlowMatchingSampler(coupling=coupling, **{**SMALL, "hidden_size": 32})
        sampler.fit(two_moons(1000, 0), **BRIEF)
        samples = []
        for num_steps in (1, 50):
            sampler.config.num_steps = num_steps
            samples.append(sampler.sample(500, generator()))
        errors[coupling] = (samples[0] - samples[1]).square().sum(1).mean()
    assert errors["optimal_transport"] < 0.5 * errors["independent"]


# The sphere


def test_fit_on_a_sphere():
    """To two von Mises-Fisher densities in four dimensions: the log density is theirs, up to 0.06 nats on average."""
    means = torch.eye(4, dtype=torch.float64)[:2]
    posterior = VonMisesFisher(means, torch.full((2, 1), 20.0, dtype=torch.float64))
    data = posterior.rsample(2000, generator=generator()).flatten(0, 1).float()
    fresh = posterior.rsample(300, generator=generator(1)).flatten(0, 1)
    sampler = FlowMatchingSampler(unit_norm=True, hidden_size=32, num_hidden_layers=2)
    sampler.fit(data, num_train_epochs=20, learning_rate=5e-3, progress=False)
    each = posterior.log_prob(fresh.unsqueeze(0).expand(2, -1, -1))
    expected = each.logsumexp(0).mean() - log(2)
    assert sampler.log_prob(fresh).mean().item() == pytest.approx(expected.item(), abs=0.06)
    shares = (sampler.sample(1000, generator()) @ means.float().T).argmax(1).bincount() / 1000
    assert shares.tolist() == pytest.approx([0.5, 0.5], abs=0.06)


def test_guided_samples_stay_on_the_sphere():
    data = torch.nn.functional.normalize(noise(200, 3))
    sampler = FlowMatchingSampler(unit_norm=True, num_classes=2, **SMALL)
    sampler.fit(data, class_labels=(data[:, 0] > 0).long(), num_train_epochs=40, learning_rate=1e-2, progress=False)
    with torch.no_grad():
        free, drawn = (sampler.draw_latents(200, generator(), class_labels=1, guidance_scale=s) for s in (1, 2))
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(200), atol=2e-3, rtol=0)  # before it is scaled to 1
    assert 0.85 < (drawn[:, 0] > 0).float().mean() and free[:, 0].mean() < drawn[:, 0].mean()


def test_latents_of_a_hyperspherical_vae():
    model = SVAEModel(SVAEConfig(input_shape=(1, 8, 8), latent_dim=3)).eval()
    sampler = FlowMatchingSampler(**SMALL).fit_to(model, images(30), num_train_epochs=1, progress=False)
    assert sampler.config.unit_norm
    latents = model.draw_latents(4, sampler)
    torch.testing.assert_close(latents.norm(dim=1), torch.ones(4))
    with pytest.raises(ValueError, match="it needs latents of length 1, got lengths from 2 to 2"):
        FlowMatchingSampler(unit_norm=True, **SMALL).fit(2 * latents, num_train_epochs=1, progress=False)
    with pytest.raises(ValueError, match="it needs latents of length 1, got lengths from 3 to 3"):
        sampler.fit(latents, validation_latents=3 * latents, num_train_epochs=1, progress=False)


# Densities


@pytest.mark.parametrize("solver", ["heun", "dopri5"])
def test_density(solver):
    """It integrates to 1, and the mean negative log density of its samples is the entropy from the grid."""
    data = torch.cat([0.5 * noise(200, 2) + 1, 0.5 * noise(200, 2, seed=1) - 1])
    sampler = FlowMatchingSampler(solver=solver, num_steps=50, **SMALL).fit(data, **BRIEF).double()
    points, area = plane(side=6.0, steps=121)
    log_p = sampler.log_prob(points)
    torch.testing.assert_close((log_p.exp().sum() * area).item(), 1.0, atol=3e-3, rtol=0)
    entropy = -(log_p.exp() * log_p).sum() * area
    drawn = -sampler.log_prob(sampler.sample(4000, generator())).mean()
    torch.testing.assert_close(drawn, entropy, atol=0.06, rtol=0)


def test_density_on_a_line():
    data = torch.cat([0.3 * noise(200, 1) + 1, 0.6 * noise(100, 1, seed=1) - 1])
    sampler = FlowMatchingSampler(**SMALL).fit(data, **BRIEF).double()
    points = torch.linspace(-8, 8, 2001, dtype=torch.float64).unsqueeze(1)
    torch.testing.assert_close(
        torch.trapezoid(sampler.log_prob(points).exp(), dx=0.008).item(), 1.0, atol=3e-3, rtol=0
    )


def test_estimated_log_density(moons):
    """Its mean over seeds is the exact one; it is a function of the latent, in any batch."""
    latents = two_moons(6, 1)
    exact = moons.log_prob(latents)
    sampler = FlowMatchingSampler(moons.config.__class__(**{**moons.config.to_dict(), "trace": "hutchinson"}))
    sampler.load_state_dict(moons.state_dict())
    estimates = []
    for seed in range(200):
        sampler.config.trace_seed = seed
        estimates.append(sampler.log_prob(latents))
    found = torch.stack(estimates)
    assert found.std(0).min() > 1e-3
    assert ((found.mean(0) - exact).abs() < 4 * found.std(0) / 200**0.5 + 1e-3).all()
    torch.testing.assert_close(sampler.log_prob(latents[3:]), estimates[-1][3:])
    sampler.config.num_probes = 200
    assert (sampler.log_prob(latents) - exact).abs().max() < found.std(0).max()


def test_parts_do_not_matter(monkeypatch, with_classes):
    """Samples and densities are the same when they are computed in parts, for both solvers."""
    latents, labels = noise(7, 2), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    sampler = deepcopy(with_classes).double()  # rounding errors of float32 would change which steps are accepted

    def compute():
        drawn = sampler.sample(7, generator(), guidance_scale=2.0)
        return drawn, sampler.log_prob(latents), sampler.log_prob(latents, class_labels=labels)

    for solver in ("heun", "dopri5"):
        sampler.config.solver = solver
        whole = compute()
        with monkeypatch.context() as patch:
            patch.setattr(flow_matching, "_MAX_ROWS", 3)
            patch.setattr(flow_matching, "_MAX_FEATURES", 3 * 2 * 32)
            torch.testing.assert_close(compute(), whole)


# Classes


def test_samples_of_classes(with_classes):
    for label in range(3):
        drawn = with_classes.sample(200, generator(), class_labels=label)
        assert (drawn - 3 * (label - 1)).mean(0).abs().max() < 0.3
    mixed = with_classes.sample(2000, generator()).mean(1)
    shares = torch.stack([mixed < -1.5, (mixed > -1.5) & (mixed < 1.5), mixed > 1.5]).float().mean(1)
    torch.testing.assert_close(shares, torch.tensor([1 / 2, 1 / 3, 1 / 6]), atol=0.05, rtol=0)
    labels = torch.tensor([2, 0, 1])
    torch.testing.assert_close(
        with_classes.sample(3, generator(), class_labels=labels),
        torch.stack([with_classes.sample(3, generator(), class_labels=int(k))[i] for i, k in enumerate(labels)]),
    )


def test_density_of_classes_together(with_classes):
    """The sum over classes of share times density, which integrates to 1."""
    latents = noise(5, 2)
    each = torch.stack([with_classes.log_prob(latents, class_labels=k) for k in range(3)])
    expected = (torch.tensor([1 / 2, 1 / 3, 1 / 6]).log().unsqueeze(1) + each).logsumexp(0)
    torch.testing.assert_close(with_classes.log_prob(latents), expected)
    labels = torch.tensor([1, 0, 2, 2, 0])
    torch.testing.assert_close(with_classes.log_prob(latents, class_labels=labels), each[labels, torch.arange(5)])
    points, area = plane(side=6.0, steps=81)
    torch.testing.assert_close(
        (with_classes.log_prob(points.float()).exp().sum() * area).item(), 1.0, atol=0.01, rtol=0
    )


def test_guidance(with_classes):
    """Scale 1 is the velocity of the class, 0 that without class, and others lie on the line through both."""
    times, points, labels = torch.rand(6, generator=generator()), noise(6, 2), torch.tensor([0, 1, 2, 0, 1, 2])
    given = with_classes.network(times, points, labels)
    free = with_classes.network(times, points, torch.full((6,), 3))
    for scale in (0.0, 0.5, 1.0, 3.0):
        found = with_classes.compute_velocity(times, points, labels, scale)
        torch.testing.assert_close(found, free + scale * (given - free))
    drawn = [with_classes.sample(500, generator(), class_labels=2, guidance_scale=scale) for scale in (None, 1.0, 3.0)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    ignoring = [with_classes.sample(9, generator(), class_labels=k, guidance_scale=0.0) for k in (0, 2)]
    assert torch.equal(*ignoring)


def test_dropped_classes(monkeypatch):
    """In training, a share of the examples has no class; in evaluation, none."""
    sampler, seen = fit_classes(class_dropout=0.3, coupling="independent"), []
    network = sampler.network
    monkeypatch.setattr(network, "forward", lambda times, points, labels: seen.append(labels) or points)
    labels = torch.arange(3).repeat(1000)
    sampler.train()(noise(3000, 2), labels)
    sampler.eval()(noise(3000, 2), labels)
    assert abs((seen[0] == 3).float().mean() - 0.3) < 0.04
    assert torch.equal(seen[0][seen[0] != 3], labels[seen[0] != 3]) and torch.equal(seen[1], labels)


def test_pairs_keep_noise_independent_of_classes(monkeypatch):
    """Noise is permuted within classes: its mean in each class is 0, although the classes lie apart."""
    sampler, seen = fit_classes(class_dropout=0.0), []
    network = sampler.network
    monkeypatch.setattr(network, "forward", lambda times, points, labels: seen.append((times, points)) or points)
    labels = torch.tensor([0, 0, 0, 1, 1, 2]).repeat(100)
    latents = 0.5 * noise(600, 2) + 3 * (labels - 1).unsqueeze(1)
    starts = []
    for _ in range(5):
        sampler.train()(latents, labels)
        times, points = seen[-1]
        z, _ = sampler.standardization(latents)
        early = times < 0.9
        starts.append(((points - times.unsqueeze(1) * z) / (1 - times).unsqueeze(1))[early & (labels == 2)])
    found = torch.cat(starts)
    assert (found.mean(0).abs() < 4 / len(found) ** 0.5).all() and abs(found.std() - 1) < 0.1


# Maps


def test_constants_of_maps(tmp_path):
    """A transformer sees whole maps; a constant entry is sampled as it is, and is no part of the density."""
    maps = noise(60, 2, 2, 3)
    maps[:, 1, 0, 2] = 5.0
    sampler = FlowMatchingSampler(num_attention_heads=2, **SMALL).fit(maps, **{**BRIEF, "num_train_epochs": 2})
    assert type(sampler.network).__name__ == "VelocityTransformer" and sampler.config.density_dim == 11
    drawn = sampler.sample(4, generator())
    assert drawn.shape == (4, 2, 2, 3) and (drawn[:, 1, 0, 2] == 5).all()
    sampler.save_pretrained(tmp_path)
    again = AutoSampler.from_pretrained(tmp_path)
    assert torch.equal(again.sample(4, generator()), drawn)
    torch.testing.assert_close(again.log_prob(drawn), sampler.log_prob(drawn))
    assert sampler.log_prob(drawn).isfinite().all() and sampler.log_prob(drawn + 1).isneginf().all()
    z = sampler.standardization(drawn.flatten(1)[:, [i for i in range(12) if i != 8]])[0]
    whole = torch.cat([z[:, :8], torch.zeros(4, 1), z[:, 8:]], 1)
    found = sampler.compute_velocity(torch.ones(1), z, None)
    torch.testing.assert_close(found, sampler.network(torch.ones(1), whole)[:, [i for i in range(12) if i != 8]])


def test_log_density_of_a_transformer():
    """The trace through attention, against a Jacobian by autograd, integrated by the same steps."""
    sampler = FlowMatchingSampler(num_attention_heads=2, num_steps=1, **SMALL)
    sampler.fit(noise(60, 2, 2), **{**BRIEF, "num_train_epochs": 3}).double()
    z = noise(1, 4, dtype=torch.float64)

    def velocity(time, points):
        return sampler.compute_velocity(torch.full((1,), time, dtype=torch.float64), points, None)

    def trace(time, points):
        return torch.autograd.functional.jacobian(lambda p: velocity(time, p), points)[0, :, 0].trace()

    start = z - velocity(1.0, z)
    noise_point = z - (velocity(1.0, z) + velocity(0.0, start)) / 2
    expected = torch.distributions.Normal(0, 1).log_prob(noise_point).sum() - (trace(1.0, z) + trace(0.0, start)) / 2
    latents, log_det = sampler.standardization.inverse(z)
    torch.testing.assert_close(sampler.log_prob(latents), expected - log_det)


# Training


def test_weights_are_averages_over_the_training():
    """What is kept is the average of the trainer, here computed by hand."""
    history = []

    class Record(TrainerCallback):
        def on_optimizer_step(self, args, state, control, model, **kwargs):
            history.append([p.detach().clone() for p in model.parameters()])

    sampler = FlowMatchingSampler(**SMALL).fit(noise(100, 2), callbacks=[Record()], ema_decay=0.8, **BRIEF)
    average = history[0]
    for weights in history[1:]:
        average = [0.8 * a + 0.2 * w for a, w in zip(average, weights, strict=True)]
    torch.testing.assert_close(list(sampler.parameters()), average)
    assert FlowMatchingSampler.default_arguments["ema_decay"] > 0


def test_validation_loss_is_comparable_between_epochs():
    """Noise, times and pairs are the same in every evaluation; the best weights are kept."""
    fields = {**BRIEF, "num_train_epochs": 3, "validation_latents": noise(60, 2, seed=1)}
    sampler = FlowMatchingSampler(**SMALL).fit(noise(100, 2), **{**fields, "learning_rate": 0.0})
    losses = [entry["eval_loss"] for entry in sampler.log_history if "eval_loss" in entry]
    assert len(losses) == 3 and all(a == b for a, b in pairwise(losses))
    sampler.fit(noise(100, 2), **fields)
    changing = [entry["eval_loss"] for entry in sampler.log_history if "eval_loss" in entry]
    assert len(set(changing)) == 3


def test_fit_to_labelled_images():
    labels = torch.arange(40) % 2
    data = InMemoryDataset(images(40), labels)
    sampler = FlowMatchingSampler(num_classes=2, **SMALL)
    sampler.fit_to(VAE.build().eval(), data, data, **{**BRIEF, "num_train_epochs": 1})
    torch.testing.assert_close(sampler.class_shares, torch.tensor([0.5, 0.5]))
    assert sampler.sample(3, class_labels=1, guidance_scale=2.0).shape == (3, *sampler.config.latent_shape)


def test_classes_after_reload(with_classes, tmp_path):
    with_classes.save_pretrained(tmp_path)
    again = AutoSampler.from_pretrained(tmp_path)
    assert torch.equal(again.class_shares, with_classes.class_shares)
    assert torch.equal(again.sample(5, generator()), with_classes.sample(5, generator()))
    torch.testing.assert_close(again.log_prob(noise(3, 2)), with_classes.log_prob(noise(3, 2)))


# Errors


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_steps": 0}, "num_steps must be"),
        ({"relative_tolerance": 0.0}, "relative_tolerance must be"),
        ({"class_dropout": 1.0}, "class_dropout must be 0 or more, and below 1, got 1.0"),
        ({"num_classes": 0}, "num_classes must be"),
        ({"solver": "euler"}, "solver"),
        ({"hidden_size": 30}, "hidden_size must be a multiple of num_attention_heads = 4, got 30"),
    ],
)
def test_invalid_fields(fields, message):
    with pytest.raises(Exception, match=message):
        FlowMatchingSampler(**fields)
    FlowMatchingSampler(hidden_size=30, network="mlp")


def test_invalid_arguments(with_classes, moons):
    latents, labels = noise(6, 2), torch.zeros(6, dtype=torch.long)
    for call, message in (
        (lambda: moons.sample(3, class_labels=1), "fitted without class_labels"),
        (lambda: moons.log_prob(latents, class_labels=1), "fitted without class_labels"),
        (lambda: moons.sample(3, guidance_scale=2.0), "guidance_scale = 2.0 needs .*, but num_classes is None"),
        (lambda: with_classes.sample(3, class_labels=3), r"must be integers in \[0, 3\), got 3"),
        (
            lambda: with_classes.sample(3, guidance_scale=-1.0),
            "guidance_scale must be a number, 0 or more and finite, got -1",
        ),
        (lambda: with_classes.log_prob(latents, guidance_scale=2.0), "log_prob has no guidance_scale other than 1"),
        (lambda: FlowMatchingSampler().fit(latents, class_labels=labels), "class_labels were given, but num_classes"),
        (
            lambda: FlowMatchingSampler(num_classes=2).fit(latents),
            r"class_labels must be integers in \[0, 2\), got Non",
        ),
        (
            lambda: FlowMatchingSampler(num_classes=2).fit(latents, class_labels=labels, validation_latents=latents),
            r"validation_class_labels must be integers in \[0, 2\), got None",
        ),
        (
            lambda: FlowMatchingSampler(num_classes=2).fit(
                latents, class_labels=labels, validation_class_labels=labels
            ),
            "validation_class_labels were given, but there are no validation_latents",
        ),
        (
            lambda: FlowMatchingSampler(latent_dim=1025, latent_shape=[1025], **SMALL).log_prob(noise(1, 1025)),
            "trace = 'exact' supports up to 1024 dimensions, got 1025: set",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert fit_classes(class_dropout=0.0).sample(2, guidance_scale=1.0).shape == (2, 2)
    with pytest.raises(ValueError, match="but class_dropout is 0"):
        fit_classes(class_dropout=0.0).sample(2, guidance_scale=2.0)


def test_generate_guides_the_sampler():
    model = VAE.build().eval()
    sampler = FlowMatchingSampler(num_classes=2, hidden_size=8, num_hidden_layers=1, num_steps=2)
    labels = torch.arange(40) % 2
    sampler.fit(noise(40, 3), class_labels=labels, **BRIEF)
    options = {"class_labels": 1, "guidance_scale": 3.0}
    found = model.generate(5, sampler, generator(), **options)
    torch.testing.assert_close(found, model.decode(sampler.sample(5, generator(), **options)))
    assert not torch.equal(found, model.generate(5, sampler, generator(), class_labels=1))
    with pytest.raises(ValueError, match="guidance_scale = 3 needs a model that is trained with condition_dropout"):
        model.generate(5, PerClassSampler(num_classes=2).fit(noise(40, 3), class_labels=labels), guidance_scale=3)
