"""Parts small enough to train in minutes on two cores, with weights that come inside the package."""
