"""Vision encoders; those of a family are in ``sam/``, ``sam2/`` and ``tiny/``."""
