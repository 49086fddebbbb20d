"""What data may suffer and what catches it. `make faults` tries MNIST; tests, a small set."""
