"""The engine as metrics of `evaluate`: their interface, and none of their Arrow files."""

__all__ = ["Shell"]

import inspect

import datasets
import evaluate

from .measures import MEASURES, SIDES


class Shell(evaluate.Metric):
    """Base of the metrics of gae_hub. A subclass names its `measure`; batches go to it as they are.

    Args:
        **kwargs: of `evaluate.Metric`, and options of the measure, such as `extractor="facebook/dinov2-small"`.
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
        """Named numbers, each a float with a `passport`, of these batches and all that were added; then start anew."""
        self.add_batch(predictions=predictions, references=references)
        found = self.engine.compute(**kwargs)
        self.engine.reset()
        return found

    def _compute(self, *, predictions=None, references=None, **kwargs):
        return self.compute(predictions=predictions, references=references, **kwargs)
