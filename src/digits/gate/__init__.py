"""May a model ship, and what changed? The evidence of two revisions, and a verdict."""
