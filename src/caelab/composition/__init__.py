"""From YAML and words to the plain config of a run: all that Hydra does for the lab."""
