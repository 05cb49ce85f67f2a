"""Facts about transformers that the library rests on. An upgrade tells here which one has moved."""

import inspect
from importlib import import_module

import pytest
import torch
import transformers
from cases import SHAPE, VAE
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel, Trainer, TrainingArguments
from transformers.utils import PushToHubMixin

from gae_hub._autoload import REGISTRY


def test_unknown_config_keys_arrive_in_post_init():
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
    assert REGISTRY == "transformers.models.auto.configuration_auto"
    assert type(transformers.CONFIG_MAPPING).__module__ == REGISTRY
    assert import_module(REGISTRY).CONFIG_MAPPING is transformers.CONFIG_MAPPING


@pytest.mark.parametrize(
    "find",
    [
        lambda: "assumption" in transformers.CONFIG_MAPPING,
        lambda: transformers.CONFIG_MAPPING["assumption"] is PreTrainedConfig,
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

    before = transformers.CONFIG_MAPPING._extra_content
    assert isinstance(before, dict)
    monkeypatch.setattr(transformers.CONFIG_MAPPING, "_extra_content", Registering(before))
    assert find()


def test_config_mapping_registers_types_in_extra_content(monkeypatch):
    """`may_register` finds there which types are registered already."""
    mapping = transformers.CONFIG_MAPPING
    monkeypatch.setattr(mapping, "_extra_content", dict(mapping._extra_content))
    mapping.register("assumption", PreTrainedConfig)
    assert mapping._extra_content["assumption"] is PreTrainedConfig


def test_loading_builds_on_the_meta_device_and_refills_what_the_file_lacks(tmp_path):
    """A non-persistent buffer comes back through `_init_weights` only."""
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


def test_modules_marked_as_initialised_are_left_alone():
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


def test_float_parameters_become_trainable_when_loaded(tmp_path):
    """requires_grad=False is lost, so constants must be buffers."""
    model = VAE.build().requires_grad_(False)
    model.save_pretrained(tmp_path)
    assert all(p.requires_grad for p in type(model).from_pretrained(tmp_path).parameters())


def test_a_push_saves_then_writes_its_card_then_uploads():
    """Our card is written over it in between, in `_upload_modified_files`."""
    source = inspect.getsource(PushToHubMixin.push_to_hub)
    order = [
        source.index(part) for part in ("self.save_pretrained(", "model_card.save(", "self._upload_modified_files(")
    ]
    assert order == sorted(order)
    assert list(inspect.signature(PushToHubMixin._upload_modified_files).parameters)[:3] == [
        "self",
        "working_dir",
        "repo_id",
    ]


def test_the_trainers_state_is_the_last_file_of_a_checkpoint():
    source = inspect.getsource(Trainer._save_checkpoint)
    parts = ("save_model(", "_save_optimizer_and_scheduler(", "_save_scaler(", "_save_rng_state(", "save_to_json(")
    order = [source.index(part) for part in parts]
    assert order == sorted(order)


@pytest.mark.parametrize(
    "name",
    ["_save", "_save_rng_state", "_load_rng_state", "_save_scaler", "_load_scaler", "_save_optimizer_and_scheduler",
     "_load_optimizer_and_scheduler", "_push_from_checkpoint", "_get_grad_norm", "evaluation_loop", "log"],
)  # fmt: skip
def test_what_our_trainer_overrides_is_there(name):
    from gae_hub import GAETrainer

    ours, theirs = (inspect.signature(getattr(cls, name)).parameters for cls in (GAETrainer, Trainer))
    accepts_all = any(p.kind is p.VAR_KEYWORD for p in ours.values())
    assert accepts_all or list(ours) == list(theirs)


def test_the_trainer_writes_use_cache_into_the_config_of_a_model(tmp_path):
    model = VAE.build()
    Trainer(model, TrainingArguments(str(tmp_path), use_cpu=True, report_to="none"))
    assert model.config.use_cache is False  # a key that StrictConfig must accept


def test_evaluation_needs_return_loss_in_the_signature():
    from transformers.utils.generic import can_return_loss

    assert can_return_loss(type(VAE.build())) and VAE.build().accepts_loss_kwargs is False


def test_data_order_is_seeded_by_default(tmp_path):
    assert TrainingArguments(str(tmp_path)).accelerator_config.use_seedable_sampler is True


def test_nested_configs_pass_build_arguments_on():
    from transformers import AutoModel

    config = AutoConfig.for_model("gae_mlp_encoder", hidden_sizes=[3])
    assert AutoModel.from_config(config, input_shape=SHAPE).feature_shape == (3,)
