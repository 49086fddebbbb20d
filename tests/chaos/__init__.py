"""What remains when commands are killed. `make kills` runs it; the test suite runs a few."""
