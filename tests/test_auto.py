"""AutoGAE and AutoSampler: look-up by name, and errors for checkpoints that do not match."""

import json
import subprocess
import sys
from types import ModuleType

import pytest
import torch
from cases import VAE, images
from transformers import AutoConfig, AutoModel

from gae_hub import AutoGAE, AutoSampler, BetaVAEConfig, BetaVAEModel, GaussianMixtureSampler, VAEConfig, VAEModel
from gae_hub.models.base import GAEConfig, GAEPreTrainedModel, register_model
from gae_hub.modules.networks import MLPEncoderConfig


@pytest.fixture
def checkpoint(tmp_path):
    VAE.build().save_pretrained(tmp_path)
    return tmp_path


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_look_ups():
    assert AutoGAE.model_class("beta_vae") is AutoGAE.model_class("gae_beta_vae") is BetaVAEModel
    assert AutoGAE.config_class("beta_vae") is BetaVAEConfig
    assert AutoSampler.model_class("gaussian_mixture") is GaussianMixtureSampler
    assert "beta_vae" in AutoGAE.names() and "gaussian_mixture" in AutoSampler.names()
    with pytest.raises(ValueError, match="no autoencoder is called 'betavae'; did you mean 'beta_vae'?"):
        AutoGAE.model_class("betavae")
    with pytest.raises(
        ValueError,
        match="no sampler is called 'xyz'; registered names are empirical, flow_matching",
    ):
        AutoSampler.model_class("xyz")
    with pytest.raises(TypeError, match="AutoGAE.from_pretrained"):
        AutoGAE()


def test_checkpoints_of_other_libraries(checkpoint):
    edit_config(checkpoint, model_type="bert")
    with pytest.raises(ValueError, match="is a 'bert' checkpoint, not a gae_hub one .*begin with 'gae_'"):
        AutoGAE.from_pretrained(checkpoint)
    edit_config(checkpoint, model_type=None)
    with pytest.raises(ValueError, match="has no model_type, so it is not a gae_hub checkpoint"):
        AutoGAE.from_pretrained(checkpoint)


def test_unregistered_model_types(checkpoint):
    edit_config(checkpoint, model_type="gae_bta_vae")
    with pytest.raises(ValueError, match="no autoencoder is called 'gae_bta_vae'; did you mean 'beta_vae'?"):
        AutoGAE.from_pretrained(checkpoint)


def test_autoencoders_and_samplers_are_distinguished(checkpoint, tmp_path):
    GaussianMixtureSampler(num_components=2).fit(torch.randn(9, 2)).save_pretrained(tmp_path / "sampler")
    with pytest.raises(
        ValueError, match="'gae_gaussian_mixture_sampler' checkpoint, which AutoGAE cannot load; use AutoSampler"
    ):
        AutoGAE.from_pretrained(tmp_path / "sampler")
    with pytest.raises(ValueError, match="'gae_vae' checkpoint, which AutoSampler cannot load; use AutoGAE"):
        AutoSampler.from_pretrained(checkpoint)


def test_a_misspelt_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "betavae-digits").mkdir()
    with pytest.raises(OSError, match="there is no folder './betavae-digit' here: did you mean 'betavae-digits'?"):
        AutoGAE.from_pretrained("./betavae-digit")


def test_a_checkpoint_of_another_class(checkpoint):
    with pytest.raises(ValueError, match="this is a 'gae_vae' checkpoint, not a 'gae_beta_vae' one"):
        BetaVAEModel.from_pretrained(checkpoint)


def test_an_empty_folder(tmp_path):
    with pytest.raises(OSError, match="config.json"):
        AutoGAE.from_pretrained(tmp_path)


@pytest.mark.parametrize("keep", [0.5, 0.01, 0])
def test_truncated_weights(checkpoint, keep):
    weights = checkpoint / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(OSError, match="are truncated or corrupt .*download or save them again"):
        AutoGAE.from_pretrained(checkpoint)


def test_swapped_weights(checkpoint, tmp_path):
    other = tmp_path / "other"
    VAE.build(latent_dim=5).save_pretrained(other)
    (other / "model.safetensors").replace(checkpoint / "model.safetensors")
    with pytest.raises(ValueError, match=r"head.bias has shape \(10,\) instead of \(6,\)"):
        AutoGAE.from_pretrained(checkpoint)
    VAE.build(encoder_config="conv").save_pretrained(other)
    (other / "model.safetensors").replace(checkpoint / "model.safetensors")
    with pytest.raises(ValueError, match="do not fit the VAEModel in its config.json: encoder.* is not expected"):
        AutoGAE.from_pretrained(checkpoint)


