r"""Flow matching: Flow Matching for Generative Modeling (Lipman, Chen, Ben-Hamu, Nickel & Le, 2023), arXiv:2210.02747.

.. math::
    \mathcal{L} = \mathbb{E}_{t, u, z} \left\| v_t\big((1 - t) u + t z\big) - (z - u) \right\|^2, \quad
    u \sim N(0, I), \quad t \sim U(0, 1)

The network v is the velocity that carries noise u, at time 0, to latents z, at time 1. Optimal transport pairs the
noise with the latents of a batch, 128 rows at a time (Tong et al., 2024, arXiv:2302.00482): paths cross less, so that
the flow is straighter and takes fewer steps.

Use it when: a mixture misses structure of latents with many modes or dimensions; or they are maps; or you want classes
    with guidance.

Relations:
    A continuous normalizing flow that is trained by regression: MAF and neural splines need networks that are easily
    inverted, this one may be any. The density follows from the trace of the velocity's Jacobian,
    d/dt log p_t(z_t) = -tr dv/dz, by solving an ordinary differential equation backwards; a sample takes 2 * num_steps
    passes.
    For latents of a Gaussian and independent pairs, v is affine in z and known in closed form.
    On the sphere of the SVAE, paths are great circles from uniform noise, and v is fitted to the velocities along them
    (Chen & Lipman, 2024, arXiv:2302.03660).
    Latents of the Poincare ball are modelled in normal coordinates, as vectors.
    With classes, the transport pairs noise and latents of the same class only: pairs across classes would give each
    class its own part of the noise (Cheng & Schwing, 2025, arXiv:2503.10636).
"""

__all__ = ["FlowMatchingSampler", "FlowMatchingSamplerConfig"]

from typing import Any, Literal

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor
from transformers.utils.generic import can_return_tuple

from ..core.class_labels import check_class_labels, check_guidance_scale, choose_class_labels, refuse_class_labels
from ..models.base import GAEOutput
from ..modules.couplings import pair_optimally
from ..modules.flow_spaces import FlowSpace, Sphere
from ..modules.flows import Standardization
from ..modules.jacobian_trace import draw_probes, trace_jacobian
from ..modules.noise import rand
from ..modules.ode import Field, solve_dopri5, solve_heun
from ..modules.precision import at_least_float32
from ..modules.velocity_networks import VelocityMLP, VelocityTransformer
from .base import check_unit_norm, register_sampler, require_value
from .constant_dimensions import select_varying
from .latent_kinds import LatentKind
from .learned import LatentDataset, LearnedSampler, LearnedSamplerConfig

_MAX_ROWS = 10_000  # samples drawn at a time
_MAX_FEATURES = 2**25  # of a layer, for all rows and directions, in `log_prob`
_MAX_EXACT_DIM = 1024  # passes of the network per step of `log_prob` with an exact trace


@strict
class FlowMatchingSamplerConfig(LearnedSamplerConfig):
    """Config of [`FlowMatchingSampler`].

    Args:
        network: "mlp"; "transformer", whose tokens are the positions of maps; or "auto": "transformer" for maps.
        hidden_size: size of the network's features.
        num_hidden_layers: number of residual blocks.
        num_attention_heads: number of heads of the transformer.
        coupling: which noise belongs to which latent of a batch: "optimal_transport", or "independent".
        num_classes: number of classes of a density conditioned on the class, or None.
        class_dropout: share of the examples that are trained without their class, which guidance needs. It may be 0.
        solver: "heun", with `num_steps` steps, or "dopri5", which adapts its steps to the tolerances.
        num_steps: number of steps of "heun", each with two passes through the network.
        relative_tolerance: relative error of each step of "dopri5".
        absolute_tolerance: absolute error of each step of "dopri5", in standard deviations of the latents, or in
            lengths of unit vectors.
        trace: "exact", or "hutchinson", an unbiased estimate of the log density for latents with many dimensions.
        num_probes: number of random directions of "hutchinson", the same for all latents.
        trace_seed: seed of these directions.
    """

    model_type = "gae_flow_matching_sampler"

    network: Literal["auto", "mlp", "transformer"] = "auto"
    hidden_size: int = 128
    num_hidden_layers: int = 3
    num_attention_heads: int = 4
    coupling: Literal["optimal_transport", "independent"] = "optimal_transport"
    num_classes: int | None = None
    class_dropout: float | int = 0.1
    solver: Literal["heun", "dopri5"] = "heun"
    num_steps: int = 20
    relative_tolerance: float | int = 1e-4
    absolute_tolerance: float | int = 1e-4
    trace: Literal["exact", "hutchinson"] = "exact"
    num_probes: int = 1
    trace_seed: int = 0

    def validate_flow(self):
        self.require_positive("hidden_size", "num_hidden_layers", "num_attention_heads", "num_steps", "num_probes")
        self.require_positive("relative_tolerance", "absolute_tolerance")
        if self.num_classes is not None:
            self.require_positive("num_classes")
        if not 0 <= self.class_dropout < 1:
            raise ValueError(f"class_dropout must be 0 or more, and below 1, got {self.class_dropout}")
        if self.hidden_size % self.num_attention_heads and self.network != "mlp":
            raise ValueError(
                f"hidden_size must be a multiple of num_attention_heads = {self.num_attention_heads}, "
                f"got {self.hidden_size}"
            )


