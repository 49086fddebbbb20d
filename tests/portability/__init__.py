"""`make bytes`: the same bytes on other CPUs."""
