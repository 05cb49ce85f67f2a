"""From a model, a data set and names of metrics to numbers: what `gae-hub evaluate` runs."""

__all__ = ["METRICS", "Evaluation", "evaluate_model", "to_results"]

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from math import prod
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from tqdm.auto import tqdm

from .._version import __version__
from ..data.embeddings import embed_dataset
from ..data.loading import as_image_dataset, iterate_batches
from ..models.base import inference
from ..pipelines.generation import GenerationPipeline
from . import measures
from .factors import factors_of
from .fingerprint import Fingerprint
from .functional.moments import Moments
from .functional.reconstruction import squared_error
from .images import as_uint8
from .networks.extractors import Extractor, load_extractor
from .networks.lpips import LPIPS
from .networks.weights import cache_folder, save_whole
from .passport import Measurement

BATCH = 100  # images that a network is given at a time
WHOLE = {"kid": {"data", "samples"}, "prdc": {"data", "samples"}, "inception_score": {"samples"}}
"""Metrics that take all features of these at once; the others take their moments."""

METRICS: dict[str, Callable[["Evaluation"], dict[str, Measurement]]] = {}
"""Short name to a function of an [`Evaluation`] that gives named numbers."""


class Evaluation:
    """A model and its data, with what several metrics need of them.

    Images stream: they are made anew for each metric that asks, and none are kept, nor are features where their
    moments do. Embeddings, and features that a metric takes as a whole, are computed once.

    Args: as for [`evaluate_model`].
    """

    def __init__(
        self,
        model,
        dataset,
        metrics: Sequence[str] = (),
        sampler=None,
        num_samples: int = 1000,
        seed: int = 0,
        extractor: str | Extractor = "inception",
        weights: str | None = None,
        train_dataset=None,
        lpips: LPIPS | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        factors: Sequence[str] | None = None,
        progress: bool = False,
    ):
        if num_samples < 1:
            raise ValueError(f"num_samples must be 1 or more, got {num_samples}")
        self.model, self.dataset, self.sampler = model, as_image_dataset(dataset), sampler
        self.train_dataset = None if train_dataset is None else as_image_dataset(train_dataset)
        self.num_samples, self.seed, self.progress = num_samples, seed, progress
        self.lpips, self._extractor, self.options = lpips, (extractor, weights), dict(options or {})
        self._factors = factors
        self._features: dict[str, Tensor] = {}
        self._keeps = set().union(*(WHOLE.get(name, ()) for name in metrics))  # whose features are kept anyway

    @property
    def generator(self) -> torch.Generator:
        """A fresh one for each metric, so that its value does not depend on which others are measured."""
        return torch.Generator().manual_seed(self.seed)

    def measure(self, name: str, **kwargs) -> measures.Measure:
        """A measure of the engine, with the options for it."""
        known = measures.MEASURES[name].defaults()
        seed = {"seed": self.seed} if "seed" in known else {}
        measure = measures.MEASURES[name](**kwargs, **{**seed, **self.options.get(name, {})})
        measure.seed = self.seed
        return measure

    # Images

    def data(self) -> Iterator[Tensor]:
        """All images, a batch at a time."""
        return iterate_batches(self.dataset, BATCH)

    def samples(self) -> Iterator[Tensor]:
        """Generated images, a batch at a time, on the CPU: those of `gae-hub generate` with this seed."""
        pipe = GenerationPipeline(self.model, self.sampler)
        for images in pipe.generate_batches(self.num_samples, self.seed, BATCH):
            yield from images.cpu().split(BATCH)

    def pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(reconstructions, images), a batch at a time, on the CPU."""
        for images in tqdm(self.data(), desc="reconstructing", disable=not self.progress, leave=False):
            yield self.model.reconstruct(images.to(self.model.device)).float().cpu(), images

    # Features

    @cached_property
    def extractor(self) -> Extractor:
        return load_extractor(*self._extractor).to(self.model.device)

    def batches(self, which: str) -> Iterator[Tensor]:
        """8-bit images of "data", "samples" or "reconstructions"; what a model gives beyond [0, 1] is cut, as in
        files."""
        if which == "data":
            yield from map(as_uint8, self.data())
        else:
            found = self.samples() if which == "samples" else (output for output, _ in self.pairs())
            yield from (as_uint8(images.clamp(0, 1)) for images in found)

    def stream(self, which: str) -> Iterator[Tensor]:
        """(batch, dim) features of "data", "samples" or "reconstructions", on the CPU."""
        bar = tqdm(self.batches(which), desc=f"features of {which}", disable=not self.progress, leave=False)
        yield from (self.extractor(images).cpu() for images in bar)

    def features(self, which: str) -> Tensor:
        """(num, dim) features, on the CPU: all of them, and kept."""
        if which not in self._features:
            self._features[which] = torch.cat(list(self.stream(which)))
        return self._features[which]

    def feed(self, side: Moments | measures.Rows, which: str):
        """Add features to one side of a measure: as they come, if no metric has to have them as a whole."""
        whole = which in self._keeps or isinstance(side, measures.Rows)
        for rows in [self.features(which)] if whole else self.stream(which):
            side.add(rows)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Of the data's 8-bit images."""
        found = Fingerprint()
        for images in self.batches("data"):
            found.add(images)
        return found

    def moments_of_data(self) -> Moments:
        """Moments of the data's features, kept on disk under the fingerprints of data and extractor."""
        e = self.extractor
        images = self.fingerprint.hex()
        network = hashlib.sha256(f"{e.sha256} {e.resize} gae_hub {__version__}".encode()).hexdigest()
        path = cache_folder("statistics") / f"{images}-{network[:16]}.safetensors"
        if path.is_file():
            return Moments.from_state_dict(load_file(path))
        moments = Moments()
        self.feed(moments, "data")
        save_whole(moments.state_dict(), path)
        return moments

    # Latents

    @cached_property
    def embeddings(self) -> Tensor:
        """(num, latent_dim) posterior means, on the CPU."""
        return embed_dataset(self.model, self.dataset, progress=self.progress).flatten(1).float().cpu()

    def labels(self, metric: str, dataset=None) -> Tensor:
        dataset = self.dataset if dataset is None else dataset
        if getattr(dataset, "labels", None) is None:
            name = getattr(dataset, "name", "the data set")
            raise ValueError(f"'{name}' has no labels, which the metric '{metric}' needs")
        return dataset.labels

    def factors(self, metric: str) -> tuple[Tensor, list[str]]:
        try:
            return factors_of(self.dataset, self._factors)
        except ValueError as error:
            raise ValueError(f"the metric '{metric}' cannot be measured: {error}") from error


