"""The two-stage VAE: the learned scale in its loss."""

import torch
from cases import generator
from densities import noise

from gae_hub import TwoStageVAESampler
from gae_hub.metrics import energy_distance


class Unscaled(TwoStageVAESampler):
    """The loss of Pythae, without the scale."""

    def forward(self, latents, return_loss=True):
        z, _ = self.standardization(latents)
        posterior = self.encode(z)
        moved = self.decode(posterior.rsample()) + self.scale.log_scale.exp() * torch.randn_like(z)
        return self.build_output(
            {"reconstruction": 0.5 * (z - moved).square().sum(-1), "kl": posterior.kl()}, return_loss
        )


def two_modes(num, seed):
    """Modes at +-0.95 in each of four dimensions, with unit variance."""
    sign = torch.randint(0, 2, (num, 1), generator=generator(seed)) * 2.0 - 1
    return sign * torch.ones(4) * 0.95 + 0.3 * noise(num, 4, seed=seed + 100)


def test_two_modes():
    """The learned scale fits two modes; without it in the loss, the KL dominates."""
    fresh = two_modes(1500, 1)
    distances = []
    for build in (TwoStageVAESampler, Unscaled):
        sampler = build(hidden_sizes=[32, 32]).fit(
            two_modes(2000, 0), num_train_epochs=50, learning_rate=5e-3, progress=False
        )
        drawn = sampler.sample(1500, generator())
        distances.append(energy_distance(drawn, fresh))
        if build is TwoStageVAESampler:
            torch.testing.assert_close(drawn.std(0), fresh.std(0), atol=0.12, rtol=0)
            assert (drawn.mean(1).abs() > 0.5).float().mean() > 0.75  # few lie between the modes
    assert distances[0] < 0.03 and distances[0] < 0.5 * distances[1]


def test_best_scale_is_the_error():
    """At the optimum of the loss, gamma^2 is the mean squared error."""
    sampler = TwoStageVAESampler(hidden_sizes=[16]).fit(noise(500, 3), num_train_epochs=1, progress=False).double()
    z = noise(200, 3, dtype=torch.float64)

    def loss(log_scale):
        with torch.no_grad():
            sampler.scale.log_scale.fill_(log_scale)
            torch.manual_seed(0)
            return sampler(z).loss.item()

    with torch.no_grad():
        torch.manual_seed(0)
        standard = sampler.standardization(z)[0]
        posterior = sampler.encode(standard)
        best = (standard - sampler.decode(posterior.rsample())).square().mean().log().item() / 2
    assert loss(best) < min(loss(best - 0.01), loss(best + 0.01))
