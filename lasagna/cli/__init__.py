"""The commands: training, and what ``lasagna`` runs by name."""
