"""A trained network outside the lab: arrays, files and codes."""
