"""What everything stands on: parameters, places, files, processes, locks, errors."""
