"""GAETransformer: any method as an estimator of scikit-learn."""

__all__ = ["GAETransformer"]

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import FLOAT_DTYPES, check_is_fitted, validate_data
from torch import Tensor
from transformers import PreTrainedConfig, set_seed

from ..auto import AutoGAE
from ..core.argument_checks import check_count, describe
from ..core.configuration import StrictConfig
from ..data.datasets import InMemoryDataset
from ..data.loading import load_data
from ..images.processing import GAEImageProcessor
from ..models.base import MODELS, GAEConfig, GAEPreTrainedModel
from ..training.arguments import GAETrainingArguments
from ..training.checkpointing import get_rng_state, set_rng_state
from ..training.trainer import GAETrainer
from .generation import GenerationPipeline

_BATCH_SIZE = 500  # rows that are embedded or decoded at a time
_DICTS = ("config", "training_arguments")  # parameters whose keys are parameters too, as config__beta
# settings that have a parameter, and training arguments that write files
_OWN_FIELDS = {"input_shape", "latent_dim"}
_OWN_ARGUMENTS = {
    "disable_tqdm",
    "eval_strategy",
    "learning_rate",
    "num_train_epochs",
    "output_dir",
    "per_device_train_batch_size",
    "push_to_hub",
    "save_strategy",
    "seed",
    "use_cpu",
}


def _overrides(method: str) -> Callable[["GAETransformer"], bool]:
    """A check whether the estimator's model class defines `method`. An unknown class is an error of `fit`."""

    def is_available(estimator: "GAETransformer") -> bool:
        cls = type(estimator.model_) if hasattr(estimator, "model_") else MODELS.get(estimator.method)
        return cls is None or getattr(cls, method) is not getattr(GAEPreTrainedModel, method)

    return is_available


def _can_sample(estimator: "GAETransformer") -> bool:
    return not hasattr(estimator, "model_") or estimator.model_.has_prior


class GAETransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """An autoencoder as a transformer of scikit-learn: rows to latents and back, and their log-likelihood.

    Rows are flat vectors, also for images: `input_shape=(1, 28, 28)` reshapes rows of 784 values. `clone`, `Pipeline`,
    `GridSearchCV` and `set_output` work. `fit` trains with [`GAETrainer`] in a temporary folder, leaves the global
    random state as it was, and depends only on the parameters, `random_state` among them, and the data.

    Fields of the method's config and training arguments are parameters too: `config__beta` and
    `training_arguments__weight_decay` in `set_params` and in the grid of a search.

    `save_pretrained` writes a checkpoint as every model of gae_hub has it; `from_pretrained` loads it. pickle and
    joblib also work, as for other estimators, but they run code when loading.

    Args:
        method: a method, as `AutoGAE.names()` lists them.
        latent_dim: size of the latent vector.
        input_shape: shape of one example, whose size is the number of columns. By default, (number of columns,).
        config: other fields of the method's config, such as {"beta": 4.0, "encoder_config": "conv"}.
        normalize: "unit" maps each column (each channel, for images) of the training data to [0, 1] and clips other
            data to that range; "standardize" gives it mean 0 and standard deviation 1, for configs with
            `output_activation="identity"`; None leaves values as they are. "auto" is None if the training data lie in
            [0, 1], and otherwise the one that suits `output_activation`. Reconstructions, samples and
            log-likelihoods are in the units of the data.
        num_train_epochs: passes over the data.
        batch_size: rows per training step.
        learning_rate: learning rate of Adam.
        training_arguments: other fields of [`GAETrainingArguments`], such as {"max_grad_norm": 1.0}.
        num_likelihood_samples: samples per row that estimate its log-likelihood.
        random_state: seed of weights, order of the data and noise: an integer, a `numpy.random.RandomState`, or None
            for numpy's global random state. An integer is the seed of [`GAETrainer`].
        device: "cpu", "cuda" or "mps". By default a GPU if there is one.
        verbose: whether to show a progress bar.

    Attributes:
        model_: the trained [`GAEPreTrainedModel`], in eval mode.
        processor_: the [`GAEImageProcessor`], which holds the normalization.
        loss_curve_: mean loss of each epoch, in nats per row. Not after `from_model`.
        seed_: seed of the run, which also draws the samples of `score_samples`.
        n_features_in_: number of columns.
        feature_names_in_: names of the columns, if `fit` got a DataFrame.

    Example:

    >>> from sklearn.datasets import load_digits
    >>> rows = load_digits().data / 16
    >>> ae = GAETransformer("vae", latent_dim=2, num_train_epochs=1, random_state=0)
    >>> ae.fit_transform(rows).shape
    (1797, 2)
    """

    model_: GAEPreTrainedModel
    processor_: GAEImageProcessor
    n_features_in_: int

    def __init__(
        self,
        method: str = "beta_vae",
        *,
        latent_dim: int = 16,
        input_shape: tuple[int, ...] | None = None,
        config: dict[str, Any] | None = None,
        normalize: str | None = "auto",
        num_train_epochs: float = 20,
        batch_size: int = 100,
        learning_rate: float = 1e-3,
        training_arguments: dict[str, Any] | None = None,
        num_likelihood_samples: int = 100,
        random_state: int | np.random.RandomState | None = None,
        device: str | None = None,
        verbose: bool = False,
    ):
        self.method = method
        self.latent_dim = latent_dim
        self.input_shape = input_shape
        self.config = config
        self.normalize = normalize
        self.num_train_epochs = num_train_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.training_arguments = training_arguments
        self.num_likelihood_samples = num_likelihood_samples
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    # Parameters

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name; with `deep`, also those in `config` and `training_arguments`, as `config__beta`."""
        params = super().get_params(deep)
        if deep:
            for name in _DICTS:
                fields = params[name] if isinstance(params[name], Mapping) else {}
                params |= {f"{name}__{key}": value for key, value in fields.items()}
        return params

    def set_params(self, **params: Any) -> "GAETransformer":
        """Set parameters, also single fields, as `config__beta=4.0`. Returns the estimator."""
        fields: dict[str, dict[str, Any]] = {}
        for name in list(params):
            prefix, _, key = name.partition("__")
            if key and prefix in _DICTS:
                fields.setdefault(prefix, {})[key] = params.pop(name)
        super().set_params(**params)
        for name, values in fields.items():
            setattr(self, name, {**(getattr(self, name) or {}), **values})
        return self

    # Training

    def fit(self, X: Any, y: Any = None) -> "GAETransformer":
        """Train a new model on rows (num, num_columns). `y` is ignored.

        Raises:
            ValueError: if a parameter or the shape of the rows does not fit.
            FloatingPointError: if training diverges.
        """
        X = validate_data(self, X, dtype=FLOAT_DTYPES)
        config = self._build_config(X.shape[1])
        check_count("num_likelihood_samples", self.num_likelihood_samples)
        seed = self._draw_seed()
        with _same_random_state(), TemporaryDirectory() as folder:
            arguments = self._build_arguments(folder, seed)
            set_seed(seed)
            trainer = GAETrainer(AutoGAE.from_config(config), arguments, train_dataset=self._load(X, config))
            trainer.train()
        self.seed_ = seed
        self.model_ = cast(GAEPreTrainedModel, trainer.plain_model.eval())
        self.processor_ = trainer.processing_class
        self.loss_curve_ = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        return self

    def _build_config(self, num_columns: int) -> GAEConfig:
        fields = deepcopy(self._require_dict("config"))
        for name in _OWN_FIELDS & fields.keys():
            raise ValueError(f"config has the field '{name}', which is a parameter: pass {name}={fields[name]!r}")
        shape = (num_columns,) if self.input_shape is None else tuple(self.input_shape)
        if prod(shape) != num_columns:
            raise ValueError(
                f"input_shape {shape} has {prod(shape)} values, but the rows have {num_columns} columns: reshape the "
                "rows to (num, -1), or pass another input_shape"
            )
        config = AutoGAE.config_class(self.method)(input_shape=shape, latent_dim=self.latent_dim, **fields)
        if config.is_conditional:
            raise ValueError("config must not set num_classes or condition_dim: transform(X) has no class_labels")
        return config

    def _require_dict(self, name: str) -> dict[str, Any]:
        value = getattr(self, name)
        if value is not None and not isinstance(value, Mapping):
            raise ValueError(f"{name} must be a dict of fields, or None, got {describe(value)}")
        return dict(value or {})

    def _draw_seed(self) -> int:
        if isinstance(self.random_state, (int, np.integer)):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _build_arguments(self, folder: str, seed: int) -> GAETrainingArguments:
        given = self._require_dict("training_arguments")
        for name in _OWN_ARGUMENTS & given.keys():
            raise ValueError(
                f"training_arguments has '{name}', which fit sets: parameters of GAETransformer are num_train_epochs, "
                "batch_size, learning_rate, random_state, device and verbose"
            )
        arguments = GAETrainingArguments(
            output_dir=folder,
            seed=seed,
            num_train_epochs=self.num_train_epochs,
            per_device_train_batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            disable_tqdm=not self.verbose,
            eval_strategy="no",
            save_strategy="no",
            use_cpu=self.device == "cpu",
            **{"logging_strategy": "epoch", "report_to": "none", **given},
        )
        if self.device is not None and arguments.device.type != self.device:
            raise ValueError(f"device is '{self.device}', but training would run on '{arguments.device.type}'")
        return arguments

    def _load(self, X: np.ndarray, config: GAEConfig) -> InMemoryDataset:
        normalize = self.normalize
        if normalize == "auto":
            suited = "standardize" if config.output_activation == "identity" else "unit"
            normalize = None if X.min() >= 0 and X.max() <= 1 else suited
        rows = _writeable(X).reshape(-1, *config.input_shape)
        dataset = load_data(rows, layout="channels_first", normalize=cast(Any, normalize))
        names = getattr(self, "feature_names_in_", None)
        if names is not None and len(config.input_shape) == 1:
            dataset.column_names = tuple(names)
        return cast(InMemoryDataset, dataset)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    # Use

    def transform(self, X: Any) -> np.ndarray:
        """(num, num_latents) float32 embeddings of rows (num, num_columns) by `model.embed`; maps are flattened."""
        return _to_numpy(self.model_.embed(batch).flatten(1) for batch in self._iterate_inputs(X))

    def inverse_transform(self, X: Any) -> np.ndarray:
        """(num, num_columns) rows from latents (num, num_latents), in the units of the data.

        `inverse_transform(transform(rows))` equals `model.reconstruct`.
        """
        check_is_fitted(self)
        latents = check_array(X, dtype="float32", input_name="latents")
        if latents.shape[1] != self._n_features_out:
            raise ValueError(
                f"latents must have {self._n_features_out} columns, as transform returns them, got {latents.shape[1]}"
            )
        maps = torch.from_numpy(_writeable(latents)).view(-1, *self.model_.latent_shape).to(self.model_.device)
        with torch.no_grad():
            return self._restore(self.model_.eval().decode(batch) for batch in maps.split(_BATCH_SIZE))

    @available_if(_overrides("estimate_log_likelihood"))
    def score_samples(self, X: Any) -> np.ndarray:
        """(num,) estimates of the log-likelihood log p(x) of rows, by `model.log_likelihood`, in nats.

        A row's estimate does not depend on the other rows: the samples of each are drawn with `seed_`. With a
        normalization, it is the density of the data's own values. Values that "unit" clips are scored as clipped.

        Raises:
            AttributeError: if the method has no likelihood.
        """
        values = [
            self.model_.log_likelihood(row, self.num_likelihood_samples, torch.Generator().manual_seed(self.seed_))
            for batch in self._iterate_inputs(X)
            for row in batch.split(1)
        ]
        # a probability does not change with the units
        normalization = None if self.model_.likelihood.is_discrete else self.processor_.normalization
        log_scale = 0.0 if normalization is None else normalization.log_scale(self.model_.config.input_shape)
        return _to_numpy(value - log_scale for value in values)

    @available_if(_overrides("estimate_log_likelihood"))
    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`, which a search maximises. `y` is ignored."""
        return float(self.score_samples(X).mean(dtype=np.float64))

    @available_if(_can_sample)
    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> np.ndarray:
        """(n_samples, num_columns) new rows from the model's prior, in the units of the data.

        Raises:
            AttributeError: if the method has no prior. `model_.generate` accepts a sampler.
        """
        check_is_fitted(self)
        generator = torch.Generator().manual_seed(int(check_random_state(random_state).randint(2**31 - 1)))
        return self._restore([self.model_.generate(n_samples, generator=generator, batch_size=_BATCH_SIZE)])

    def _iterate_inputs(self, X: Any) -> Iterator[Tensor]:
        """Batches of rows as the model sees them, on its device."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=FLOAT_DTYPES, reset=False)
        shape = self.model_.config.input_shape
        for start in range(0, len(X), _BATCH_SIZE):
            rows = _writeable(X[start : start + _BATCH_SIZE]).reshape(-1, *shape)
            yield self.processor_(rows)["pixel_values"].to(self.model_.device)

    def _restore(self, batches: Any) -> np.ndarray:
        return _to_numpy(self.processor_.restore(batch).flatten(1) for batch in batches)

    @property
    def _n_features_out(self) -> int:
        return prod(self.model_.latent_shape)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        assert tags.transformer_tags is not None
        tags.transformer_tags.preserves_dtype = ["float32"]  # latents are float32, whatever the rows are
        return tags

    # Models and files

    @classmethod
    def from_model(
        cls, model: GAEPreTrainedModel, processor: GAEImageProcessor | None = None, **params: Any
    ) -> "GAETransformer":
        """A fitted estimator that uses a trained model, in eval mode. Its `fit` trains a new model of the same config.

        Args:
            model: the model.
            processor: its processor. By default that of its training in this session, or one for its input_shape.
            **params: other parameters, such as `num_likelihood_samples`.
        """
        if not isinstance(model, GAEPreTrainedModel):
            raise ValueError(
                f"from_model needs a model, got {describe(model)}: from_pretrained loads one from a folder or the Hub"
            )
        processor = cast(GAEImageProcessor, processor or model.processor or GAEImageProcessor.for_model(model))
        config = model.config
        estimator = cls(
            config.model_type.removeprefix("gae_"),
            latent_dim=config.latent_dim,
            input_shape=tuple(config.input_shape),
            config=_changed_fields(config),
            normalize=None if processor.normalization is None else processor.normalization.kind,
            **params,
        )
        estimator.model_, estimator.processor_ = cast(GAEPreTrainedModel, model.eval()), processor
        estimator.n_features_in_ = prod(config.input_shape)
        estimator.seed_ = 0 if estimator.random_state is None else estimator._draw_seed()
        return estimator

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> "GAETransformer":
        """A fitted estimator with the model and the processor of a folder or Hub repository.

        Args:
            pretrained_model_name_or_path: folder, or `user/name` on the Hub.
            **kwargs: as for `AutoGAE.from_pretrained`, such as `revision` and `token`.
        """
        pipe = GenerationPipeline.from_pretrained(pretrained_model_name_or_path, sampler=None, **kwargs)
        return cls.from_model(pipe.model, pipe.processor)

    def save_pretrained(self, save_directory: str | Path):
        """Write model, processor, card and pictures into a folder, which every part of gae_hub can load."""
        check_is_fitted(self)
        GenerationPipeline(self.model_, processor=self.processor_).save_pretrained(save_directory)


def _changed_fields(config: GAEConfig) -> dict[str, Any]:
    """Fields of a config that differ from their defaults, as JSON values, without those that are parameters."""
    defaults = type(config)(input_shape=config.input_shape, latent_dim=config.latent_dim)
    names = [name for name in config.own_fields() if name not in _OWN_FIELDS]
    pairs = {name: [_to_json(getattr(one, name)) for one in (config, defaults)] for name in names}
    return {name: value for name, (value, default) in pairs.items() if value != default}


def _to_json(value: Any) -> Any:
    """A field's value; the config of a network as a dict."""
    if isinstance(value, StrictConfig):
        return {"model_type": value.model_type} | {name: getattr(value, name) for name in value.own_fields()}
    return value.to_diff_dict() if isinstance(value, PreTrainedConfig) else deepcopy(value)


def _writeable(array: np.ndarray) -> np.ndarray:
    """The array, or a copy if it is read-only, as in joblib's processes: torch warns about those."""
    return array if array.flags.writeable else array.copy()


def _to_numpy(batches: Any) -> np.ndarray:
    return torch.cat([batch.cpu() for batch in batches]).numpy()


@contextmanager
def _same_random_state() -> Iterator[None]:
    """Context after which the global random states of Python, numpy and torch are as before."""
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)
