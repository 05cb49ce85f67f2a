"""Facts about transformers that the library relies on. After an upgrade, a failure here names the fact that changed.

Every method of transformers that the library overrides, and every private attribute that it reads or sets, is listed
by hand below. The lists are compared with the code: add a new override or read to its list, with what it relies on.
"""

import ast
import inspect
import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import torch
from cases import SHAPE, VAE
from huggingface_hub.dataclasses import strict
from safetensors.torch import load_file
from torch import nn
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModel,
    BaseImageProcessor,
    ImageProcessingMixin,
    PreTrainedConfig,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.integrations import integration_utils
from transformers.integrations.peft import PeftAdapterMixin
from transformers.pipelines import SUPPORTED_TASKS
from transformers.pipelines.base import Pipeline
from transformers.utils import PushToHubMixin
from vision_repositories import save_encoder

import gae_hub
from gae_hub._autoload import REGISTRIES

SOURCE = Path(gae_hub.__file__).parent

# Private methods that we override or call, with their parameters
PRIVATE_METHODS = {
    (Pipeline, "_forward"): "self input_tensors forward_parameters",
    (Pipeline, "_sanitize_parameters"): "self pipeline_parameters",
    (PreTrainedModel, "_init_weights"): "self module",
    (PreTrainedModel, "_load_pretrained_model"): "model state_dict checkpoint_files load_config expected_keys",
    (PushToHubMixin, "_upload_modified_files"): (
        "self working_dir repo_id files_timestamps commit_message token create_pr revision commit_description"
    ),
    (Trainer, "_clip_grad_norm"): "self model",
    (Trainer, "_evaluate"): "self trial ignore_keys_for_eval skip_scheduler",
    (Trainer, "_finish_current_push"): "self",
    (Trainer, "_finalize_training"): "self trial num_train_samples start_time",
    (Trainer, "_get_dataloader"): "self dataset description batch_size sampler_fn is_training dataloader_key",
    (Trainer, "_get_grad_norm"): "self model grad_norm",
    (Trainer, "_determine_best_metric"): "self metrics trial",  # called only
    (Trainer, "_get_learning_rate"): "self",  # called only
    (Trainer, "_get_output_dir"): "self trial",  # called only
    (Trainer, "_load_from_checkpoint"): "self resume_from_checkpoint model",
    (Trainer, "_init_training_state"): (
        "self max_steps num_update_steps_per_epoch num_train_epochs resume_from_checkpoint trial"
    ),
    (Trainer, "_load_callback_state"): "self",
    (Trainer, "_load_optimizer_and_scheduler"): "self checkpoint",
    (Trainer, "_load_rng_state"): "self checkpoint",
    (Trainer, "_load_scaler"): "self checkpoint",
    (Trainer, "_maybe_log_save_evaluate"): (  # called only
        "self tr_loss grad_norm model trial epoch ignore_keys_for_eval start_time learning_rate"
    ),
    (Trainer, "_load_best_model"): "self",
    (Trainer, "_push_from_checkpoint"): "self checkpoint_folder",
    (Trainer, "_run_epoch"): (
        "self model epoch train_dataloader steps_in_epoch num_update_steps_per_epoch trial ignore_keys_for_eval "
        "start_time resume_from_checkpoint epochs_trained steps_trained_in_current_epoch"
    ),
    (Trainer, "_save"): "self output_dir state_dict",
    (Trainer, "_save_checkpoint"): "self model trial",
    (Trainer, "_save_optimizer_and_scheduler"): "self output_dir",
    (Trainer, "_save_rng_state"): "self output_dir",
    (Trainer, "_save_scaler"): "self output_dir",
}
# Public methods that we override, except the events of callbacks
PUBLIC_METHODS = {
    (ImageProcessingMixin, "from_dict"),
    (ImageProcessingMixin, "get_image_processor_dict"),
    (BaseImageProcessor, "preprocess"),
    (ImageProcessingMixin, "to_dict"),
    (ImageProcessingMixin, "to_json_file"),
    (Pipeline, "postprocess"),
    (Pipeline, "preprocess"),
    (Pipeline, "save_pretrained"),
    (PreTrainedConfig, "from_dict"),
    (PreTrainedConfig, "to_dict"),
    (PushToHubMixin, "push_to_hub"),
    (PreTrainedModel, "add_adapter"),
    (PreTrainedModel, "device"),
    (PreTrainedModel, "dtype"),
    (PreTrainedModel, "from_pretrained"),
    (PreTrainedModel, "load_adapter"),
    (PreTrainedModel, "push_to_hub"),
    (PreTrainedModel, "save_pretrained"),
    (PreTrainedModel, "train"),
    (Trainer, "call_model_init"),
    (Trainer, "compute_loss"),
    (Trainer, "create_model_card"),
    (Trainer, "create_optimizer"),
    (Trainer, "create_scheduler"),
    (Trainer, "evaluation_loop"),
    (Trainer, "floating_point_ops"),
    (Trainer, "hyperparameter_search"),
    (Trainer, "init_hf_repo"),
    (Trainer, "log"),
    (Trainer, "prediction_step"),
    (Trainer, "push_to_hub"),
    (Trainer, "train"),
}
# Private attributes that are no methods: where transformers defines them, as a pattern of its source
PRIVATE_ATTRIBUTES = {
    "_VALID_DICT_FIELDS": (TrainingArguments, r"for valid_field in self\._VALID_DICT_FIELDS:"),
    "_batch_size": (Pipeline, r"self\._batch_size = kwargs\.pop\(\"batch_size\", None\)"),
    "_commit_hash": (PreTrainedConfig, r"_commit_hash"),
    "_forward_params": (Pipeline, r"self\._forward_params, .* = self\._sanitize_parameters"),
    **{
        f"_load_{part}": (Pipeline, rf"_load_{part} = None")
        for part in ("feature_extractor", "image_processor", "processor", "tokenizer", "video_processor")
    },
    "_auto_class": (PreTrainedModel, r"_auto_class = None"),
    "_clearml_task": (integration_utils.ClearMLCallback, r"self\._clearml_task = self\._clearml\.Task"),
    "_experiment": (integration_utils.CometCallback, r"self\._experiment = comet_ml\."),
    "_extra_content": (type(CONFIG_MAPPING), r"self\._extra_content = \{\}"),
    "_globalstep_last_logged": (
        Trainer,
        r"logs\[\"loss\"\] = tr_loss_scalar / \(self\.state\.global_step - self\._globalstep_last_logged\)",
    ),
    "_hf_peft_config_loaded": (PeftAdapterMixin, r"_hf_peft_config_loaded = False"),
    "_is_hf_initialized": (PreTrainedModel, r"getattr\(module, \"_is_hf_initialized\", False\)"),
    "_keep_in_fp32_modules_strict": (PreTrainedModel, r"_keep_in_fp32_modules_strict: .* = None"),
    "_ml_flow": (integration_utils.MLflowCallback, r"self\._ml_flow = mlflow"),
    "_n_gpu": (TrainingArguments, r"return self\._n_gpu"),
    "_swanlab": (integration_utils.SwanLabCallback, r"self\._swanlab = swanlab"),
    "_tr_loss": (Trainer, r"self\._tr_loss = torch\.tensor\(0\.0, device=args\.device\)"),
    "_total_loss_scalar": (Trainer, r"self\._total_loss_scalar = 0\.0"),
    "_trackio": (integration_utils.TrackioCallback, r"self\._trackio = trackio"),
    "_wandb": (integration_utils.WandbCallback, r"self\._wandb = wandb"),
}


