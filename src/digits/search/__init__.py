"""`digits search`: a better recipe, looked for with Optuna."""
