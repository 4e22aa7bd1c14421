"""Vision encoders; ``sam/``, ``sam2/`` and ``tiny/`` hold those of a family."""
