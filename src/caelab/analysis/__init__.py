"""What looks inside a trained model: computations only, for the command lines one level up."""
