"""Language models; those of a family are in ``llava/``, ``image_text/`` and ``tiny/``."""
