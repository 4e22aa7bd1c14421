"""Weights in and out: checkpoints, small folders, calibration and released models."""
