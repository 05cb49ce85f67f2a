"""`GAETrainer`, its arguments, callbacks and checkpoints. Files here import core, modules, models, images and data."""
