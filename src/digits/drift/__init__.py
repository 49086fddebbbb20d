"""Is handwriting still what the model was trained on? All of Evidently is here."""
