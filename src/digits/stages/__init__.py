"""The stages of dvc.yaml: each reads, calls one function of the domain, and writes.

They know nothing of Prefect, and the domain knows nothing of files.
"""
