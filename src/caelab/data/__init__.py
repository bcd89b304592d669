"""Datasets: where they come from, how they are cached, and how whole batches of them reach a network."""
