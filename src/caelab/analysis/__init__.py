"""Analyses of finished runs, a package each: ``registry`` says what one is."""
