"""Benchmarks: one file each, run by `make bench [NAME=…]`, none of them a test."""
