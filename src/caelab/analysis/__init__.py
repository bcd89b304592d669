"""What looks inside a trained model."""
