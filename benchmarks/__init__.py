"""Speed against peers and against the limits of the machine: see README.md in this folder."""
