"""Is handwriting still what the model was trained on? Evidently is used only here."""
