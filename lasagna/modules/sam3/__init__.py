"""Segment Anything Model 3 for images (arXiv 2511.16719)."""
