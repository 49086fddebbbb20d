"""Where raw data comes from. No stage imports it."""