def test_an_unknown_key_in_a_saved_config(checkpoint):
    edit_config(checkpoint, latnt_dim=3)
    with pytest.raises(ValueError, match="VAEConfig has no field 'latnt_dim'; did you mean 'latent_dim'?"):
        AutoGAE.from_pretrained(checkpoint)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"latnt_dim": 16}, "BetaVAEConfig has no field 'latnt_dim'; did you mean 'latent_dim'?"),
        ({"xyz": 16}, "BetaVAEConfig has no field 'xyz'; its own fields are input_shape, latent_dim"),
        ({"latent_dim": 0}, "latent_dim must be above 0, got 0"),
        ({"latent_dim": "a"}, "latent_dim"),
        ({"latent_dim": True}, "latent_dim.* got (bool .*)?True"),
        ({"input_shape": (1, True, 3)}, "input_shape.*True"),
        ({"input_shape": ()}, "input_shape must have at least one dimension"),
        ({"input_shape": (1, 0, 3)}, "input_shape must be above 0"),
        ({"beta": -1}, "beta must be 0 or more, got -1"),
        ({"beta": float("nan")}, "beta must be 0 or more, got nan"),
        ({"likelihood": "poisson"}, "likelihood"),
        ({"observation_std": 0}, "observation_std must be above 0, got 0"),
        ({"observation_std": "best"}, "observation_std"),
        ({"likelihood": "bernoulli", "output_activation": "identity"}, "needs output_activation 'sigmoid'"),
    ],
)
def test_bad_configs_name_the_field(fields, message):
    with pytest.raises(Exception, match=message):
        BetaVAEConfig(**fields)


def test_registering_an_invalid_class():
    class UnprefixedConfig(GAEConfig):
        model_type = "thing"

    class ForgetfulConfig(GAEConfig):
        model_type = "gae_forgetful"
        weight = 1.0

    class Thing(GAEPreTrainedModel):
        config_class = ForgetfulConfig

    with pytest.raises(ValueError, match="must begin with 'gae_', got 'thing'"):
        register_model(UnprefixedConfig, Thing)
    with pytest.raises(ValueError, match="ForgetfulConfig.weight has no annotation"):
        register_model(ForgetfulConfig, Thing)


def test_registering_does_not_replace_a_method():
    """So that a checkpoint's copy of a method never replaces the library's class."""
    config = type("VAEConfig", (GAEConfig,), {"model_type": "gae_vae", "__annotations__": {}})
    model = type("VAEModel", (VAEModel,), {"config_class": config})
    register_model(config, model)
    assert AutoGAE.model_class("vae") is VAEModel
    assert isinstance(AutoGAE.from_config(VAE.build().config), VAEModel)


def test_pickled_weights_are_not_read(checkpoint):
    torch.save(VAE.build().state_dict(), checkpoint / "pytorch_model.bin")
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(OSError, match="model.safetensors"):
        AutoGAE.from_pretrained(checkpoint)


