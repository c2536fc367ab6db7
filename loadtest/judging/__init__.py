"""What a run's figures mean: metrics, thresholds, and whether they prove anything. Pure."""
