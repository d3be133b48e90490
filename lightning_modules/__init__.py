"""The training, validation, test and prediction steps of each task."""
