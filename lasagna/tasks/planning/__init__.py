"""What a training takes, computed without weights: memory, floating-point operations, hours and disk."""