def evaluate_model(
    model,
    dataset,
    metrics: Sequence[str] = ("mse",),
    sampler=None,
    num_samples: int = 1000,
    seed: int = 0,
    **kwargs,
) -> dict[str, Measurement]:
    """Named numbers for a model on a data set, each a float with a `passport`.

    Args:
        model: an autoencoder.
        dataset: what [`load_images`] gives, or takes as an object.
        metrics: names in `METRICS`.
        sampler: where samples are measured, the sampler to draw them by; the model's prior without one.
        num_samples: images to generate.
        seed: of everything that is drawn.
        extractor: for FID and its kin, a name that `load_extractor` knows, or an extractor. "inception" by default.
        weights: for "inception", the published file or its URL.
        train_dataset: labelled images to train the probe on; without them it is one half of the data set.
        lpips: an [`LPIPS`] of weights at hand; the published ones are downloaded without it.
        options: of single metrics by name, such as {"fid": {"extrapolate": True}}.
        factors: for disentanglement, the data set's columns that its images were made from, such as ["shape",
            "scale"]; by default its columns of integers and classes, if these are two or more.
        progress: show progress bars.

    Raises:
        ValueError: for a metric that does not exist, or one that needs what the data does not have.
        OSError: if an extractor's weights cannot be had.
    """
    for name in metrics:
        if name not in METRICS:
            raise ValueError(f"no metric is called '{name}'; known are {', '.join(METRICS)}")
    run, results = Evaluation(model, dataset, metrics, sampler, num_samples, seed, **kwargs), {}
    for name in metrics:
        results.update(METRICS[name](run))
    return results


