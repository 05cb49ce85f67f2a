"""Metrics as plain functions of arrays. Files here import `core`, `modules`, `images` and `metrics.results`."""
