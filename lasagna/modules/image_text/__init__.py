"""Image-text models of transformers, each with its own visual tower."""
