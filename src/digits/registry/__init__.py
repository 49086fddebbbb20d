"""Which versions of the model there are, which one is the champion, and where each came from."""
