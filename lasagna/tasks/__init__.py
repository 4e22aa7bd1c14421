"""Tasks, training and scores."""
