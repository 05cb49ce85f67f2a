"""TrainingPipeline: trains a model in one call."""

__all__ = ["TrainingPipeline"]

from typing import Any

from transformers import TrainingArguments

from ..models.base import GAEPreTrainedModel
from ..training.trainer import GAETrainer


class TrainingPipeline:
    """Trains a model in one call, as in Appendix A of the Pythae paper (Chadebec, Vincent & Allassonnière, 2022),
    arXiv:2206.08309. [`GAETrainer`] does the work.

    Args:
        model: the model.
        args: training arguments, `GAETrainingArguments()` by default.
        **kwargs: other arguments of [`GAETrainer`], such as `callbacks`.

    Attributes:
        trainer: the trainer of the last call; None before.

    Example:

    ```python
    train, validation = load_images("digits", splits=("train", "validation"))
    pipeline = TrainingPipeline(BetaVAEModel(config), GAETrainingArguments("betavae-digits", num_train_epochs=10))
    model = pipeline(train, validation)
    ```
    """

    def __init__(self, model: GAEPreTrainedModel, args: TrainingArguments | None = None, **kwargs: Any):
        self.model, self.args, self.kwargs = model, args, kwargs
        self.trainer: GAETrainer | None = None

    def __call__(self, train_data: Any, eval_data: Any = None) -> GAEPreTrainedModel:
        """Train and save the model in the output folder, and return it, in eval mode.

        Args:
            train_data, eval_data: a data set from [`load_images`], or anything that it accepts, such as arrays and
                tensors. Without eval_data, nothing is evaluated, and the last weights are kept.

        Raises:
            ValueError, FloatingPointError: as in [`GAETrainer`].
        """
        self.trainer = GAETrainer(
            self.model, self.args, train_dataset=train_data, eval_dataset=eval_data, **self.kwargs
        )
        self.trainer.train()
        self.trainer.save_model()
        return self.trainer.plain_model.eval()
