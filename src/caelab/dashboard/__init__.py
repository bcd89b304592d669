"""Dashboards in Weights & Biases, made by code: a workspace, a report, and the runs that W&B lacks."""
