"""Training, validation, test and prediction steps of each task."""
