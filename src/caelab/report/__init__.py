"""From run records to tables, figures, verdicts and one HTML page; nothing is trained."""