def to_results(numbers: Mapping[str, float]) -> dict[str, dict]:
    """`metrics` and `passports` for results.json: plain floats, and what is known of each."""
    return {
        "metrics": {name: float(value) for name, value in numbers.items()},
        "passports": {
            name: value.passport.to_dict() for name, value in numbers.items() if isinstance(value, Measurement)
        },
    }


def metric(name: str):
    """Put a function into `METRICS`."""

    def register(function):
        METRICS[name] = function
        return function

    return register


def metrics_of(function: Callable[[Evaluation, str], dict[str, Measurement]], **names: str):
    """Put a function that takes the run and a name into `METRICS`, under each of these names with its description."""
    for name, description in names.items():

        def of_name(run: Evaluation, name: str = name) -> dict[str, Measurement]:
            return function(run, name)

        of_name.__doc__ = description
        METRICS[name] = of_name


# Reconstruction


@metric("mse")
def _mse(run: Evaluation):
    """Mean squared error of the reconstructions, per pixel, and times 1000 as in the paper."""
    measure = run.measure("mse")
    for output, images in run.pairs():  # of any shape and range: no image is made of them
        measure.fingerprint.add(images.float())
        for side in measure.sides.values():
            side.add(squared_error(output, images))
    return measure.compute()


def _compare(run: Evaluation, name: str):
    measure = run.measure(name, **({"network": run.lpips} if name == "lpips" else {}))
    for output, images in run.pairs():
        measure.add(output.clamp(0, 1), images)
    return measure.compute()


metrics_of(
    _compare,
    psnr="Peak signal-to-noise ratio of the reconstructions, in decibels.",
    ssim="Structural similarity of the reconstructions.",
    ms_ssim="Multiscale structural similarity of the reconstructions.",
    lpips="Learned perceptual distance of the reconstructions; needs its weights.",
)


@metric("reconstruction_fid")
def _reconstruction_fid(run: Evaluation):
    """FID of the reconstructions to the data."""
    return _fid_of(run, "reconstructions", "reconstruction_")


# Generation


def _fid_of(run: Evaluation, which: str, prefix: str = "") -> dict[str, Measurement]:
    measure = run.measure("fid", feature_extractor=run.extractor)
    measure.sides["references"].merge(run.moments_of_data())
    measure.fingerprint.merge(run.fingerprint)
    run.feed(measure.sides["predictions"], which)
    return {f"{prefix}{name}": value for name, value in measure.compute().items()}


@metric("fid")
def _fid(run: Evaluation):
    """Frechet Inception distance of samples to the data, or by any other extractor."""
    return _fid_of(run, "samples")


def _by_features(run: Evaluation, name: str) -> dict[str, Measurement]:
    measure = run.measure(name, feature_extractor=run.extractor)
    run.feed(measure.sides["predictions"], "samples")
    if measure.references:
        run.feed(measure.sides["references"], "data")
        measure.fingerprint.merge(run.fingerprint)
    return measure.compute()


metrics_of(
    _by_features,
    kid="Kernel Inception distance of samples to the data: unbiased at any number of samples.",
    inception_score="Inception Score of samples.",
    prdc="Precision, recall, density and coverage of samples.",
)


@metric("energy")
def _energy(run: Evaluation):
    """Energy distance from samples to half of the data, in pixels, and that of the other half as its floor."""
    chosen = torch.randperm(len(run.dataset), generator=run.generator)[: 2 * run.num_samples].tolist()
    references, others = torch.cat(list(iterate_batches(torch.utils.data.Subset(run.dataset, chosen)))).chunk(2)
    found = {}
    for name, points in {
        "energy_distance": torch.cat(list(run.samples())),
        "energy_distance_of_data": others,
    }.items():
        measure = run.measure("energy")
        measure.add(points, references)
        found[name] = measure.compute()["energy_distance"]
    return found


# Likelihood


