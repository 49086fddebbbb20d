"""Which version of data, code and results this is. DVC and git are called only from here."""
