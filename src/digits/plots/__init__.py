"""Values in, PNG bytes out. All of Matplotlib is here."""
