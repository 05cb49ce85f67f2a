"""The engine as metrics of `evaluate`: their interface, and none of their Arrow files."""

__all__ = ["GAEMetric"]

import inspect

import datasets
import evaluate

from .measures import MEASURES, SIDES


class GAEMetric(evaluate.Metric):
    """Base of the metrics of gae_hub. A subclass names its `measure`; batches go to it as they are.

    Args:
        **kwargs: of `evaluate.Metric`, and options of the measure, such as
            `feature_extractor="facebook/dinov2-small"`.
    """

    measure = ""

    def __init__(self, *args, **kwargs):
        own = inspect.signature(evaluate.Metric.__init__).parameters
        options = {name: kwargs.pop(name) for name in list(kwargs) if name not in own}
        if kwargs.get("num_process", 1) != 1:
            raise ValueError(
                "num_process joins files of Arrow, which these metrics do not write: start the processes with "
                "torch.distributed (torchrun, accelerate launch), and compute() joins their batches"
            )
        super().__init__(*args, **kwargs)
        self.engine = MEASURES[self.measure](**options)

    def _info(self):
        measure = MEASURES[self.measure]
        inputs = {"predictions": measure.predictions, "references": measure.references or "not needed"}
        options = ", ".join(f"{name}={value!r}" for name, value in measure.defaults().items())
        return evaluate.MetricInfo(
            description=inspect.getdoc(measure),
            citation="",
            inputs_description="\n\nArgs:\n"
            + "\n".join(f"    {name}: {what}." for name, what in inputs.items())
            + (f"\n    Options of compute: {options}." if options else ""),
            features=datasets.Features({side: datasets.Value("float32") for side in SIDES}),
        )

    def __len__(self) -> int:
        """The predictions so far."""
        return self.engine.sides["predictions"].count

    def add(self, *, prediction=None, reference=None, **kwargs):
        """Add one prediction, one reference, or both."""
        self.add_batch(
            predictions=None if prediction is None else [prediction],
            references=None if reference is None else [reference],
            **kwargs,
        )

    def add_batch(self, *, predictions=None, references=None, **kwargs):
        """Add a batch of predictions, of references, or of both, of unlike sizes where the measure allows it."""
        if kwargs:
            raise ValueError(f"'{self.measure}' takes predictions and references, but not {', '.join(kwargs)}")
        self.engine.add(predictions, references)

    def compute(self, *, predictions=None, references=None, **kwargs):
        """Named numbers of these batches and all that were added; then start anew.

        Returns:
            each number, a float that knows its passport, by its name; its interval of 95 %, where one is known, by
            `<name>_interval`; and "passport", a dict, or a dict of them by name where there are several numbers.
        """
        self.add_batch(predictions=predictions, references=references)
        numbers = self.engine.compute(**kwargs)
        self.engine.reset()
        passports = {name: number.passport for name, number in numbers.items()}
        found = dict(numbers)
        found.update({f"{name}_interval": p.interval for name, p in passports.items() if p.interval is not None})
        known = {name: passport.to_dict() for name, passport in passports.items()}
        found["passport"] = known if len(known) > 1 else next(iter(known.values()))
        return found

    def _compute(self, *, predictions=None, references=None, **kwargs):
        return self.compute(predictions=predictions, references=references, **kwargs)