# The lists are complete


def our_classes():
    """Classes of the library that derive from transformers, and their bases there. Callbacks are left out."""
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        if "spaces" in parts or parts[-1] == "__main__":
            continue
        module = import_module(".".join(("gae_hub", *parts)).removesuffix(".__init__"))
        for cls in vars(module).values():
            if inspect.isclass(cls) and cls.__module__ == module.__name__ and not issubclass(cls, TrainerCallback):
                bases = [base for base in cls.__mro__ if base.__module__.split(".")[0] == "transformers"]
                if bases:
                    yield cls, bases


def is_own_method(value):
    """Whether a class attribute is a method or property that this library wrote, not one that `@strict` added."""
    function = getattr(value, "fget", None) or getattr(value, "__func__", value)
    return inspect.isroutine(function) and function.__module__.startswith("gae_hub.")


def overridden_methods():
    """Our classes, the methods in them that a class of transformers defines too, and that class."""
    for cls, bases in our_classes():
        for name, value in vars(cls).items():
            owner = next((base for base in bases if name in vars(base)), None)
            if owner is not None and not name.startswith("__") and is_own_method(value):
                yield cls, name, owner


def private_names(tree):
    """Private attributes that code reads or sets on anything, and private names that it imports from transformers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "setattr"):
            if isinstance(node.args[1], ast.Constant):
                yield node.args[1].value
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "transformers":
            yield from (alias.name for alias in node.names)


def defined_names(tree):
    """Names of functions, classes, class attributes, and attributes of `self`."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            yield node.attr


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


