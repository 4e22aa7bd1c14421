"""The Segment Anything Model (arXiv 2304.02643), reimplemented in plain torch."""
