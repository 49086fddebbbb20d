"""Prefect's part: when, retries, logs, schedules, and what a person watches. No arrays here."""
