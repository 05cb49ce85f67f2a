"""Runs the steps of a cell: train, fit samplers, measure. A finished step is recorded, and not run again."""

__all__ = ["CellRunner", "extractor_folder"]

import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import set_seed
from transformers.utils import logging

from ..auto import AutoGAE, AutoSampler
from ..core.files import remove_leftovers, temporary_prefix
from ..core.hub_files import CONFIG, WEIGHTS
from ..data.class_labels import read_class_labels
from ..hub.cards.results import record_results
from ..metrics.evaluation import to_results
from ..metrics.evaluation_run import EvaluationRun
from ..metrics.networks.classifier import FeatureClassifier
from ..metrics.networks.classifier_training import train_extractor
from ..metrics.networks.extractors import ClassifierExtractor, load_extractor
from ..models.base import GAEPreTrainedModel
from ..models.quantized import QuantizedModel
from ..pipelines.generation import GenerationPipeline
from ..samplers.base import GAESampler
from ..samplers.code_sampler import CodeSampler
from ..samplers.latent_kinds import get_latent_kind
from ..samplers.learned import LearnedSampler
from ..samplers.prior import PriorSampler
from ..training.arguments import GAETrainingArguments
from ..training.output_folder import CHECKPOINTS, delete_files, delete_temporary_files
from ..training.quiet import hide_diagnostics
from ..training.run_lock import LOCK_FILE
from ..training.trainer import GAETrainer
from .cell_facts import REMEDY
from .claims import claim, holder
from .context import CellContext
from .declaration import Study
from .plan import CellPlan
from .planning import can_compare_features, extractor_digest, find_density_class, training_of_sampler
from .settings import NORMAL, SamplerSettings
from .stacked_trainer import StackedTrainer
from .store import Cell, StepRecord
from .study_data import StudyData
from .tasks import NUM_TILES

logger = logging.get_logger(__name__)

EVALUATED = ("validation", "test")
RESULTS = "results.json"


