"""Trained networks for use elsewhere: files that were checked, and a card that says what they are."""
