"""How good a model is: metrics, and images damaged on purpose."""
