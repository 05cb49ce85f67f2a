"""The metrics of a model: how each one computes its numbers from an evaluation."""

__all__ = ["METRICS", "Metric"]

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from ..data.batches import move
from ..models.base import inference
from .evaluation_run import BATCH_SIZE, EvaluationRun, ImageSet
from .functional.reconstruction import squared_error
from .likelihood_metrics import measure_bits_per_dimension, measure_log_likelihood
from .measures import MSE, Interpolation, Rows
from .results import Measurement

Numbers = dict[str, Measurement]


@dataclass(frozen=True)
class Metric:
    """An entry of `METRICS`.

    Args:
        description: one sentence, for tables.
        compute: function from an evaluation to named numbers.
        keep_features: image sets whose features it needs all at once, not as a stream.
    """

    description: str
    compute: Callable[[EvaluationRun], Numbers]
    keep_features: tuple[ImageSet, ...] = ()


# Reconstruction


def _measure_mse(run: EvaluationRun) -> Numbers:
    measure = cast(MSE, run.new_measure("mse"))
    for output, data in run.iterate_pairs():  # not converted to images: vectors and any values are valid
        measure.fingerprint.add(data.float())
        measure.add_values(squared_error(output, data))
    return measure.compute()


def _measure_pairs(run: EvaluationRun, name: str) -> Numbers:
    measure = run.new_measure(name, **({"network": run.lpips} if name == "lpips" else {}))
    for output, images in run.iterate_pairs():
        measure.add(output.clamp(0, 1), images)
    return measure.compute()


# Generation


def _measure_fid(run: EvaluationRun, image_set: ImageSet = "samples", prefix: str = "") -> Numbers:
    measure = run.new_measure("fid", feature_extractor=run.extractor)
    references = measure.sides["references"]
    if isinstance(references, Rows):  # `extrapolate` needs all features
        run.add_features(references, "data")
    else:
        references.merge(run.load_data_moments())
    measure.fingerprint.merge(run.fingerprint)
    run.add_features(measure.sides["predictions"], image_set)
    return {f"{prefix}{name}": value for name, value in measure.compute().items()}


def _measure_features(run: EvaluationRun, name: str) -> Numbers:
    measure = run.new_measure(name, feature_extractor=run.extractor)
    run.add_features(measure.sides["predictions"], "samples")
    if measure.references_help:
        run.add_features(measure.sides["references"], "data")
        measure.fingerprint.merge(run.fingerprint)
    return measure.compute()


def _measure_class_accuracy(run: EvaluationRun) -> Numbers:
    measure = run.new_measure("class_accuracy", feature_extractor=run.extractor)
    for images, labels in run.iterate_class_samples(run.num_classes("class_accuracy")):
        measure.add(images, labels)
    return measure.compute()


def _measure_fid_per_class(run: EvaluationRun) -> Numbers:
    num_classes, labels = run.num_classes("fid_per_class"), getattr(run.dataset, "labels", None)
    if labels is None:
        raise ValueError("the metric 'fid_per_class' needs the classes of the data, but the data set has no labels")
    measures = [run.new_measure("fid", feature_extractor=run.extractor) for _ in range(num_classes)]
    features = run.all_features("data")
    drawn = [(run.extractor(images).cpu(), classes) for images, classes in run.iterate_class_samples(num_classes)]
    for label, measure in enumerate(measures):
        if (labels == label).sum() < 2 or sum(int((classes == label).sum()) for _, classes in drawn) < 2:
            raise ValueError(
                f"fid_per_class needs 2 or more images and samples of each class, but class {label} has less"
            )
        measure.sides["references"].add(features[labels == label])
        for rows, classes in drawn:
            measure.sides["predictions"].add(rows[classes == label])
    found = [measure.compute()["fid"] for measure in measures]
    passport = replace(
        found[0].passport,
        metric="fid_per_class",
        num_samples=run.num_samples,
        num_references=len(features),
        references_fingerprint=run.fingerprint.hex(),
        details={"fid_of_classes": {str(label): float(value) for label, value in enumerate(found)}},
    )
    return {"fid_per_class": Measurement(sum(map(float, found)) / num_classes, passport)}


