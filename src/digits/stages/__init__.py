"""The stages of dvc.yaml: each reads files, calls the domain modules and writes files."""
