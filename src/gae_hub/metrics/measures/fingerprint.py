"""Fingerprint of a set of rows, so that numbers measured against different data are not compared."""

__all__ = ["Fingerprint"]

from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from ...core.distributed import gather_rows

BYTES = 16  # size of a row's hash, and of the sum


class Fingerprint:
    """Sum of the BLAKE2 hashes of all rows: independent of order, batch size and number of processes."""

    def __init__(self):
        self.total = 0

    def add(self, rows: Tensor) -> "Fingerprint":
        """Add (num, ...) rows. Shape and dtype of a row are part of its hash. Returns this object."""
        array = rows.detach().cpu().numpy()
        key = f"{array.dtype} {array.shape[1:]}".encode()[:64]
        flat = np.ascontiguousarray(array.reshape(len(array), -1))
        self.total += sum(int.from_bytes(blake2b(row, key=key, digest_size=BYTES).digest()) for row in flat)
        return self

    def merge(self, other: "Fingerprint") -> "Fingerprint":
        """Add the rows of another fingerprint. Returns this object."""
        self.total += other.total
        return self

    def reduce(self) -> "Fingerprint":
        """Fingerprint of the rows of all processes, on each process."""
        whole = Fingerprint()
        for row in gather_rows(torch.tensor([list(bytes.fromhex(self.hex()))])).tolist():
            whole.total += int.from_bytes(bytes(row))
        return whole

    def hex(self) -> str:
        """The fingerprint as 32 hexadecimal digits."""
        return f"{self.total % 256**BYTES:0{2 * BYTES}x}"
