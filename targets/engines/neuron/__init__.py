"""neoc."""