def _measure_energy(run: EvaluationRun) -> Numbers:
    if run.num_samples < 2 or len(run.dataset) < 4:
        raise ValueError(
            "energy compares 2 or more samples with 2 halves of 2 or more images each: got num_samples "
            f"{run.num_samples} and {len(run.dataset)} images"
        )
    references, others = run.restore(_draw_examples(run, 2 * run.num_samples)["pixel_values"]).chunk(2)
    samples = torch.cat(list(run.iterate_samples()))
    found = {}
    for name, points in {"energy_distance": samples, "energy_distance_of_data": others}.items():
        measure = run.new_measure("energy")
        measure.add(points, references)
        found[name] = measure.compute()["energy_distance"]
    return found


def _draw_examples(run: EvaluationRun, num: int) -> dict[str, Tensor]:
    """Random examples of the data set, as the model sees them, without replacement and in random order."""
    chosen = torch.randperm(len(run.dataset), generator=run.new_generator())[:num].tolist()
    return run.dataset.read_examples(chosen)


# Latents


def _measure_latent_usage(run: EvaluationRun) -> Numbers:
    measure = run.new_measure("latent_usage")
    measure.add(run.embeddings)
    encode = inference(type(run.model).encode)
    for batch in run.iterate_examples():
        batch = move(batch, run.model.device)
        model = run.model.given(batch["class_labels"]) if "class_labels" in batch else run.model
        posterior: Any = encode(model, batch["pixel_values"])
        if "kl_per_dimension" not in posterior.diagnostics() or not hasattr(posterior, "kl_per_dimension"):
            break  # the prior is not N(0, I), or there is none
        measure.add(references=posterior.kl_per_dimension().flatten(1).cpu())
    return measure.compute()


# Classification and clustering


def _measure_probe(run: EvaluationRun) -> Numbers:
    measure, train = run.new_measure("probe"), {}
    if run.train_dataset is not None:
        embeddings, labels = run.labelled_embeddings("probe", run.train_dataset)
        train = {"train_latents": embeddings, "train_labels": labels}
    measure.settings = {"trained_on": "the training data" if train else "one half of the data"}
    measure.add(*run.labelled_embeddings("probe"))
    return measure.compute(**train)


def _measure_clustering(run: EvaluationRun) -> Numbers:
    measure = run.new_measure("clustering")
    measure.add(*run.labelled_embeddings("clustering"))
    found = measure.compute()
    passport = found["clustering_accuracy"].passport
    # the number is the spread itself
    other = replace(passport, metric="clustering_accuracy_std", refit_std=None, details={})
    return found | {"clustering_accuracy_std": Measurement(cast(float, passport.refit_std), other)}


# Disentanglement and interpolation


def _measure_disentanglement(run: EvaluationRun, name: str) -> Numbers:
    factors, names = run.read_factors(name)
    measure = run.new_measure(name)
    measure.settings = {"factors": ", ".join(names)}
    measure.add(run.embeddings, factors)
    return measure.compute()


