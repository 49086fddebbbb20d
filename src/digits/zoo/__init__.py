"""`digits zoo`: every model trained and compared."""