class FlowMatchingSampler(LearnedSampler):
    """A velocity field between noise and latents. Weights are averaged over the training steps.

    Args:
        config: the config.
        **fields: fields of the config, used if no config is given.
    """

    config: FlowMatchingSamplerConfig
    class_shares: Tensor  # (num_classes,) shares of the classes in the training set

    config_class = FlowMatchingSamplerConfig
    latent_kinds: tuple[LatentKind, ...] = ("vectors", "sphere")
    _keep_in_fp32_modules_strict = [*LearnedSampler._keep_in_fp32_modules_strict, "standardization", "class_shares"]
    default_arguments = {
        **LearnedSampler.default_arguments,
        "per_device_train_batch_size": 128,
        "learning_rate": 2e-3,
        "ema_decay": 0.99,
    }

    def allocate(self, config: FlowMatchingSamplerConfig):
        latent_shape = require_value(config.latent_shape, "latent_shape")
        sizes = config.hidden_size, config.num_hidden_layers
        self.standardization = Standardization(config.density_dim)
        if config.network == "transformer" or (config.network == "auto" and len(latent_shape) > 1):
            self.network = VelocityTransformer(latent_shape, *sizes, config.num_attention_heads, config.num_classes)
        else:
            self.network = VelocityMLP(config.density_dim, *sizes, config.num_classes)
        if config.num_classes is not None:
            self.register_buffer("class_shares", torch.full((config.num_classes,), 1 / config.num_classes))

    @property
    def space(self) -> FlowSpace:
        """Where the flow takes place: the sphere with `unit_norm`."""
        return Sphere() if self.config.unit_norm else FlowSpace()

    # Fitting

    def fit_standardization(self, latents: Tensor):
        if self.config.unit_norm:
            check_unit_norm(latents)
        else:
            self.standardization.fit(latents)

    def train_on(
        self,
        dataset: LatentDataset,
        validation_dataset: LatentDataset | None = None,
        *,
        class_labels: Tensor | None = None,
        validation_class_labels: Tensor | None = None,
        **training: Any,
    ):
        """Train the network. `class_labels` and `validation_class_labels` are (num,) for the two data sets."""
        num_classes = self.config.num_classes
        if self.config.unit_norm and validation_dataset is not None:
            check_unit_norm(validation_dataset.tensors["latents"])
        for name, data, labels in (
            ("class_labels", dataset, class_labels),
            ("validation_class_labels", validation_dataset, validation_class_labels),
        ):
            if num_classes is None:
                refuse_class_labels(labels, name=name)
            elif data is None:
                refuse_class_labels(labels, "validation_latents", name)
            else:
                data.tensors["class_labels"] = check_class_labels(labels, num_classes, len(data), name=name).cpu()
        if num_classes is not None:
            counts = dataset.tensors["class_labels"].bincount(minlength=num_classes)
            self.class_shares.copy_(counts / counts.sum())
        super().train_on(dataset, validation_dataset, **training)

    @can_return_tuple
    def forward(self, latents: Tensor, class_labels: Tensor | None = None, return_loss: bool = True) -> GAEOutput:
        """The loss: the mean squared error of the velocity at latents (batch, density_dim), summed over dimensions.

        With classes, `class_labels` are (batch,).
        """
        self.check_density_dim(latents)
        if not return_loss:
            return GAEOutput()
        config, space, num = self.config, self.space, len(latents)
        z, _ = self.standardization(latents.to(self.latent_dtype))
        noise = space.draw_noise((num, config.density_dim), z)
        if config.coupling == "optimal_transport":
            noise = pair_optimally(noise, z, class_labels, space.compute_costs)
        # one time in each of `num` equal intervals, so that the loss varies less
        times = ((torch.randperm(num, device=z.device) + rand((num,), z)) / num).unsqueeze(1)
        if class_labels is not None and self.training:
            is_dropped = rand((num,), z) < config.class_dropout
            class_labels = class_labels.masked_fill(is_dropped, config.num_classes or 0)
        places, expected = space.travel(noise, z, times)
        velocity = self.compute_velocity(times.squeeze(1), places, class_labels)
        return self.build_output({"velocity": (velocity - expected).square().sum(1)})

    # The flow

    def compute_velocity(
        self, times: Tensor, points: Tensor, class_labels: Tensor | None, guidance_scale: float = 1.0
    ) -> Tensor:
        """(num, density_dim) velocities.

        Args:
            times: (num,), or (1,) for all, from 0 for noise to 1 for latents.
            points: (num, density_dim), standardized, or unit vectors.
            class_labels: (num,), where num_classes stands for no class; None without classes.
            guidance_scale: 1 for the velocity of the class, 0 for that without class; the velocity is linear in it.
        """

        def field(points: Tensor) -> Tensor:
            if guidance_scale != 1 and class_labels is not None:
                free = self._run_network(times, points, torch.full_like(class_labels, self.config.num_classes or 0))
                if guidance_scale == 0:
                    return free
                return torch.lerp(free, self._run_network(times, points, class_labels), guidance_scale)
            return self._run_network(times, points, class_labels)

        return self.space.constrain(field, points)

    def _run_network(self, times: Tensor, points: Tensor, class_labels: Tensor | None) -> Tensor:
        constants = self.config.constants
        if constants is None or isinstance(self.network, VelocityMLP):
            return at_least_float32(self.network(times, points.to(self.dtype), class_labels))
        # the transformer sees whole maps, whose constants are 0 after standardization
        varying = [index for index, value in enumerate(constants) if value is None]
        places = torch.full((len(constants),), len(varying))
        places[varying] = torch.arange(len(varying))
        maps = F.pad(points.to(self.dtype), (0, 1))[:, places.to(points.device)]
        return select_varying(at_least_float32(self.network(times, maps, class_labels)), constants)

    def _solve(self, field: Field, states: Tensor, start: float, end: float) -> Tensor:
        config = self.config
        if config.solver == "heun":
            return solve_heun(field, states, start, end, config.num_steps)
        return solve_dopri5(field, states, start, end, config.relative_tolerance, config.absolute_tolerance)

    # Sampling

    def draw_latents(
        self,
        num_samples: int,
        generator: torch.Generator | None,
        class_labels: Tensor | int | None = None,
        guidance_scale: float | None = None,
    ) -> Tensor:
        """(num_samples, density_dim) samples.

        Args:
            num_samples: number of samples.
            generator: source of random numbers.
            class_labels: (num_samples,) classes, or one for all. By default they are drawn with their shares in the
                training set.
            guidance_scale: above 1, samples are more typical of their class, and vary less (Ho & Salimans, 2022,
                arXiv:2207.12598). 1 by default; 0 ignores the class.

        Raises:
            ValueError: for labels that are not classes; or for labels or guidance that the sampler was not fitted for.
        """
        scale = self._check_guidance(guidance_scale)
        noise = self.space.draw_noise((num_samples, self.config.density_dim), self._like(), generator)
        shares = None if self.config.num_classes is None else self.class_shares
        labels = choose_class_labels(class_labels, shares, num_samples, generator, self.device)
        parts = []
        for start in range(0, num_samples, _MAX_ROWS):
            part = slice(start, start + _MAX_ROWS)
            classes = None if labels is None else labels[part]

            def field(times: Tensor, states: Tensor, rows: Tensor | slice, classes: Tensor | None = classes) -> Tensor:
                return self.compute_velocity(times, states, None if classes is None else classes[rows], scale)

            parts.append(self._solve(field, noise[part], 0.0, 1.0))
        return self.standardization.inverse(torch.cat(parts))[0]

    def _like(self) -> Tensor:
        """A tensor with the device and dtype of latents."""
        return torch.empty(0, device=self.device, dtype=self.latent_dtype)

    def _check_guidance(self, guidance_scale: float | None) -> float:
        if guidance_scale is None or guidance_scale == 1:
            return 1.0
        if self.config.num_classes is None or not self.config.class_dropout:
            cause = "num_classes is None" if self.config.num_classes is None else "class_dropout is 0"
            raise ValueError(
                f"guidance_scale = {guidance_scale} needs a sampler that is fitted with classes and with "
                f"class_dropout above 0, but {cause}"
            )
        check_guidance_scale(guidance_scale)
        return float(guidance_scale)

    # Densities

    def compute_log_density(
        self, latents: Tensor, class_labels: Tensor | int | None = None, guidance_scale: float | None = None
    ) -> Tensor:
        """(num,) log density of latents (num, density_dim), in nats, up to the error of the solver.

        Args:
            latents: (num, density_dim).
            class_labels: (num,) classes, or one for all. By default, this is the density of the mixture of all
                classes, with their shares in the training set.
            guidance_scale: 1, as for [`sample`]: a sampler has the density of its fit only.

        Raises:
            ValueError: for labels that are not classes, or that the sampler was not fitted with; for another
                guidance_scale than 1; or if there are too many dimensions for an exact trace.
        """
        if guidance_scale not in (None, 1):
            raise ValueError(
                f"log_prob has no guidance_scale other than 1, got {guidance_scale}: guided samples leave the density "
                "that was fitted on purpose, so their density says nothing of latents; leave guidance_scale out"
            )
        if class_labels is not None or self.config.num_classes is None:
            shares = None if self.config.num_classes is None else self.class_shares
            labels = choose_class_labels(class_labels, shares, len(latents), None, self.device)
            return self._log_density_given(latents, labels)
        joint = [
            self._log_density_given(latents, latents.new_full((len(latents),), label, dtype=torch.long)) + share.log()
            for label, share in enumerate(self.class_shares)
            if share > 0
        ]
        return torch.stack(joint).logsumexp(0)

    def compute_log_density_of_directions(
        self, latents: Tensor, class_labels: Tensor | int | None = None, guidance_scale: float | None = None
    ) -> Tensor:
        return self.compute_log_density(latents, class_labels, guidance_scale)

    def _log_density_given(self, latents: Tensor, class_labels: Tensor | None) -> Tensor:
        """(num,) log density of latents (num, density_dim) given their classes, if there are classes."""
        config, dim = self.config, self.config.density_dim
        if config.trace == "hutchinson":
            directions = draw_probes(config.num_probes, latents, config.trace_seed)
        elif dim > _MAX_EXACT_DIM:
            raise ValueError(
                f"trace = 'exact' supports up to {_MAX_EXACT_DIM} dimensions, got {dim}: set "
                "sampler.config.trace = 'hutchinson' for an estimate"
            )
        else:
            directions = torch.eye(dim, dtype=latents.dtype, device=latents.device)
        z, log_det = self.standardization(latents)
        num_positions = len(self.network.positions.weight) if isinstance(self.network, VelocityTransformer) else 1
        num_rows = max(1, _MAX_FEATURES // (len(directions) * config.hidden_size * num_positions))
        parts = []
        for start in range(0, len(z), num_rows):
            part = slice(start, start + num_rows)
            classes = None if class_labels is None else class_labels[part]

            def field(times: Tensor, states: Tensor, rows: Tensor | slice, classes: Tensor | None = classes) -> Tensor:
                """Velocities, and the traces in the last column."""
                chosen = None if classes is None else classes[rows]
                values, traces = trace_jacobian(
                    lambda points: self.compute_velocity(times, points, chosen), states[:, :-1], directions
                )
                return torch.cat([values, traces.unsqueeze(1)], 1)

            parts.append(self._solve(field, F.pad(z[part], (0, 1)), 1.0, 0.0))
        noise, integral = torch.cat(parts).split([dim, 1], 1)  # minus the integral of the traces from 0 to 1
        return self.space.noise_log_prob(noise) + integral.squeeze(1) + log_det


register_sampler(FlowMatchingSamplerConfig, FlowMatchingSampler)
