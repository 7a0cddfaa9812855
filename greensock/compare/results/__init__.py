"""What may be concluded from the trials: medians, flags, thresholds, result.json."""
