"""Analyses of finished runs, a package each: ``caelab.runs.analyses`` says what one is."""
