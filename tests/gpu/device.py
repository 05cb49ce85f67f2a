"""The device of the GPU tests. GAE_HUB_TEST_DEVICE=cpu runs them without a GPU, to check the tests themselves."""

import os

import torch

DEVICE = torch.device(os.environ.get("GAE_HUB_TEST_DEVICE", "cuda"))