class CellRunner:
    """Runs the steps of cells of one study, in this process.

    Args:
        study: the declaration.
        data: its data sets by name.
        folder: the folder of all cells and extractors.
        progress: whether to show the progress bars of trainings.

    Attributes:
        step: the step that runs, or ran last.
    """

    step = "train"

    def __init__(self, study: Study, data: dict[str, StudyData], folder: Path, progress: bool = False):
        self.study, self.data, self.folder, self.progress = study, data, folder, progress
        self._evaluations: dict[str, dict[str, EvaluationRun]] = {}

    def open_cell(self, plan: CellPlan) -> Cell:
        """The folder of a claimed cell, without what a killed worker left in it.

        A folder that was changed by hand, or is damaged, is set aside.
        """
        cell = Cell(self.folder / "cells" / plan.id)
        changed = cell.problem or cell.find_changed_file(thorough=True)
        if changed:
            target = cell.set_aside()
            logger.warning(f"{plan.id} was changed ({changed}): it is kept as '{target.name}' and run again")
        cell.settings = plan.settings
        delete_temporary_files(cell.folder)
        (cell.folder / LOCK_FILE).unlink(missing_ok=True)  # the claim on the cell keeps other trainings out
        if cell.is_finished("train", plan.steps["train"]):
            delete_files(cell.folder, CHECKPOINTS)
        return cell

    # Training

    def train(self, plan: CellPlan, cell: Cell):
        """Train the model of a cell, from its newest checkpoint if a run was interrupted, and save it."""
        self.step = "train"
        trainer = self.make_trainer(plan, cell.folder)
        with hide_diagnostics():
            trainer.train(resume_from_checkpoint="auto")
        self.save_trained(plan, cell, trainer.plain_model)

    def train_together(self, plans: Sequence[CellPlan], cells: Mapping[str, Cell], folder: Path) -> list[CellPlan]:
        """Train the models of several cells as one batch of models, and save each.

        Args:
            plans: of all cells of the batch. After an interruption they must be the same, in the same order.
            cells: by id, those cells that are to be saved.
            folder: of the checkpoint of the batch.

        Returns:
            The cells to save whose model diverged, to be trained alone.
        """
        self.step = "train"
        data, models = self.data[plans[0].dataset], []
        for plan in plans:
            set_seed(plan.seed)
            models.append(self.build_model(plan))
        arguments = self.make_arguments(plans[0], folder)
        trainer = StackedTrainer(models, arguments, data.splits["train"], data.splits["validation"], self.progress)
        delete_temporary_files(folder)
        (folder / LOCK_FILE).unlink(missing_ok=True)  # the claim on the group keeps other trainings out
        with hide_diagnostics():
            reasons = trainer.train(resume=True)
        alone = []
        for plan, model, reason in zip(plans, models, reasons, strict=True):
            if plan.id not in cells:
                continue
            if reason is None:
                self.save_trained(plan, cells[plan.id], model)
            else:
                alone.append(plan)
        return alone

    def make_trainer(self, plan: CellPlan, folder: Path) -> GAETrainer:
        """The trainer of a cell, with a new model."""
        data = self.data[plan.dataset]
        set_seed(plan.seed)
        return GAETrainer(
            self.build_model(plan),
            self.make_arguments(plan, folder),
            train_dataset=data.splits["train"],
            eval_dataset=data.splits["validation"],
        )

    def build_model(self, plan: CellPlan) -> GAEPreTrainedModel:
        """A new model of a cell, with weights from the global random state."""
        return AutoGAE.from_config(AutoGAE.config_class(plan.settings["model"])(**plan.settings["config"]))

    def make_arguments(self, plan: CellPlan, folder: Path) -> GAETrainingArguments:
        """The training arguments of a cell."""
        given = {"report_to": "none", "disable_tqdm": not self.progress, **plan.settings["training"]}
        return GAETrainingArguments(str(folder), seed=plan.seed, overwrite_output_dir=True, **given)

    def save_trained(self, plan: CellPlan, cell: Cell, model: Any):
        """Save a trained model with its processor and card, and record that it is trained."""
        facts = dict(model.facts)
        pipe = GenerationPipeline(model)
        pipe.processor.save_pretrained(cell.folder)
        model.examples = None  # cards of cells have the pictures of the tasks
        model.save_pretrained(cell.folder)
        record = StepRecord(
            plan.steps["train"],
            seconds=facts["seconds"],
            numbers={"training/seconds": facts["seconds"]},
            facts={
                "num_parameters": model.num_parameters(),
                "steps": facts["steps"],
                "best_step": facts["best_step"],
                "device": facts["environment"]["device"],
                "divergences": len(facts["divergences"]),
                "warnings": sorted(facts["warnings"]),
                "trained_together": facts.get("trained_together", 1),
            },
        )
        cell.finish("train", record, ("config.json", "model.safetensors", "preprocessor_config.json"))
        delete_files(cell.folder, CHECKPOINTS)

    # Samplers and tasks

    def run_steps(self, plan: CellPlan, cell: Cell, guard: Callable[[], AbstractContextManager[Any]] = nullcontext):
        """Run the steps of a trained cell, as `open_cell` returned it, that are not finished.

        Args:
            plan, cell: of the cell.
            guard: makes a context for each step, which may record an error instead of raising it. The other steps
                then run, except those that need a sampler that failed.
        """
        waiting = [step for step, digest in plan.steps.items() if not cell.is_finished(step, digest)]
        if not waiting:
            return
        self.step = waiting[0]
        context = self.make_context(plan, cell)
        cell.forget_files(RESULTS)
        for step in waiting:
            kind, _, name = step.partition("/")
            fitted = f"sampler/{name}"
            if kind != "sampler" and fitted in plan.steps and not cell.is_finished(fitted, plan.steps[fitted]):
                continue  # the sampler failed
            self.step = step
            with guard():
                self._run_step(plan, cell, step, context, is_last=step == waiting[-1])
        if cell.error is not None:
            self._write_results(plan, cell, [*cell.steps.values()], context.model)

    def _run_step(self, plan: CellPlan, cell: Cell, step: str, context: CellContext, is_last: bool):
        """Run a step, and record it. The last writes the results of all, before cell.json says that all are done."""
        kind, _, name = step.partition("/")
        start = time.perf_counter()
        torch.manual_seed(plan.seed)  # each step has the same random numbers, whichever ran before
        try:
            if kind == "sampler":
                cell.forget_files(f"samplers/{name}")
                record = self._fit_sampler(self.study.samplers[name], context, plan.steps[step])
            else:
                record = self._measure(cell, step, context, plan.steps[step])
        except NotImplementedError as error:  # a task that has no meaning for the method
            record = StepRecord(plan.steps[step], "skipped", reason=str(error))
        folder = cell.folder / "samplers" / name
        written = sorted(folder.iterdir()) if kind == "sampler" and record.state == "done" else []
        files = [f"samplers/{name}/{file.name}" for file in written]
        record = replace(record, seconds=round(time.perf_counter() - start, 3))
        if is_last and cell.error is None:
            self._write_results(plan, cell, [*cell.steps.values(), record], context.model)
            files.append(RESULTS)
        cell.finish(step, record, files)

    def make_context(self, plan: CellPlan, cell: Cell) -> CellContext:
        """The trained model of a cell, with its data."""
        model = AutoGAE.from_pretrained(cell.folder).eval()
        cast(nn.Module, model).to("cuda" if torch.cuda.is_available() else "cpu")
        data = self.data[plan.dataset]
        evaluations = self._evaluations_of(plan.dataset, model)
        return CellContext(
            model, data, evaluations, cell.folder, plan.seed, has_extractor=can_compare_features(self.study, data)
        )

    def _fit_sampler(self, settings: SamplerSettings, context: CellContext, digest: str) -> StepRecord:
        """Fit a sampler to samples of the posteriors of the training examples, and save it beside the model."""
        sampler = fit_sampler(settings, context)
        folder = context.folder / "samplers" / settings.name
        sampler.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)  # the repository has one card
        return StepRecord(digest)

    def _measure(self, cell: Cell, step: str, context: CellContext, digest: str) -> StepRecord:
        """Measure a task, of one sampler if it needs one."""
        kind, _, name = step.partition("/")
        task, sampler = self.study.tasks[kind], None
        if name:
            fitted = cell.steps[f"sampler/{name}"]
            if fitted.state == "skipped":
                return StepRecord(digest, "skipped", reason=fitted.reason)
            sampler = AutoSampler.from_pretrained(context.folder / "samplers" / name)
            cast(nn.Module, sampler).to(context.model.device)
            self._draw_samples(context, sampler, name)
        found = task.measure(context, sampler)
        results = to_results({f"{step}/{number}": value for number, value in found.items()})
        return StepRecord(digest, numbers=results["metrics"], passports=results["passports"])

    def _draw_samples(self, context: CellContext, sampler: GAESampler, name: str):
        generator = torch.Generator().manual_seed(context.seed)
        images = context.model.generate(NUM_TILES, sampler=sampler, generator=generator).float().cpu()
        context.save_tiles(f"samples-{name}", images, NUM_TILES)

    def _write_results(self, plan: CellPlan, cell: Cell, steps: list[StepRecord], model: Any):
        """Write results.json and the card, from the numbers of steps on test."""
        numbers = {k: v for step in steps for k, v in step.numbers.items() if not k.endswith("/validation")}
        passports = {k: v for step in steps for k, v in step.passports.items() if k in numbers}
        results = {"dataset": self.study.data[plan.dataset].dataset, "split": "test"}
        results |= {"metrics": numbers, "passports": passports}
        record_results(model, cell.folder, results, show=False)

    # What cells share

    def _evaluations_of(self, dataset: str, model: GAEPreTrainedModel) -> dict[str, EvaluationRun]:
        """An evaluation of each split, with the extractor of the data set; its data are shared by all cells."""
        if dataset not in self._evaluations:
            data = self.data[dataset]
            extractor: Any = "inception"
            if extractor_digest(self.study, data) is not None:
                extractor = load_extractor(self.find_extractor(dataset))
                if self.study.extractor == "trained":
                    extractor.name = f"classifier trained on {dataset}"  # not its path, in passports
                    if isinstance(extractor, ClassifierExtractor):
                        extractor.remedy = REMEDY
            self._evaluations[dataset] = {
                split: EvaluationRun(model, data.splits[split], extractor=extractor, keep_features=("data", "samples"))
                for split in EVALUATED
            }
        return self._evaluations[dataset]

    def waits_for_extractor(self, dataset: str) -> bool:
        """Whether another worker is training the extractor of a data set."""
        if dataset in self._evaluations or self.study.extractor != "trained":
            return False
        folder = extractor_folder(self.folder, self.study, self.data[dataset])
        return not _has_extractor(folder) and holder(self._extractor_lock(folder)) is not None

    def _extractor_lock(self, folder: Path) -> Path:
        return self.folder / "claims" / f"extractor-{folder.name}.lock"

    def find_extractor(self, dataset: str) -> str:
        """Name or folder of the extractor of a data set, which is trained if the study wants that and nobody has."""
        if self.study.extractor != "trained":
            return self.study.extractor
        data = self.data[dataset]
        folder = extractor_folder(self.folder, self.study, data)
        while not _has_extractor(folder):
            with claim(self._extractor_lock(folder)) or _wait() as held:
                if held and not _has_extractor(folder):
                    network = train_extractor(
                        data.splits["train"],
                        data.splits["validation"],
                        **{"seed": 0, "progress": self.progress, "remedy": REMEDY, **self.study.extractor_training},
                    )
                    _save_at_once(network, folder)
        return str(folder)


