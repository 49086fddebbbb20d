"""Which version of data, model and results this is. All of DVC, git and GTO is here."""
