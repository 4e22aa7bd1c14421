"""Callbacks of a run: checkpoints, progress, scores, pictures and answers."""
