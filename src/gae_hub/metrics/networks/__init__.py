"""Networks whose features or distances metrics use: extractors, Inception, LPIPS, and a classifier to train.

Files here import `core`, `modules`, `data`, `hub` and `metrics.functional.image_batches`.
"""
