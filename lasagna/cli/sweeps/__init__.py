"""Grids of runs, and reports of what they reached."""
