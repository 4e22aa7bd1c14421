"""Parts small enough to train in minutes on two cores, with weights in the package."""
