"""Pretraining of the tiny parts, which makes all weights in the package."""
