"""Images of answers and plots of a run's metrics."""
