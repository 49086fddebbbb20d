"""How a network learns: the training loop and everything that decides which weights come out."""
