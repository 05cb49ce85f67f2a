"""transformers' own tests of models, configs and image processors, run on this library.

They are skipped, and counted as such, where the tests of the installed version of transformers are not unpacked: run
`python tests/peers/transformers_suite.py` first, as `make test` does.
"""

import unittest
from functools import partial
from unittest.mock import patch

import pytest
import torch
from cases import MODELS, SAMPLERS, images
from transformers_suite import FOLDER, load

from gae_hub import GAEImageProcessor
from gae_hub.models.base import GAEPreTrainedModel

if not FOLDER.is_dir():
    pytest.skip(f"{FOLDER} does not exist: run tests/peers/transformers_suite.py", allow_module_level=True)

configs, models, processors = map(
    load, ("test_configuration_common", "test_modeling_common", "test_image_processing_common")
)
CASES = {case.id: case for case in MODELS}


class ModelTester:
    """What the mixin asks for: a config and the arguments of forward."""

    is_training = True
    batch_size = 3
    num_hidden_layers = 1

    def __init__(self, case):
        self.case = case

    def prepare_config_and_inputs_for_common(self):
        return self.case.build().config, {"pixel_values": images(3)}


def check_config(test, config_class):
    """Run `ConfigTester` on a config class."""
    options = {"has_text_modality": False, "common_properties": ["latent_dim"]}
    configs.ConfigTester(test, config_class=config_class, **options).run_common_tests()


class ModelSuite(models.ModelTesterMixin):
    """`ModelTesterMixin` for a row of cases.py. Where outputs of two calls are compared, the noise is the same."""

    has_attentions = False
    test_resize_embeddings = False
    # what does not hold, and why
    absent = {
        "test_keep_in_fp32_modules_exist": "the list also names buffers that are not saved",
        "test_model_get_set_embeddings": "there are no token embeddings",
        "test_model_weights_reload_no_missing_tied_weights": "a checkpoint without weights is an error here",
    }

    def setUp(self):
        self.model_tester = ModelTester(self.case)
        if reason := self.absent.get(self._testMethodName):
            self.skipTest(reason)

    @property
    def all_model_classes(self):
        return (self.case.model_class,)

    def test_config(self):
        check_config(self, self.case.model_class.config_class)

    def test_batching_equivalence(self):
        """Without the loss and the metrics, which are means over the batch."""
        with equal_noise(), self.without_loss():
            super().test_batching_equivalence()

    def test_model_outputs_equivalence(self):
        """Without the loss, with which tuples begin."""
        with equal_noise(), self.without_loss():
            super().test_model_outputs_equivalence()

    def without_loss(self):
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        inputs["return_loss"] = False
        return patch.object(self.model_tester, "prepare_config_and_inputs_for_common", lambda: (config, inputs))

    def test_hidden_states_output(self):
        """As the mixin's test, without its assumption that hidden states are sequences of vectors."""
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        for options in ({}, {"output_hidden_states": True}):
            config.output_hidden_states = not options
            states = self.case.model_class(config).eval()(**inputs, **options).hidden_states
            assert [tuple(state.shape) for state in states] == [(3, 16)]


def equal_noise():
    """Every call of a model, and every row of a batch, draws the same noise."""
    forward, draws = GAEPreTrainedModel.forward, {name: getattr(torch, name) for name in ("rand", "randn")}

    def draw(name, shape, **options):
        return draws[name](shape[1:], **options).expand(shape)

    def seeded(self, *args, **kwargs):
        torch.manual_seed(0)
        with patch("torch.rand", partial(draw, "rand")), patch("torch.randn", partial(draw, "randn")):
            return forward(self, *args, **kwargs)

    return patch.object(GAEPreTrainedModel, "forward", seeded)


class TestVAE(ModelSuite, unittest.TestCase):
    case = CASES["vae"]


class TestVQVAE(ModelSuite, unittest.TestCase):
    case = CASES["vq_vae"]
    absent = ModelSuite.absent | {
        "test_init_weights_can_init_buffers": "codes, which are buffers, are drawn at random"
    }


class TestVAEGAN(ModelSuite, unittest.TestCase):
    case = CASES["vae_gan"]


class TestSVAE(ModelSuite, unittest.TestCase):
    case = CASES["svae"]


class TestRHVAE(ModelSuite, unittest.TestCase):
    case = CASES["rhvae"]


class SamplerTester(ModelTester):
    """A sampler that was fitted, and latents."""

    def prepare_config_and_inputs_for_common(self):
        return self.case.fit_to_source(20, **self.case.brief())[0].config, {"latents": torch.randn(3, 3)}


class TestMAFSampler(models.ModelTesterMixin, unittest.TestCase):
    has_attentions = False
    test_resize_embeddings = False
    absent = {
        **ModelSuite.absent,
        "test_hidden_states_output": "the output is a loss",
        "test_retain_grad_hidden_states_attentions": "the output is a loss",
    }
    case = {case.id: case for case in SAMPLERS}["maf"]

    def setUp(self):
        self.model_tester = SamplerTester(self.case)
        self.all_model_classes = (type(self.case.build()),)
        if reason := self.absent.get(self._testMethodName):
            self.skipTest(reason)

    def test_model_outputs_equivalence(self):
        """As the mixin's test, without hidden states."""
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        sampler = self.all_model_classes[0](config).eval()
        (loss, _), expected = sampler(**inputs, return_dict=False), sampler(**inputs)
        assert torch.equal(loss, expected.loss) and sampler(**inputs, return_loss=False, return_dict=False) == ()

    def test_config(self):
        check_config(self, self.all_model_classes[0].config_class)


class ProcessorTester(processors.ImageProcessingTester):
    """Images of one size, as arrays are not resized."""

    def __init__(self, parent):
        super().__init__(parent, min_resolution=18, max_resolution=18, input_shape=[3, 18, 18])

    def _get_image_processing_classes(self):
        return {"pil": GAEImageProcessor}

    def expected_output_image_shape(self, images):
        return tuple(self.input_shape)

    def prepare_image_inputs(self, *args, **kwargs):
        return super().prepare_image_inputs(*args, **{**kwargs, "equal_resolution": True})


class TestGAEImageProcessor(processors.ImageProcessingTestMixin, unittest.TestCase):
    image_processor_tester_class = ProcessorTester
    absent = {
        "test_call_numpy_4_channels": "the channels are those of input_shape",
        "test_image_processor_from_dict_with_kwargs_has_attributes": "settings that it does not have are refused",
        "test_new_models_require_torchvision_backend": "torchvision is never needed",
    }

    def setUp(self):
        super().setUp()
        if reason := self.absent.get(self._testMethodName):
            self.skipTest(reason)
