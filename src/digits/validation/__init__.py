"""What data must be before anything is trained on it. All of Great Expectations is here."""