@cache
def attributes_of_self(cls):
    return set(re.findall(r"\bself\.(\w+)", inspect.getsource(cls)))


def private_names_of_transformers():
    """Private names in our source that transformers defines or our classes inherit from it, without those of torch."""
    classes = (Trainer, TrainingArguments, PreTrainedModel, PreTrainedConfig, ImageProcessingMixin, PushToHubMixin)
    classes = (*classes, Pipeline)
    modules = {inspect.getmodule(cls) for cls in (*classes, type(CONFIG_MAPPING), integration_utils.WandbCallback)}
    theirs = {name for module in modules for name in re.findall(r"\b_\w+", inspect.getsource(module))}
    trees = [ast.parse(path.read_text()) for path in SOURCE.rglob("*.py")]
    used = {name for tree in trees for name in private_names(tree) if is_private(name)}
    ours = {name for tree in trees for name in defined_names(tree)}
    torchs = {name for name in used if hasattr(nn.Module(), name) or hasattr(torch, name)}
    inherited = {  # names that we define in a class that inherits them
        name
        for cls, bases in our_classes()
        for name in defined_names(ast.parse(inspect.cleandoc("\n" + inspect.getsource(cls))))
        if is_private(name) and any(hasattr(base, name) or name in attributes_of_self(base) for base in bases)
    }
    return (used & theirs - ours | inherited) - torchs


def test_the_lists_of_methods_are_complete():
    listed = {(base, name) for base, name in (*PRIVATE_METHODS, *PUBLIC_METHODS)}
    missing = [
        f"{cls.__qualname__}.{name}"
        for cls, name, _ in overridden_methods()
        if not any(issubclass(cls, base) and name == known for base, known in listed)
    ]
    assert missing == []
    overridden = list(overridden_methods())
    not_overridden = [
        f"{base.__name__}.{name}"
        for base, name in listed
        if not any(issubclass(cls, base) and name == own for cls, own, _ in overridden)
    ]
    called = ("_determine_best_metric", "_get_learning_rate", "_get_output_dir", "_maybe_log_save_evaluate")
    assert sorted(not_overridden) == [f"Trainer.{name}" for name in called]


def test_the_list_of_attributes_is_complete():
    listed = {*PRIVATE_ATTRIBUTES, *(name for _, name in PRIVATE_METHODS)}
    assert private_names_of_transformers() == listed


# Every listed method and attribute exists


@pytest.mark.parametrize(("base", "name"), PRIVATE_METHODS, ids=lambda value: getattr(value, "__name__", value))
def test_private_methods_have_the_known_parameters(base, name):
    assert " ".join(inspect.signature(getattr(base, name)).parameters) == PRIVATE_METHODS[base, name]


@pytest.mark.parametrize("name", PRIVATE_ATTRIBUTES)
def test_private_attributes_are_used_as_known(name):
    owner, pattern = PRIVATE_ATTRIBUTES[name]
    assert re.search(pattern, inspect.getsource(owner))


