"""Language models; ``llava/``, ``image_text/`` and ``tiny/`` hold those of a family."""