@pytest.mark.slow
def test_a_checkpoint_with_a_copy_of_the_library(tmp_path, monkeypatch):
    """The copy runs with trust_remote_code only, gives the same outputs, and never replaces the library's classes."""
    model = VAE.build().eval()
    monkeypatch.setattr(VAEModel, "_auto_class", "AutoModel")
    monkeypatch.setattr(VAEModel.config_class, "_auto_class", "AutoConfig")
    model.save_pretrained(tmp_path)
    assert {"vae.py", "base.py", "backbones.py", "posteriors.py"} <= {path.name for path in tmp_path.glob("*.py")}
    code = f"""
import torch
from transformers import AutoConfig, AutoModel
folder, x = {str(tmp_path)!r}, torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
try:
    AutoModel.from_pretrained(folder, trust_remote_code=False)
except ValueError as error:
    print("raised", "trust_remote_code" in str(error))
trusted = AutoModel.from_pretrained(folder, trust_remote_code=True)
print(type(trusted).__module__.split(".")[0], trusted.embed(x).double().sum().item())
from gae_hub import AutoGAE
for auto in (AutoGAE, AutoModel):
    print(type(auto.from_pretrained(folder)).__module__, type(auto.from_pretrained(folder).encoder).__module__)
print(type(AutoConfig.for_model("gae_vae")).__module__)
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert lines[0] == "raised True"
    module, total = lines[1].split()
    assert module == "transformers_modules" and float(total) == pytest.approx(
        model.embed(images()).double().sum().item()
    )
    assert lines[2:] == ["gae_hub.models.vae gae_hub.modules.networks"] * 2 + ["gae_hub.models.vae"]


def test_a_method_without_encode_raises():
    class Bare(GAEPreTrainedModel):
        pass

    with pytest.raises(NotImplementedError, match="Bare must define encode"):
        Bare(GAEConfig(input_shape=(1, 8, 8))).embed(images())


def test_loading_from_a_state_dict():
    model = BetaVAEModel(BetaVAEConfig(input_shape=(1, 8, 8), latent_dim=3, beta=2.0)).eval()
    weights = model.state_dict()
    loaded = BetaVAEModel.from_pretrained(None, config=model.config, state_dict=weights)
    assert loaded.config.beta == 2.0 and torch.equal(loaded.embed(images()), model.embed(images()))
    name, _ = weights.popitem()
    with pytest.raises(ValueError, match=f"state_dict does not fit a BetaVAEModel of this config: {name} is missing"):
        BetaVAEModel.from_pretrained(None, config=model.config, state_dict=weights)
    loaded = AutoGAE.from_pretrained(None, config=model.config, state_dict=model.state_dict())
    assert type(loaded) is BetaVAEModel and torch.equal(loaded.embed(images()), model.embed(images()))
    for load in (BetaVAEModel, AutoGAE, AutoSampler):
        with pytest.raises(ValueError, match="needs both config= and state_dict="):
            load.from_pretrained(None, state_dict=weights)


def test_unknown_arguments_name_the_nearest_one(checkpoint):
    for load in (AutoGAE, AutoModel, VAEModel):
        with pytest.raises(TypeError, match="VAEModel.from_pretrained has no argument 'latent_dmi'; did you mean"):
            load.from_pretrained(checkpoint, latent_dmi=4)
    with pytest.raises(TypeError, match="no argument 'revison'; did you mean 'revision'?"):
        VAEModel.from_pretrained(checkpoint, revison="main")
    with pytest.raises(TypeError, match="no argument 'qqq'; arguments are those of transformers and fields"):
        VAEModel.from_pretrained(checkpoint, qqq=1)
    for load in (VAEConfig, AutoConfig):
        with pytest.raises(ValueError, match="VAEConfig has no field 'latent_dmi'; did you mean 'latent_dim'?"):
            load.from_pretrained(checkpoint, latent_dmi=4)
    assert VAEConfig.from_pretrained(checkpoint, observation_std=0.5).observation_std == 0.5


def test_configs_of_networks_load_from_a_checkpoint(checkpoint):
    found = MLPEncoderConfig.from_pretrained(checkpoint)
    assert type(found) is MLPEncoderConfig and found.hidden_sizes == VAE.build().config.encoder_config.hidden_sizes
    assert set(VAEConfig.sub_configs) == {"encoder_config", "decoder_config"}


def test_a_class_that_is_not_imported(checkpoint):
    edit_config(checkpoint, model_type="gae_mine_vae", architectures=["MineVAEModel"])
    with pytest.raises(ValueError, match=r"saved by MineVAEModel \('gae_mine_vae'\), which is not imported: import"):
        AutoGAE.from_pretrained(checkpoint)


def test_a_checkpoint_of_a_subclass_is_not_loaded_as_its_parent(tmp_path):
    """The subclass has the model_type of its parent."""

    class MineModel(VAEModel):
        def compute_latents(self, *args, **kwargs):
            return 0 * super().compute_latents(*args, **kwargs)

    MineModel(VAE.build().config).save_pretrained(tmp_path / "mine")
    VAE.build().save_pretrained(tmp_path / "vae")
    for load in (AutoGAE, AutoModel, VAEModel):
        with pytest.raises(ValueError, match="was saved by MineModel, and would do something else as a VAEModel"):
            load.from_pretrained(tmp_path / "mine")
    assert not MineModel.from_pretrained(tmp_path / "mine").embed(images()).any()
    assert type(MineModel.from_pretrained(tmp_path / "vae")) is MineModel  # a parent's weights


@pytest.mark.parametrize("carried", ["AutoConfig", "AutoModel"])
def test_half_of_the_code_of_a_custom_method(checkpoint, carried):
    edit_config(checkpoint, model_type="gae_mine_vae", architectures=["Mine"], auto_map={carried: "mine.Mine"})
    with pytest.raises(ValueError, match=rf"carries code for {carried} only \(mine.Mine\): call register_for_auto"):
        AutoGAE.from_pretrained(checkpoint, trust_remote_code=True)


def test_unknown_arguments_of_samplers(tmp_path):
    GaussianMixtureSampler(num_components=1).fit(torch.randn(9, 2), progress=False).save_pretrained(tmp_path)
    for load in (AutoSampler, GaussianMixtureSampler):
        with pytest.raises(TypeError, match="no argument 'revison'; did you mean 'revision'?"):
            load.from_pretrained(tmp_path, revison="main")


def test_saving_a_custom_method_says_that_its_code_stays_behind(tmp_path, caplog, monkeypatch):
    class MineModel(VAEModel):
        __module__ = "mine"

    monkeypatch.setitem(sys.modules, "mine", ModuleType("mine"))
    MineModel(VAE.build().config).save_pretrained(tmp_path)
    VAE.build().save_pretrained(tmp_path)
    (message,) = [record.message for record in caplog.records if "does not carry" in record.message]
    assert "the code of MineModel" in message and "MineModel.register_for_auto_class('AutoModel')" in message
    assert "AutoConfig" not in message  # its config is the library's