def test_overrides_accept_the_parameters_of_transformers():
    """Private methods, and all of the Trainer: by name, or by **kwargs. Other public methods may accept less."""
    checked = [(cls, name, owner) for cls, name, owner in overridden_methods() if is_private(name) or owner is Trainer]
    assert len({name for _, name, _ in checked}) > 20
    for cls, name, owner in checked:
        ours, theirs = (inspect.signature(getattr(base, name)).parameters for base in (cls, owner))
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in ours.values()):
            assert list(ours) == list(theirs), f"{cls.__name__}.{name}"


def test_config_fields_do_not_hide_what_configs_of_transformers_do():
    configs = [cls for cls, bases in our_classes() if PreTrainedConfig in bases]
    assert len(configs) > 50
    hidden = {
        f"{cls.__name__}.{name}"
        for cls in configs
        for name in cls.own_fields()
        if callable(getattr(PreTrainedConfig, name, None))
    }
    assert hidden == set()


# Configs and models


def test_unknown_config_keys_reach_post_init():
    seen = {}

    @strict
    class SomeConfig(PreTrainedConfig):
        model_type = "some"

        def __post_init__(self, **kwargs):
            seen.update(kwargs)
            super().__post_init__(**kwargs)

    SomeConfig(unknown=1)
    assert seen == {"unknown": 1}
    with pytest.raises(ValueError, match="only keyword arguments"):
        SomeConfig(1)


def test_config_mapping_is_in_configuration_auto():
    """`_autoload` waits for the import of this module."""
    module = "transformers.models.auto.configuration_auto"
    assert module in REGISTRIES
    assert type(CONFIG_MAPPING).__module__ == module
    assert import_module(module).CONFIG_MAPPING is CONFIG_MAPPING


def test_image_processor_mapping_is_in_image_processing_auto():
    module = "transformers.models.auto.image_processing_auto"
    assert module in REGISTRIES
    assert isinstance(import_module(module).IMAGE_PROCESSOR_MAPPING._extra_content, dict)


def test_tasks_of_pipelines_are_dicts_with_an_implementation_and_classes_of_models():
    """`_autoload` adds entries, and replaces the implementation of a task that it shares."""
    assert {"impl", "pt"} <= SUPPORTED_TASKS["image-classification"].keys()
    assert import_module("transformers.pipelines").AutoModel in SUPPORTED_TASKS["feature-extraction"]["pt"]
    assert "transformers.pipelines" in REGISTRIES


@pytest.mark.parametrize(
    "find",
    [
        lambda: "assumption" in CONFIG_MAPPING,
        lambda: CONFIG_MAPPING["assumption"] is PreTrainedConfig,
        lambda: type(AutoConfig.for_model("assumption")) is PreTrainedConfig,
    ],
)
def test_config_mapping_looks_up_types_in_extra_content(monkeypatch, find):
    """`_autoload` replaces the dict `_extra_content` by one that registers our classes in its `__contains__`."""

    class Registering(dict):
        def __contains__(self, key):
            if key == "assumption":
                self[key] = PreTrainedConfig
            return super().__contains__(key)

    before = CONFIG_MAPPING._extra_content
    assert isinstance(before, dict)
    monkeypatch.setattr(CONFIG_MAPPING, "_extra_content", Registering(before))
    assert find()


def test_config_mapping_registers_types_in_extra_content(monkeypatch):
    """`may_register` finds there which types are registered already."""
    monkeypatch.setattr(CONFIG_MAPPING, "_extra_content", dict(CONFIG_MAPPING._extra_content))
    CONFIG_MAPPING.register("assumption", PreTrainedConfig)
    assert CONFIG_MAPPING._extra_content["assumption"] is PreTrainedConfig


def test_loading_builds_on_the_meta_device_and_initializes_missing_buffers(tmp_path):
    """`_init_weights` is the only way to restore a non-persistent buffer."""
    devices = []

    class Probe(PreTrainedModel):
        config_class = PreTrainedConfig

        def __init__(self, config):
            super().__init__(config)
            self.linear = nn.Linear(2, 2)
            self.register_buffer("constant", torch.ones(3), persistent=False)
            devices.append(self.constant.device.type)
            self.post_init()

        def _init_weights(self, module):
            if module is self:
                self.constant.fill_(7)

    Probe(PreTrainedConfig()).save_pretrained(tmp_path)
    assert (Probe.from_pretrained(tmp_path).constant == 7).all() and devices == ["cpu", "meta"]


