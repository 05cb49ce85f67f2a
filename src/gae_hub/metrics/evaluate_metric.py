"""The measures as metrics of `evaluate`: its interface, without its Arrow files.

Published modules import this module, not the class: `evaluate` uses the first subclass of `Metric` that it finds among
a module's names.
"""

__all__ = ["CombinedMetrics", "GAEMetric"]

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import indent
from typing import Any

import datasets
import evaluate

from ..core.argument_checks import describe
from .citations import cite
from .measures import MEASURES, SIDES


class GAEMetric(evaluate.Metric):
    """Base of the metrics of gae_hub. A subclass sets `measure`, the name of a measure that receives the batches.

    Args:
        *args, **kwargs: arguments of `evaluate.Metric`, and options of the measure, such as
            `feature_extractor="facebook/dinov2-small"`.

    Raises:
        ValueError: for an unknown option, or `num_process` above 1.
    """

    measure = ""

    def __init__(self, *args: Any, **kwargs: Any):
        own = inspect.signature(evaluate.Metric.__init__).parameters
        options = {name: kwargs.pop(name) for name in list(kwargs) if name not in own}
        if kwargs.get("num_process", 1) != 1:
            raise ValueError(
                "num_process is not supported: these metrics write no Arrow files to join; start the processes with "
                "torch.distributed (torchrun or accelerate launch), and compute() joins their batches"
            )
        super().__init__(*args, **kwargs)
        self.engine = MEASURES[self.measure](**options)

    def _info(self) -> evaluate.MetricInfo:
        measure = MEASURES[self.measure]
        inputs = {"predictions": measure.predictions_help, "references": measure.references_help or "not needed"}
        sections = [("Args", "\n".join(f"{name}: {text}." for name, text in inputs.items()))]
        for method, options in (("load", measure.load_options()), ("compute", measure.default_options())):
            if options:
                sections.append(
                    (f"Options of {method}", ", ".join(f"{key}={value!r}" for key, value in options.items()))
                )
        sections.append(("Example", measure.example()))
        return evaluate.MetricInfo(
            description=measure.describe(),
            citation=cite(self.measure),
            inputs_description="".join(f"\n\n{title}:\n\n{indent(text, '    ')}" for title, text in sections),
            license="Apache-2.0",
            homepage="https://github.com/gae-hub/gae_hub",
            features=datasets.Features({side: datasets.Value("float32") for side in SIDES}),
        )

    def __len__(self) -> int:
        """Number of predictions so far."""
        return self.engine.sides["predictions"].count

    def add(self, *, prediction: Any = None, reference: Any = None, **kwargs: Any):
        """Add one prediction, one reference, or both."""
        self.add_batch(
            predictions=None if prediction is None else [prediction],
            references=None if reference is None else [reference],
            **kwargs,
        )

    def add_batch(self, *, predictions: Any = None, references: Any = None, **kwargs: Any):
        """Add a batch of predictions, of references, or of both. Their sizes may differ, unless pairs are compared.

        Raises:
            ValueError: for other arguments, or a batch that the measure does not accept.
        """
        if kwargs:
            raise ValueError(f"'{self.measure}' accepts predictions and references only, got {', '.join(kwargs)}")
        self.engine.add(predictions, references)

    def compute(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> dict[str, Any]:
        """Compute the numbers from all added batches and this one, then remove the batches.

        If it raises, the batches added before stay, and the batch of this call is not added.

        Returns:
            Each number under its name, a float with a `passport`; what its passport has of `interval`,
            `same_count_interval` and `refit_std` as `<name>_interval`, and so on; and "passport", a dict, or a dict of
            dicts by name if there are several numbers.
        """
        engine = self.engine.copy()
        engine.add(predictions, references)
        numbers = engine.compute(**kwargs)
        passports = {name: number.passport for name, number in numbers.items()}
        uncertainties = {
            f"{name}_{kind}": value
            for name, passport in passports.items()
            for kind, value in passport.uncertainty.items()
        }
        described = {name: passport.to_dict() for name, passport in passports.items()}
        self.engine.reset()
        return {
            **numbers,
            **uncertainties,
            "passport": described if len(described) > 1 else next(iter(described.values())),
        }

    def _compute(
        self, *, predictions: Any = None, references: Any = None, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """As `compute(**options)`. `evaluate` does not accept **kwargs here."""
        return self.compute(predictions=predictions, references=references, **(options or {}))


class CombinedMetrics(evaluate.CombinedEvaluations):
    """Metrics of gae_hub that receive the same batches. If one of them raises, no metric of the combination changes.

    Args:
        metrics: a list of metrics, or a dict from prefix to metric.
        force_prefix: prefix all numbers, and not only those of the same name.

    Raises:
        ValueError: for an object that is not a metric of gae_hub.
    """

    evaluation_modules: list[GAEMetric]

    def __init__(self, metrics: list[GAEMetric] | dict[str, GAEMetric], force_prefix: bool = False):
        for metric in metrics.values() if isinstance(metrics, dict) else metrics:
            if not isinstance(metric, GAEMetric):
                raise ValueError(
                    f"expected metrics of gae_hub, got {describe(metric)}; evaluate.combine accepts other metrics, "
                    "but keeps what some of them received when another one raises"
                )
        super().__init__(metrics, force_prefix)

    @contextmanager
    def _undo_on_error(self) -> Iterator[None]:
        engines = [metric.engine.copy() for metric in self.evaluation_modules]
        try:
            yield
        except BaseException:  # also KeyboardInterrupt
            for metric, engine in zip(self.evaluation_modules, engines, strict=True):
                metric.engine = engine
            raise

    def add(self, prediction: Any = None, reference: Any = None, **kwargs: Any):
        """Add one prediction, one reference, or both, to each metric."""
        with self._undo_on_error():
            for metric in self.evaluation_modules:
                metric.add(prediction=prediction, reference=reference, **kwargs)

    def add_batch(self, predictions: Any = None, references: Any = None, **kwargs: Any):
        """Add a batch of predictions, of references, or of both, to each metric.

        Raises:
            ValueError: for a batch that one of the metrics does not accept.
        """
        with self._undo_on_error():
            for metric in self.evaluation_modules:
                metric.add_batch(predictions=predictions, references=references, **kwargs)

    def compute(self, predictions: Any = None, references: Any = None, **kwargs: Any) -> dict[str, Any]:
        """Compute the numbers of all metrics, then remove the batches. Options are passed to each metric.

        Returns:
            The numbers of all metrics, prefixed with the metric's name where two have the same name.
        """
        with self._undo_on_error():
            return super().compute(predictions, references, **kwargs)
