"""The Segment Anything Model (arXiv 2304.02643), written anew in plain torch."""
