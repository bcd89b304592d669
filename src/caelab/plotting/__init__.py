"""How pictures and figures look."""
