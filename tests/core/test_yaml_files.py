"""YAML files follow YAML 1.2, and survive a round trip."""

import pytest
import yaml

from gae_hub.core.yaml_files import dump_yaml, load_yaml


def test_yaml_scalars():
    """Scalars follow YAML 1.2: 1e-3 is a number; no, dates and numbers with leading zeros are strings."""
    text = "a: 1e-3\nb: no\nc: 2024-01-01\nd: 007\ne: true\nf:\ng: -.5\nh: 3\ni: {x: 1e-5, y: [1, 2.5]}\nj: 'true'\n"
    assert load_yaml(text) == {
        **{"a": 0.001, "b": "no", "c": "2024-01-01", "d": "007", "e": True, "f": None, "g": -0.5, "h": 3},
        **{"i": {"x": 1e-5, "y": [1, 2.5]}, "j": "true"},
    }
    with pytest.raises(ValueError, match="not valid YAML"):
        load_yaml("a: [1")


def test_written_yaml_is_read_back_to_the_same_values():
    """Also by YAML 1.1, as PyYAML's own loader reads it."""
    values = {"a": "1e-3", "b": "no", "c": 1e-5, "d": {"x": [1, True, None]}, "e": "true", "f": "1", "g": "2024-01-01"}
    assert load_yaml(dump_yaml(values)) == values
    assert yaml.safe_load(dump_yaml(values)) == values
