"""Reading and writing weights: checkpoints, assistant folders, calibration and released models."""
