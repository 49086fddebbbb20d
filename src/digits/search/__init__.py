"""`digits search`: search for better hyperparameters with Optuna."""
