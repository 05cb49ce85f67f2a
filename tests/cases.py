"""One row per model, likelihood, sampler and metric. The contract tests run over all rows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import distributions

from gae_hub import (
    AAEModel,
    AEModel,
    BetaTCVAEModel,
    BetaVAEModel,
    CIWAEModel,
    DisentangledBetaVAEModel,
    EmpiricalSampler,
    FactorVAEModel,
    FlowMatchingSampler,
    FlowPriorVAEModel,
    GaussianMixtureSampler,
    HRQVAEModel,
    HVAEModel,
    IAFSampler,
    InfoVAEModel,
    InMemoryDataset,
    IWAEModel,
    KernelDensitySampler,
    KLGANModel,
    MAFSampler,
    MIWAEModel,
    MSSSIMVAEModel,
    NeuralSplineSampler,
    PerClassSampler,
    PIWAEModel,
    PixelCNNSampler,
    PoincareVAEModel,
    PriorSampler,
    RAEGPModel,
    RAEL2Model,
    RepresentationAEModel,
    RHVAEManifoldSampler,
    RHVAEModel,
    SVAEModel,
    TransformerSampler,
    TwoStageVAESampler,
    VAEConfig,
    VAEGANModel,
    VAEIAFModel,
    VAELinNFModel,
    VAEModel,
    VAMPModel,
    VQGANModel,
    VQVAEModel,
    WAEGANModel,
    WAEMMDModel,
)

SHAPE = (1, 8, 8)
NETWORKS = {"encoder_config": {"hidden_sizes": [16]}, "decoder_config": {"hidden_sizes": [16]}}


@dataclass(frozen=True)
class ModelCase:
    """A method with tiny settings, and how it differs from other methods."""

    model_class: type
    fields: dict[str, Any] = field(default_factory=dict)
    has_prior: bool = True
    has_likelihood: bool = True
    terms: tuple[str, ...] = ("reconstruction", "kl")
    reduces_to: Callable[[], Any] | None = None  # builds a model that equals this method with the fields `reduced_by`
    reduced_by: dict[str, Any] = field(default_factory=dict)
    fullgraph: bool = True  # whether the loss compiles to one graph
    images_only: bool = False
    resting: tuple[str, ...] = ()  # parameters whose first gradients are 0
    frozen: tuple[str, ...] = ()  # networks that are not trained, and stay in evaluation mode
    gaussian_prior: bool = True  # p(z) = N(0, I), so log p(x) is known for a linear decoder

    @property
    def id(self) -> str:
        return self.model_class.config_class.model_type.removeprefix("gae_")

    def is_trained(self, name: str) -> bool:
        """Whether a parameter or module of this name is trained."""
        return name.split(".")[0] not in self.frozen

    def build(self, **fields):
        """A model with seeded weights."""
        torch.manual_seed(0)
        values = {"input_shape": SHAPE, "latent_dim": 3, **NETWORKS, **self.fields, **fields}
        return self.model_class(self.model_class.config_class(**values))


AE = ModelCase(AEModel, has_prior=False, has_likelihood=False, terms=("reconstruction",))
VAE = ModelCase(VAEModel)
IWAE = ModelCase(IWAEModel, {"num_samples": 4}, terms=("bound",))
DRAWS = {"num_samples": 4, "num_estimates": 2}
PENALTIES = {"embedding_weight": 0.5, "decoder_penalty_weight": 0.5}
RAE = {
    "has_prior": False,
    "has_likelihood": False,
    "reduces_to": AE.build,
    "reduced_by": {"embedding_weight": 0.0, "decoder_penalty_weight": 0.0},
}

DYNAMICS = {"reduces_to": partial(IWAE.build, num_samples=1), "reduced_by": {"num_leapfrog_steps": 0}}
GAN = {"discriminator_hidden_sizes": [8, 8]}
AAE = ModelCase(AAEModel, GAN, terms=("reconstruction", "adversarial", "discriminator"))
IMAGE_GAN = {"perceptual_weight": 0.0, "discriminator_channels": [4]}
L1 = {"likelihood": "laplace", "observation_std": 0.5**0.5}  # the default of the GANs of images
VQVAE = ModelCase(
    VQVAEModel,
    {"num_embeddings": 8},
    has_likelihood=False,
    terms=("reconstruction", "commitment"),
    fullgraph=False,  # training steps change the codes; test_vq_vae.py compiles it
)

MODELS = [
    AE,
    VAE,
    ModelCase(BetaVAEModel, {"beta": 2.0}, reduces_to=VAE.build, reduced_by={"beta": 1.0}),
    ModelCase(
        DisentangledBetaVAEModel,
        terms=("reconstruction", "capacity_distance"),
        reduces_to=VAE.build,
        reduced_by={"beta": 1.0, "capacity": 0.0},
    ),
    ModelCase(
        BetaTCVAEModel, terms=("reconstruction", "mutual_information", "total_correlation", "dimension_wise_kl")
    ),
    ModelCase(
        InfoVAEModel, terms=("reconstruction", "kl", "mmd"), reduces_to=VAE.build, reduced_by={"mmd_weight": 0.0}
    ),
    IWAE,
    ModelCase(MIWAEModel, DRAWS, terms=("bound",), reduces_to=IWAE.build, reduced_by={"num_estimates": 1}),
    ModelCase(
        CIWAEModel,
        {"num_samples": 4, "elbo_weight": 0.5},
        terms=("bound",),
        reduces_to=IWAE.build,
        reduced_by={"elbo_weight": 0.0},
    ),
    ModelCase(PIWAEModel, DRAWS, terms=("encoder_bound", "decoder_bound")),
    ModelCase(
        WAEMMDModel,
        has_likelihood=False,
        terms=("reconstruction", "mmd"),
        reduces_to=AE.build,
        reduced_by={"mmd_weight": 0.0},
    ),
    ModelCase(RAEL2Model, PENALTIES, terms=("reconstruction", "embedding", "decoder_norm"), **RAE),
    ModelCase(
        RAEGPModel,
        PENALTIES,
        terms=("reconstruction", "embedding", "gradient_penalty"),
        fullgraph=False,  # its loss contains a gradient
        **RAE,
    ),
    ModelCase(
        RepresentationAEModel,
        {"latent_dim": None, "encoder_config": {"hidden_sizes": [3]}, "normalization": "none"},
        has_prior=False,
        has_likelihood=False,
        terms=("reconstruction",),
        frozen=("encoder",),
    ),
    ModelCase(FactorVAEModel, GAN, terms=("reconstruction", "kl", "total_correlation", "discriminator")),
    AAE,
    ModelCase(
        WAEGANModel,
        GAN,
        has_likelihood=False,
        terms=("reconstruction", "adversarial", "discriminator"),
        reduces_to=partial(AAE.build, posterior="deterministic"),
        reduced_by={"adversarial_weight": 1.0},
    ),
    ModelCase(
        VAEGANModel,
        {"discriminator_channels": [4, 8]},
        has_likelihood=False,
        terms=("kl", "feature", "decoder_feature", "adversarial", "discriminator"),
    ),
    ModelCase(
        KLGANModel,
        {**IMAGE_GAN, "kl_weight": 0.5},
        terms=("reconstruction", "kl", "adversarial", "discriminator"),
        reduces_to=partial(VAE.build, **L1),
        reduced_by={"discriminator_weight": 0.0, "kl_weight": 1.0},
        fullgraph=False,  # its loss contains a gradient
        images_only=True,
        resting=("discriminator.score.bias",),
    ),
    ModelCase(MSSSIMVAEModel, has_likelihood=False, images_only=True),
    ModelCase(HVAEModel, fullgraph=False, **DYNAMICS),  # its loss contains a gradient
    ModelCase(
        RHVAEModel,
        {"num_centroids": 20, "metric_hidden_sizes": [8], "metric_regularization": 0.1},
        fullgraph=False,
        **DYNAMICS,
    ),
    ModelCase(
        VAELinNFModel,
        {"flows": ["planar", "radial"]},
        reduces_to=partial(IWAE.build, num_samples=1),
        reduced_by={"flows": []},
    ),
    ModelCase(
        VAEIAFModel,
        {"hidden_size": 8, "context_size": 4},
        reduces_to=partial(IWAE.build, num_samples=1),
        reduced_by={"num_flows": 0, "context_size": 0},
    ),
    ModelCase(VAMPModel, {"num_components": 5}, gaussian_prior=False),
    ModelCase(
        FlowPriorVAEModel,
        {"hidden_size": 8},
        gaussian_prior=False,
        reduces_to=partial(IWAE.build, num_samples=1),
        reduced_by={"num_flows": 0},
    ),
    ModelCase(SVAEModel, gaussian_prior=False),
    ModelCase(
        PoincareVAEModel,
        gaussian_prior=False,
        reduces_to=partial(IWAE.build, num_samples=1),
        reduced_by={"curvature": 1e-10},
    ),
    VQVAE,
    ModelCase(
        VQGANModel,
        {"num_embeddings": 8, **IMAGE_GAN},
        has_likelihood=False,
        terms=("reconstruction", "commitment", "adversarial", "discriminator"),
        reduces_to=partial(VQVAE.build, **L1),
        reduced_by={"discriminator_weight": 0.0},
        fullgraph=False,
        images_only=True,
        resting=("discriminator.score.bias",),
    ),
    ModelCase(
        HRQVAEModel,
        {"num_embeddings": 6, "num_levels": 3},
        has_likelihood=False,
        terms=("reconstruction", "kl", "norm"),
        fullgraph=False,  # training steps change the codes; test_hrq_vae.py compiles it
    ),
]


@dataclass(frozen=True)
class QuantizerCase:
    """A quantizer of the VQ-VAE with tiny settings, for codes of 8 values."""

    id: str
    fields: dict[str, Any]
    terms: tuple[str, ...] = ("commitment",)

    def build(self, **fields):
        """A VQ-VAE with seeded weights."""
        torch.manual_seed(0)
        values = {"input_shape": SHAPE, "latent_dim": 3, "num_embeddings": 8, **NETWORKS, **self.fields, **fields}
        return VQVAEModel(VQVAEModel.config_class(**values))


QUANTIZERS = [
    QuantizerCase("vq", {}),
    QuantizerCase("vq-groups", {"num_groups": 3}),
    QuantizerCase("fsq", {"quantizer": "fsq", "latent_dim": 2, "fsq_levels": (2, 4)}, ()),
    QuantizerCase("lfq", {"quantizer": "lfq"}, ("commitment", "entropy")),
    QuantizerCase("lfq-groups", {"quantizer": "lfq", "num_groups": 2, "latent_dim": 6}, ("commitment", "entropy")),
    QuantizerCase("bsq", {"quantizer": "bsq"}, ("commitment", "entropy")),
    QuantizerCase("residual_vq", {"quantizer": "residual_vq", "num_levels": 2}),
    QuantizerCase("sim_vq", {"quantizer": "sim_vq"}, ("commitment", "codebook")),
]


@dataclass(frozen=True)
class LikelihoodCase:
    """A likelihood with settings, and the density that it should be."""

    id: str
    fields: dict[str, Any]
    distribution: Callable[[torch.Tensor], Any]  # torch's distribution of a pixel with these logits
    support: tuple[float, float] | None = (-9.0, 10.0)  # where the density is not 0; None for pixels 0 and 1
    config_class: type = VAEConfig

    @property
    def name(self) -> str:
        return self.fields["likelihood"]

    def fits(self, config_class: type) -> bool:
        """Whether a config has the fields of this row."""
        return all(hasattr(config_class, name) for name in self.fields)


LIKELIHOODS = [
    LikelihoodCase(
        "gaussian",
        {"likelihood": "gaussian", "observation_std": 0.5},
        lambda x: distributions.Normal(x.sigmoid(), 0.5),
    ),
    LikelihoodCase(
        "gaussian, optimal",
        {"likelihood": "gaussian", "observation_std": "optimal"},
        lambda x: distributions.Normal(x.sigmoid(), 0.5),
    ),
    LikelihoodCase(
        "laplace",
        {"likelihood": "laplace", "observation_std": 0.5},
        lambda x: distributions.Laplace(x.sigmoid(), 0.5 / 2**0.5),
    ),
    LikelihoodCase("bernoulli", {"likelihood": "bernoulli"}, lambda x: distributions.Bernoulli(logits=x), None),
    LikelihoodCase(
        "continuous_bernoulli",
        {"likelihood": "continuous_bernoulli"},
        lambda x: distributions.ContinuousBernoulli(logits=x, lims=(0.4999, 0.5001)),
        (0.0, 1.0),
    ),
]


@dataclass(frozen=True)
class SamplerCase:
    """A sampler with tiny settings, and how it differs from other samplers."""

    build: Callable[[], Any]
    id: str
    source: ModelCase = VAE  # a method whose latents the sampler can model
    fits_latents: bool = True  # whether `fit` accepts latents; some samplers need a model's metric or codes
    adapts: bool = True  # whether samples follow the latents
    sees_maps: bool = False  # whether maps are modelled as maps, by another network than vectors
    # largest energy distance to two moons after little training, relative to that of a Gaussian
    closeness: float = 0.5
    training: dict[str, Any] = field(default_factory=dict)  # settings for `fit`, if the sampler is trained
    num_classes: int | None = None  # the number of classes, if `fit` needs labels

    def labels(self, num):
        """Options of `fit` for `num` latents: labels, if the sampler has classes."""
        return {} if self.num_classes is None else {"class_labels": torch.arange(num) % self.num_classes}

    def fit(self, latents):
        """A fitted sampler."""
        return self.build().fit(latents, **self.labels(len(latents)), **self.training)

    def brief(self):
        """Settings for `fit`, with one epoch if the sampler is trained."""
        return {**self.training, "num_train_epochs": 1} if self.training else {}

    def fit_briefly(self, latents, sampler=None):
        """A sampler, by default a new one, after a fit with these settings."""
        return (sampler or self.build()).fit(latents, **self.labels(len(latents)), **self.brief())

    def fit_to_source(self, num: int = 60, **training):
        """A sampler that is fitted to its source with tiny settings, and that model."""
        model = self.source.build()
        if self.source is CODES:
            model.train()(images(64))  # initialises the codebook
        if self.source is METRIC:
            model.train()(images(30))
        data = InMemoryDataset(images(num), self.labels(num).get("class_labels"))
        return self.build().fit_to(model.eval(), data, **(training or self.training)), model


QUICK = {"num_train_epochs": 50, "learning_rate": 5e-3, "progress": False}
FOUR_COMPONENTS = {"num_components": 4}
SMALL = {"hidden_size": 32, "num_hidden_layers": 2}
ROWS = {case.id: case for case in MODELS}
CODES, METRIC = ROWS["vq_vae"], ROWS["rhvae"]
METRIC_STEPS = {"num_steps": 5, "num_leapfrog_steps": 5, "num_warmup_steps": 20, "num_warmup_chains": 20}

SAMPLERS = [
    SamplerCase(partial(GaussianMixtureSampler, **FOUR_COMPONENTS), "gaussian_mixture-full"),
    SamplerCase(partial(GaussianMixtureSampler, num_components=8, covariance_type="diag"), "gaussian_mixture-diag"),
    SamplerCase(partial(GaussianMixtureSampler, num_components=8, covariance_type="tied"), "gaussian_mixture-tied"),
    SamplerCase(partial(GaussianMixtureSampler, num_components=[2, 6], solver="torch"), "gaussian_mixture-torch"),
    SamplerCase(partial(MAFSampler, num_flows=5, **SMALL), "maf", training=QUICK, closeness=0.9),
    SamplerCase(
        partial(MAFSampler, batch_norm=True, order="random", **SMALL), "maf-batch_norm", training=QUICK, closeness=0.9
    ),
    SamplerCase(partial(IAFSampler, num_flows=5, **SMALL), "iaf", training=QUICK, closeness=0.9),
    SamplerCase(partial(NeuralSplineSampler, num_bins=4, **SMALL), "neural_spline", training=QUICK),
    SamplerCase(
        partial(FlowMatchingSampler, num_attention_heads=2, **SMALL),
        "flow_matching",
        sees_maps=True,
        training={**QUICK, "num_train_epochs": 100, "per_device_train_batch_size": 50},
    ),
    SamplerCase(partial(TwoStageVAESampler, hidden_sizes=[64, 64]), "two_stage_vae", training=QUICK, closeness=0.9),
    SamplerCase(EmpiricalSampler, "empirical"),
    SamplerCase(KernelDensitySampler, "kernel_density"),
    SamplerCase(
        partial(
            PerClassSampler, num_classes=2, sampler_config={"model_type": "gaussian_mixture", "num_components": 4}
        ),
        "per_class",
        num_classes=2,
    ),
    SamplerCase(PriorSampler, "prior", adapts=False),
    SamplerCase(partial(RHVAEManifoldSampler, **METRIC_STEPS), "rhvae_manifold", source=METRIC, fits_latents=False),
    SamplerCase(
        partial(PixelCNNSampler, hidden_size=8, num_hidden_layers=2),
        "pixel_cnn",
        source=CODES,
        fits_latents=False,
        training={"num_train_epochs": 2, "progress": False},
    ),
    SamplerCase(
        partial(TransformerSampler, hidden_size=8, num_hidden_layers=2, num_attention_heads=2),
        "transformer",
        source=CODES,
        fits_latents=False,
        training={"num_train_epochs": 2, "progress": False},
    ),
]

METRICS = {
    "mse": {"mse", "mse_x1000"},
    "psnr": {"psnr"},
    "ssim": {"ssim"},
    "ms_ssim": {"ms_ssim"},
    "lpips": {"lpips"},
    "reconstruction_fid": {"reconstruction_fid"},
    "fid": {"fid"},
    "kid": {"kid"},
    "inception_score": {"inception_score"},
    "class_accuracy": {"class_accuracy"},
    "fid_per_class": {"fid_per_class"},
    "prdc": {"precision", "recall", "density", "coverage"},
    "energy": {"energy_distance", "energy_distance_of_data"},
    "log_likelihood": {"log_likelihood"},
    "bits_per_dimension": {"bits_per_dimension"},
    "latent_usage": {"active_units", "kl", "kl_per_dimension"},
    "probe": {"probe_accuracy"},
    "clustering": {
        *("clustering_accuracy", "clustering_accuracy_std", "clustering_hungarian"),
        *("clustering_nmi", "clustering_ari"),
    },
    "mig": {"mig"},
    "dci": {"dci_disentanglement", "dci_completeness", "dci_informativeness"},
    "sap": {"sap"},
    "factor_vae_score": {"factor_vae_score"},
    "beta_vae_score": {"beta_vae_score"},
    "interpolation": {"end_point_mse", "path_smoothness", "path_straightness"},
}


@dataclass(frozen=True)
class MeasureCase:
    """A measure with two batches, and calls of it that fail."""

    name: str
    rows: Callable[[int], dict[str, Any]]  # predictions and references by seed, of 20 rows or more
    bad_options: dict[str, Any] = field(default_factory=dict)  # `compute` accepts the names but not the values
    load_options: dict[str, Any] = field(default_factory=dict)


def _features(seed: int) -> dict[str, Any]:
    first, second = torch.randn(2, 40, 3, generator=generator(seed))
    return {"predictions": first, "references": second + 0.5}


def _pairs(seed: int) -> dict[str, Any]:
    return {"predictions": images(20, (1, 16, 16), seed), "references": images(20, (1, 16, 16), seed + 100)}


def _factors(seed: int) -> dict[str, Any]:
    factors = torch.stack([torch.arange(40) % 2, torch.arange(40) % 3], 1)
    return {"predictions": factors + 0.3 * torch.randn(40, 2, generator=generator(seed)), "references": factors}


def _classes(seed: int) -> dict[str, Any]:
    rows = _factors(seed)
    return {**rows, "references": rows["references"][:, 0]}


def _logits(seed: int) -> dict[str, Any]:
    logits = torch.randn(40, 3, generator=generator(seed))
    return {"predictions": logits, "references": torch.arange(40) % 3}


def _paths(seed: int) -> dict[str, Any]:
    paths = images(20, (4, 1, 2, 2), seed)
    return {"predictions": paths, "references": paths[:, [0, -1]] + 0.1}


FEATURES = {"feature_extractor": "features"}
MEASURES = [
    MeasureCase("fid", _features, {"extrapolate": True}, FEATURES),
    MeasureCase("kid", _features, {"num_subsets": 2, "subset_size": 1000}, FEATURES),
    MeasureCase(
        "inception_score", lambda seed: {"predictions": _features(seed)["predictions"]}, {"num_splits": 1000}, FEATURES
    ),
    MeasureCase("class_accuracy", _logits, {}, FEATURES),
    MeasureCase("prdc", _features, {"num_neighbors_density": 1000}, FEATURES),
    *(MeasureCase(name, _pairs) for name in ("mse", "psnr", "ssim", "ms_ssim", "lpips")),
    MeasureCase("log_likelihood", lambda seed: {"predictions": torch.randn(20, generator=generator(seed))}),
    MeasureCase("latent_usage", lambda seed: {side: rows.abs() for side, rows in _features(seed).items()}),
    MeasureCase("clustering", _classes, {"num_fits": 0}, {"num_fits": 3}),
    MeasureCase("probe", _classes, {"l2_weight": 0}),
    MeasureCase("mig", _factors, {"num_bins": 1}),
    MeasureCase("dci", _factors, {"num_trees": 0}, {"num_trees": 2}),
    MeasureCase("sap", _factors),
    MeasureCase("factor_vae_score", _factors, {"batch_size": 1}, {"num_votes": 30}),
    MeasureCase("beta_vae_score", _factors, {"batch_size": 0}, {"num_votes": 30}),
    MeasureCase("interpolation", _paths),
    MeasureCase("energy", _features),
]


def images(num: int = 16, shape=SHAPE, seed: int = 0) -> torch.Tensor:
    """(num, *shape): random pixel_values."""
    return torch.rand(num, *shape, generator=torch.Generator().manual_seed(seed))


def generator(seed: int = 0) -> torch.Generator:
    """A seeded generator."""
    return torch.Generator().manual_seed(seed)
