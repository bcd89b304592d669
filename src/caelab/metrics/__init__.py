"""What is measured of pictures, and what follows from it over seeds."""
