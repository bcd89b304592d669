"""A page in which trained networks run: codes are moved by hand, and the picture follows."""
