"""What a set of rows is known by, so that two numbers can tell whether they were measured against the same data."""

__all__ = ["Fingerprint"]

from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from ..core.distributed import gather_rows

BYTES = 16  # of a row's hash, and of the sum


class Fingerprint:
    """The sum of the rows' BLAKE2 hashes: neither order, nor batches, nor processes change it, and parts add up."""

    def __init__(self):
        self.total = 0

    def add(self, rows: Tensor) -> "Fingerprint":
        """Add rows, (num, ...); the shape and dtype of one counts as well as its content."""
        array = rows.detach().cpu().numpy()
        key = f"{array.dtype} {array.shape[1:]}".encode()[:64]
        flat = np.ascontiguousarray(array.reshape(len(array), -1))
        self.total += sum(int.from_bytes(blake2b(row, key=key, digest_size=BYTES).digest()) for row in flat)
        return self

    def merge(self, other: "Fingerprint") -> "Fingerprint":
        """Add what another has seen."""
        self.total += other.total
        return self

    def reduce(self) -> "Fingerprint":
        """That of all processes' rows together."""
        whole = Fingerprint()
        for row in gather_rows(torch.tensor([list(bytes.fromhex(self.hex()))])).tolist():
            whole.total += int.from_bytes(bytes(row))
        return whole

    def hex(self) -> str:
        return f"{self.total % 256**BYTES:0{2 * BYTES}x}"
