"""The tasks of a study: how each measures a trained model, and draws its pictures."""

__all__ = [
    "TASKS",
    "ClassificationTask",
    "ClusteringTask",
    "GenerationTask",
    "InterpolationTask",
    "LikelihoodTask",
    "ReconstructionTask",
    "Task",
]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from ..core.argument_checks import check_count, describe, suggest
from ..metrics.functional.clustering import clustering_scores
from ..metrics.functional.probe import LinearProbe
from ..metrics.functional.reconstruction import squared_error
from ..metrics.likelihood_metrics import describe_conditions
from ..metrics.measures import MSE, Interpolation, LogLikelihood
from ..metrics.model_metrics import METRICS
from ..metrics.results import Estimate, Measurement, Passport
from ..samplers.base import GAESampler

if TYPE_CHECKING:
    from .context import CellContext

Numbers = dict[str, Measurement]
"""Name, such as "mse/test", to number."""

NUM_TILES = 10
"""Images in a row of a picture."""

_GENERATION_METRICS = ("fid", "inception_score", "kid", "prdc")


@dataclass(frozen=True)
class Task:
    """Base of the tasks: its fields are what a study file may set."""

    needs_labels: ClassVar[bool] = False
    needs_sampler: ClassVar[bool] = False

    @property
    def uses_extractor(self) -> bool:
        """Whether the task compares features of images."""
        return False

    def measure(self, cell: "CellContext", sampler: GAESampler | None = None) -> Numbers:
        """Measure a trained model.

        Args:
            cell: the model and its data.
            sampler: the fitted sampler, for tasks that need one.

        Returns:
            Numbers by name and split, such as "mse/test".
        """
        raise NotImplementedError


@dataclass(frozen=True)
class ReconstructionTask(Task):
    """Mean squared error per pixel value, and FID of the reconstructions.

    Args:
        fid: whether to measure FID.
    """

    fid: bool = True

    @property
    def uses_extractor(self) -> bool:
        return self.fid

    def measure(self, cell: "CellContext", sampler: GAESampler | None = None) -> Numbers:
        found = {}
        for split in ("validation", "test"):
            found |= {f"{name}/{split}": value for name, value in self._measure_split(cell, split).items()}
        (batch,) = cell.iterate_first("test", NUM_TILES)
        tiles = torch.cat([batch["pixel_values"], cell.model.reconstruct(**batch)])
        cell.save_tiles("reconstructions", tiles, NUM_TILES)
        return found

    def _measure_split(self, cell: "CellContext", split: str) -> Numbers:
        """Both numbers from one pass over a split."""
        run = cell.evaluation(split)
        mse = run.new_measure("mse")
        fid = run.new_measure("fid", feature_extractor=run.extractor) if self._has_fid(cell) else None
        for output, images in run.iterate_pairs():
            if isinstance(mse, MSE):
                mse.fingerprint.add(images.float())
                mse.add_values(squared_error(output, images))
            if fid is not None:
                fid.sides["predictions"].add(run.extractor(output.clamp(0, 1)).cpu())
        found = {"mse": mse.compute()["mse"]}
        if fid is not None:
            fid.sides["references"].merge(run.load_data_moments())
            fid.fingerprint.merge(run.fingerprint)
            found["fid"] = fid.compute()["fid"]
        return found

    def _has_fid(self, cell: "CellContext") -> bool:
        return self.fid and cell.has_extractor


@dataclass(frozen=True)
class GenerationTask(Task):
    """Samples of one sampler: FID on validation, which selects configurations, and all metrics on test.

    Data without an extractor, such as vectors, have the energy distance between samples and data instead.

    Args:
        num_samples: number of generated examples.
        metrics: "fid" and others of fid, inception_score, kid and prdc.
    """

    num_samples: int = 10_000
    metrics: Sequence[str] = ("fid", "inception_score")

    needs_sampler: ClassVar[bool] = True

    def __post_init__(self):
        check_count("num_samples", self.num_samples, 2)
        if not isinstance(self.metrics, (list, tuple)):
            raise ValueError(f"metrics must be a list of names, got {describe(self.metrics)}")
        for name in self.metrics:
            if name not in _GENERATION_METRICS:
                raise ValueError(f"unknown metric '{name}'; {suggest(str(name), _GENERATION_METRICS, 'metrics are')}")
        if "fid" not in self.metrics:
            raise ValueError("metrics must contain 'fid', which selects the configurations")

    @property
    def uses_extractor(self) -> bool:
        return True

    def measure(self, cell: "CellContext", sampler: GAESampler | None = None) -> Numbers:
        validation, test = (cell.evaluation(split, sampler, self.num_samples) for split in ("validation", "test"))
        if not cell.has_extractor:
            name, runs = "energy_distance", {"validation": validation, "test": test}
            return {f"{name}/{split}": METRICS["energy"].compute(run)[name] for split, run in runs.items()}
        found = {"fid/validation": METRICS["fid"].compute(validation)["fid"]}
        test.share_samples(validation)
        for metric in self.metrics:
            found |= {f"{name}/test": value for name, value in METRICS[metric].compute(test).items()}
        return found