@metric("log_likelihood")
def _log_likelihood(run: Evaluation):
    """Log-likelihood by importance sampling, with its standard error, and bits per dimension."""
    options = dict(run.options.get("log_likelihood", {}))
    num_draws = options.pop("num_draws", 100)
    discrete = run.model.config.likelihood == "bernoulli"
    measure = measures.LogLikelihood(num_dims=prod(run.model.config.input_shape), discrete=discrete, **options)
    measure.settings, measure.seed = {"num_draws": num_draws}, run.seed
    generator = run.generator
    for images in tqdm(run.data(), desc="log-likelihood", disable=not run.progress, leave=False):
        images = images.to(run.model.device)
        measure.add(run.model.log_likelihood(images, num_samples=num_draws, generator=generator).cpu())
        measure.fingerprint.add(images.float())
    return measure.compute()


@metric("latent_usage")
def _latent_usage(run: Evaluation):
    """Active units, and the KL divergence of the posteriors from N(0, I), in all and per dimension."""
    measure = run.measure("latent_usage")
    measure.add(run.embeddings)
    for images in run.data():
        posterior = inference(type(run.model).encode)(run.model, images.to(run.model.device))
        if "kl_per_dimension" not in posterior.diagnostics() or not hasattr(posterior, "kl_per_dimension"):
            break  # another prior than N(0, I), or none
        measure.add(references=posterior.kl_per_dimension().flatten(1).cpu())
    return measure.compute()


# Classification and clustering


@metric("probe")
def _probe(run: Evaluation):
    """Accuracy of the paper's linear classifier on the embeddings, mean over 20 runs."""
    measure, train = run.measure("probe"), {}
    if run.train_dataset is not None:
        embeddings = embed_dataset(run.model, run.train_dataset, progress=run.progress).flatten(1).float().cpu()
        train = {"train_latents": embeddings, "train_labels": run.labels("probe", run.train_dataset)}
    measure.settings = {"trained_on": "the training data" if train else "one half of the data"}
    measure.add(run.embeddings, run.labels("probe"))
    return measure.compute(**train)


@metric("clustering")
def _clustering(run: Evaluation):
    """Agreement of k-means on the embeddings with the classes: the paper's accuracy, Hungarian, NMI, ARI."""
    labels = run.labels("clustering")
    measure = run.measure("clustering")
    measure.add(run.embeddings, labels)
    found = measure.compute()
    accuracy = found["clustering_accuracy"]
    deviation = Measurement(accuracy.passport.details["deviation_of_fits"], accuracy.passport)
    return found | {"clustering_accuracy_std": deviation}


# Disentanglement and interpolation


def _by_factors(run: Evaluation, name: str) -> dict[str, Measurement]:
    factors, columns = run.factors(name)
    measure = run.measure(name)
    measure.settings = {"factors": ", ".join(columns)}
    measure.add(run.embeddings, factors)
    return measure.compute()


metrics_of(
    _by_factors,
    mig="Mutual information gap of the embeddings; needs a data set with factors of variation.",
    dci="Disentanglement, completeness and informativeness of the embeddings; needs factors.",
    sap="Separated attribute predictability of the embeddings; needs factors.",
    factor_vae_score="The FactorVAE score of the embeddings; needs factors.",
    beta_vae_score="The beta-VAE score of the embeddings; needs factors.",
)


@metric("interpolation")
def _interpolation(run: Evaluation):
    """Fidelity of the ends, evenness and straightness of paths between images of the data."""
    options = dict(run.options.get("interpolation", {}))
    num_steps, num_paths = options.pop("num_steps", 10), min(options.pop("num_paths", 100), len(run.dataset) // 2)
    if options or num_paths < 1:
        raise ValueError(
            "interpolation needs 2 or more images, and its options are num_steps and num_paths: "
            f"got {len(run.dataset)} images and {', '.join(options) or 'no other option'}"
        )
    measure = measures.Interpolation()
    measure.settings, measure.seed = {"num_steps": num_steps}, run.seed
    chosen = torch.randperm(len(run.dataset), generator=run.generator)[: 2 * num_paths].tolist()
    images = torch.cat(list(iterate_batches(torch.utils.data.Subset(run.dataset, chosen), BATCH)))
    for start, end in zip(*(side.split(BATCH // 10) for side in images.chunk(2)), strict=True):
        paths = run.model.interpolate(start.to(run.model.device), end.to(run.model.device), num_steps)
        measure.add(paths.float().cpu(), torch.stack([start, end], 1))
    return measure.compute()
