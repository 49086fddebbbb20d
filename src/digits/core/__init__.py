"""What all other packages build on: parameters, paths, files, processes, locks, errors."""
