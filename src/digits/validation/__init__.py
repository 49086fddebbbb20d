"""What data must be before a model is trained on it. Great Expectations is used only here."""
