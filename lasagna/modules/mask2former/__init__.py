"""Mask2Former's decoders as a mask head (arXiv 2112.01527)."""
