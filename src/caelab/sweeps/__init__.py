"""Many runs: one after the other or side by side, and what is left of each."""
