"""Sweeps: grids of runs, and reports of their scores."""