def extractor_folder(folder: Path, study: Study, data: StudyData) -> Path:
    """Where the extractor that is trained on a data set is, in the folder of a study."""
    return folder / "extractors" / f"classifier-{str(extractor_digest(study, data))[:12]}"


def _has_extractor(folder: Path) -> bool:
    return (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()


def _save_at_once(network: FeatureClassifier, folder: Path):
    """Save an extractor into a folder that appears with all its files."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder.parent)
    temporary = folder.parent / f"{temporary_prefix()}{secrets.token_hex(4)}"
    try:
        network.save_pretrained(temporary / folder.name)  # the card's title is the folder's name
        shutil.rmtree(folder, ignore_errors=True)  # one whose files somebody has deleted
        (temporary / folder.name).rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _wait() -> Any:
    """A context that waits a second for another worker."""
    time.sleep(1.0)
    return nullcontext(False)


def fit_sampler(settings: SamplerSettings, context: CellContext) -> GAESampler:
    """A sampler of the study, fitted to samples of the posteriors of the training examples, or to their codes.

    Raises:
        NotImplementedError: if the sampler cannot model the latents of the method.
    """
    if settings.sampler == NORMAL:
        return PriorSampler().fit(torch.zeros(2, *context.model.latent_shape, device=context.model.device))
    sampler = AutoSampler.from_config(AutoSampler.config_class(settings.sampler)(**settings.fields))
    sampler_class = find_density_class(settings)
    reason = sampler_class.explain_incompatibility(context.model)
    if reason is not None:
        raise NotImplementedError(f"{type(sampler).__name__} cannot model these latents: {reason}")
    if isinstance(sampler, PriorSampler):
        return sampler.fit_to(context.model)
    sampler.config.unit_norm = get_latent_kind(context.model) == "sphere"
    inputs = _read_inputs(sampler, context, "train")
    if issubclass(sampler_class, LearnedSampler):
        validation = _read_inputs(sampler, context, "validation")
        inputs |= {f"validation_{name}": rows for name, rows in validation.items()}
    if isinstance(sampler, CodeSampler):
        inputs["codebooks"] = cast(QuantizedModel, context.model).code_vectors.detach()
    return sampler.fit(**cast(Any, inputs), progress=False, **training_of_sampler(settings))


def _read_inputs(sampler: GAESampler, context: CellContext, split: str) -> dict[str, Tensor]:
    """What a sampler is fitted to: latents or codes of a split, and class_labels for a sampler with classes."""
    if isinstance(sampler, CodeSampler):
        inputs = {"codes": context.codes(split)}
    else:
        inputs = {"latents": context.posterior_samples(split)}
    if sampler.num_classes is not None:
        inputs["class_labels"] = read_class_labels(context.data.splits[split], sampler.num_classes)
    return inputs