def test_modules_marked_as_initialized_keep_their_weights():
    linear = nn.Linear(2, 2)
    linear._is_hf_initialized = True
    before = linear.weight.clone()

    class Holder(PreTrainedModel):
        config_class = PreTrainedConfig

        def __init__(self, config):
            super().__init__(config)
            self.part = linear
            self.post_init()

    Holder(PreTrainedConfig())
    assert torch.equal(linear.weight, before)


def test_loaded_float_parameters_are_trainable(tmp_path):
    """requires_grad=False is lost, so constants must be buffers."""
    model = VAE.build().requires_grad_(False)
    model.save_pretrained(tmp_path)
    assert all(p.requires_grad for p in type(model).from_pretrained(tmp_path).parameters())


def test_loading_ends_with_eval(tmp_path, monkeypatch):
    """By which a model freezes its encoder again."""
    VAE.build().save_pretrained(tmp_path)
    calls = []
    monkeypatch.setattr(VAE.model_class, "train", lambda self, mode=True: calls.append(mode) or self)
    VAE.model_class.from_pretrained(tmp_path)
    assert calls[-1] is False


def test_nested_networks_keep_their_names_without_the_original_format(tmp_path):
    """With it, a network inside a model would be saved with names that its own checkpoints had once."""

    class Outer(PreTrainedModel):
        config_class = PreTrainedConfig

        def __init__(self, config, net):
            super().__init__(config)
            self.net = net
            self.post_init()

    save_encoder(tmp_path / "encoder")
    model = Outer(PreTrainedConfig(), AutoModel.from_pretrained(tmp_path / "encoder"))
    for original, same in ((True, False), (False, True)):
        model.save_pretrained(tmp_path / str(original), save_original_format=original)
        saved = load_file(tmp_path / str(original) / "model.safetensors")
        assert (saved.keys() == model.state_dict().keys()) is same


def test_nested_configs_pass_build_arguments_on():
    from transformers import AutoModel

    config = AutoConfig.for_model("gae_mlp_encoder", hidden_sizes=[3])
    assert AutoModel.from_config(config, input_shape=SHAPE).feature_shape == (3,)


def test_a_push_saves_then_writes_its_card_then_uploads():
    """`_upload_modified_files` replaces that card by ours."""
    source = inspect.getsource(PushToHubMixin.push_to_hub)
    order = [
        source.index(part) for part in ("self.save_pretrained(", "model_card.save(", "self._upload_modified_files(")
    ]
    assert order == sorted(order)


# The trainer


def test_trainer_state_is_the_last_file_of_a_checkpoint():
    source = inspect.getsource(Trainer._save_checkpoint)
    parts = ("save_model(", "_save_optimizer_and_scheduler(", "_save_scaler(", "_save_rng_state(", "save_to_json(")
    order = [source.index(part) for part in parts]
    assert order == sorted(order)


def test_gradients_are_clipped_before_the_norm_is_taken_before_the_optimizer_steps():
    """`_get_grad_norm` clips, and `on_pre_optimizer_step` detects divergence before the step."""
    source = inspect.getsource(Trainer._run_epoch)
    parts = ("self._clip_grad_norm(", "self._get_grad_norm(", ".on_pre_optimizer_step(", "self.optimizer.step()")
    order = [source.index(part) for part in parts]
    assert order == sorted(order)


def test_the_trainer_writes_use_cache_into_the_config_of_a_model(tmp_path):
    model = VAE.build()
    Trainer(model, TrainingArguments(str(tmp_path), use_cpu=True, report_to="none"))
    assert model.config.use_cache is False  # a key that StrictConfig must accept


def test_evaluation_needs_return_loss_in_the_signature():
    from transformers.utils.generic import can_return_loss

    assert can_return_loss(type(VAE.build())) and VAE.build().accepts_loss_kwargs is False


def test_data_order_is_seeded_by_default(tmp_path):
    assert TrainingArguments(str(tmp_path)).accelerator_config.use_seedable_sampler is True