def _measure_interpolation(run: EvaluationRun) -> Numbers:
    options = dict(run.options.get("interpolation", {}))
    num_steps, num_paths = options.pop("num_steps", 10), min(options.pop("num_paths", 100), len(run.dataset) // 2)
    if options or num_paths < 1:
        raise ValueError(
            "interpolation needs 2 or more images, num_paths of 1 or more, and no options besides num_steps and "
            f"num_paths; got {len(run.dataset)} images, {num_paths} paths and {', '.join(options) or 'no others'}"
        )
    measure = Interpolation()
    measure.settings, measure.seed = {"num_steps": num_steps}, run.seed
    examples = _draw_examples(run, 2 * num_paths)
    for rows in torch.arange(num_paths).split(BATCH_SIZE // 10):
        start, end = ({name: tensor[part] for name, tensor in examples.items()} for part in (rows, rows + num_paths))
        ends = torch.stack([start["pixel_values"], end["pixel_values"]], 1)
        start, end = move(start, run.model.device), move(end, run.model.device)
        labels = start.get("class_labels"), end.get("class_labels")
        paths = run.model.interpolate(start["pixel_values"], end["pixel_values"], num_steps, *labels)
        measure.add(paths.float().cpu(), ends)
    return measure.compute()


METRICS: dict[str, Metric] = {
    "mse": Metric(
        "Mean squared error of the reconstructions per pixel, and 1000 times that, as in the paper.", _measure_mse
    ),
    "psnr": Metric(
        "Peak signal-to-noise ratio of the reconstructions, in decibels.",
        partial(_measure_pairs, name="psnr"),
    ),
    "ssim": Metric("Structural similarity of the reconstructions.", partial(_measure_pairs, name="ssim")),
    "ms_ssim": Metric(
        "Multiscale structural similarity of the reconstructions.", partial(_measure_pairs, name="ms_ssim")
    ),
    "lpips": Metric(
        "Learned perceptual distance of the reconstructions; downloads its weights.",
        partial(_measure_pairs, name="lpips"),
    ),
    "reconstruction_fid": Metric(
        "FID between reconstructions and data.",
        partial(_measure_fid, image_set="reconstructions", prefix="reconstruction_"),
    ),
    "fid": Metric(
        "Frechet Inception distance between samples and data, with Inception or another extractor.", _measure_fid
    ),
    "kid": Metric(
        "Kernel Inception distance between samples and data, unbiased for any number of samples.",
        partial(_measure_features, name="kid"),
        keep_features=("data", "samples"),
    ),
    "inception_score": Metric(
        "Inception Score of samples.",
        partial(_measure_features, name="inception_score"),
        keep_features=("samples",),
    ),
    "class_accuracy": Metric(
        "Share of samples that a classifier, the extractor, recognises as their class.", _measure_class_accuracy
    ),
    "fid_per_class": Metric(
        "Mean over the classes of the FID between samples and data of one class.",
        _measure_fid_per_class,
        keep_features=("data",),
    ),
    "prdc": Metric(
        "Precision, recall, density and coverage of samples.",
        partial(_measure_features, name="prdc"),
        keep_features=("data", "samples"),
    ),
    "energy": Metric(
        "Energy distance in pixels between samples and data, and between two random parts of the data as the floor.",
        _measure_energy,
    ),
    "log_likelihood": Metric(
        "Log-likelihood by importance sampling, in nats, with its standard error.",
        measure_log_likelihood,
    ),
    "bits_per_dimension": Metric(
        "Bits per dimension by importance sampling: of binary pixels, or of 8-bit pixels with uniform dequantisation.",
        measure_bits_per_dimension,
    ),
    "latent_usage": Metric(
        "Active units, and the KL divergence of the posteriors from N(0, I), in total and per dimension.",
        _measure_latent_usage,
    ),
    "probe": Metric(
        "Accuracy of the paper's linear classifier, a logistic regression on the embeddings.", _measure_probe
    ),
    "clustering": Metric(
        "Agreement of k-means on the embeddings with the classes: the paper's accuracy, Hungarian accuracy, NMI, ARI.",
        _measure_clustering,
    ),
    "mig": Metric(
        "Mutual information gap of the embeddings; needs factors of variation.",
        partial(_measure_disentanglement, name="mig"),
    ),
    "dci": Metric(
        "Disentanglement, completeness and informativeness of the embeddings; needs factors of variation.",
        partial(_measure_disentanglement, name="dci"),
    ),
    "sap": Metric(
        "Separated attribute predictability of the embeddings; needs factors of variation.",
        partial(_measure_disentanglement, name="sap"),
    ),
    "factor_vae_score": Metric(
        "The FactorVAE score of the embeddings; needs factors of variation.",
        partial(_measure_disentanglement, name="factor_vae_score"),
    ),
    "beta_vae_score": Metric(
        "The beta-VAE score of the embeddings; needs factors of variation.",
        partial(_measure_disentanglement, name="beta_vae_score"),
    ),
    "interpolation": Metric(
        "Fidelity of the ends, evenness and straightness of paths between images of the data.",
        _measure_interpolation,
    ),
}
"""Name to metric, in the order of the documentation."""
