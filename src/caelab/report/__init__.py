"""From run records to tables, figures, verdicts and one HTML page; reads what runs left and trains nothing."""
