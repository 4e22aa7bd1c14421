"""Segment Anything Model 2 for images (arXiv 2408.00714)."""
