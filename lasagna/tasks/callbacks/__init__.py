"""Callbacks and logger of a run: checkpoints, progress, scores, figures and answers."""