@dataclass(frozen=True)
class ClassificationTask(Task):
    """Mean accuracy of linear classifiers on the embeddings, each trained on a bootstrap sample of them.

    The paper trains its classifier 20 times from other initial weights. Here each is fitted until it converges, where
    initial weights have no effect; so that the runs differ, each has its own sample, drawn with replacement.

    Args:
        num_probes: number of classifiers.
        probe_rows: number of embeddings in a sample; by default as many as there are.
    """

    num_probes: int = 20
    probe_rows: int | None = None

    needs_labels: ClassVar[bool] = True

    def __post_init__(self):
        check_count("num_probes", self.num_probes)
        if self.probe_rows is not None:
            check_count("probe_rows", self.probe_rows, 2)

    def measure(self, cell: "CellContext", sampler: GAESampler | None = None) -> Numbers:
        latents, labels = cell.embeddings("train"), cell.labels("train")
        num = min(self.probe_rows or len(latents), len(latents))
        generator = torch.Generator().manual_seed(cell.seed)
        accuracies: dict[str, list[float]] = {"validation": [], "test": []}
        for _ in range(self.num_probes):
            rows = torch.randint(len(latents), (num,), generator=generator)
            probe = LinearProbe(latents[rows], labels[rows])
            for split, values in accuracies.items():
                hits = probe.measure_hits(cell.embeddings(split), cell.labels(split))
                values.append(hits.double().mean().item())
        found = {}
        for split, values in accuracies.items():
            settings = {"num_probes": self.num_probes, "probe_rows": num, "trained_on": "bootstrap samples of train"}
            found |= describe_refits("accuracy", split, values, settings, len(cell.labels(split)), cell.seed)
        return found


@dataclass(frozen=True)
class ClusteringTask(Task):
    """Mean accuracy of k-means on the embeddings, where each cluster predicts its most frequent class.

    As in the paper, it is measured on the training embeddings; on those of validation it selects configurations.

    Args:
        num_fits: number of k-means fits.
    """

    num_fits: int = 100

    needs_labels: ClassVar[bool] = True

    def __post_init__(self):
        check_count("num_fits", self.num_fits)

    def measure(self, cell: "CellContext", sampler: GAESampler | None = None) -> Numbers:
        found = {}
        for split in ("validation", "train"):
            labels = cell.labels(split)
            scores = clustering_scores(cell.embeddings(split), labels, self.num_fits, cell.seed)
            for name, estimate in scores.items():
                passport = Passport(
                    metric=name,
                    settings={"num_fits": self.num_fits},
                    num_samples=len(labels),
                    seed=cell.seed,
                    refit_std=estimate.refit_std,
                )
                short = name.removeprefix("clustering_")
                found[f"{short}/{split}"] = Measurement(estimate.value, passport)
                if short == "accuracy":
                    found[f"accuracy_std/{split}"] = Measurement(estimate.refit_std or 0.0, passport)
        return found


@dataclass(frozen=True)
class InterpolationTask(Task):
    """Paths between pairs of test images of different classes: pictures, and how even and straight the paths are.

    The pairs are the same for all methods.

    Args:
        num_pairs: number of paths.
        num_steps: images of a path, with both ends.
    """

    num_pairs: int = 5
    num_steps: int = 10

    def __post_init__(self):
        check_count("num_pairs", self.num_pairs)
        check_count("num_steps", self.num_steps, 2)

    def measure(self, cell: "CellContext", sampler: GAESampler | None = None) -> Numbers:
        first, last = cell.draw_pairs(self.num_pairs)
        starts, ends = first["pixel_values"], last["pixel_values"]
        labels = first.get("class_labels"), last.get("class_labels")
        paths = cell.model.interpolate(starts, ends, self.num_steps, *labels).float().cpu()
        cell.save_tiles("interpolations", paths.flatten(0, 1), self.num_steps)
        measure = Interpolation()
        measure.settings = {"num_steps": self.num_steps}
        measure.add(paths, torch.stack([starts.cpu(), ends.cpu()], 1))
        return {f"{name.removeprefix('interpolation_')}/test": value for name, value in measure.compute().items()}


@dataclass(frozen=True)
class LikelihoodTask(Task):
    """Log-likelihood of test images by importance sampling, in nats, for methods that define it.

    For a conditional model it is log p(x|y), given the labels of the images.

    Args:
        num_samples: importance samples for each image.
        num_images: number of test images, from the first; all by default.
    """

    num_samples: int = 100
    num_images: int | None = None

    def __post_init__(self):
        check_count("num_samples", self.num_samples)
        if self.num_images is not None:
            check_count("num_images", self.num_images)

    def measure(self, cell: "CellContext", sampler: GAESampler | None = None) -> Numbers:
        generator = torch.Generator().manual_seed(cell.seed)
        values = torch.cat(
            [
                cell.model.log_likelihood(**batch, num_samples=self.num_samples, generator=generator).cpu()
                for batch in cell.iterate_first("test", self.num_images or cell.data.sizes["test"])
            ]
        )
        measure = LogLikelihood(discrete=cell.model.likelihood.is_discrete)
        measure.settings = {"num_samples": self.num_samples, **describe_conditions(cell.model)}
        measure.seed = cell.seed
        measure.add(values)
        return {"log_likelihood/test": measure.compute()["log_likelihood"]}


def describe_refits(
    name: str, split: str, values: Sequence[float], settings: Mapping[str, object], num: int, seed: int
) -> Numbers:
    """Mean and standard deviation of a proportion over several fits on the same data.

    Args:
        name: of the number.
        split: that was measured.
        values: one for each fit.
        settings: of the fits.
        num: rows that were measured.
        seed: of the fits.
    """
    estimate = Estimate.mean_of_refits(torch.tensor(values, dtype=torch.float64))
    passport = Passport(metric=name, settings=dict(settings), num_samples=num, seed=seed, refit_std=estimate.refit_std)
    return {
        f"{name}/{split}": Measurement(estimate.value, passport),
        f"{name}_std/{split}": Measurement(estimate.refit_std or 0.0, passport),
    }


TASKS: dict[str, type[Task]] = {
    "reconstruction": ReconstructionTask,
    "generation": GenerationTask,
    "classification": ClassificationTask,
    "clustering": ClusteringTask,
    "interpolation": InterpolationTask,
    "likelihood": LikelihoodTask,
}
"""Name to class, in the order of the paper."""
