"""Prefect: flows with their tasks, logs, retries and schedules, and the server. No arrays here."""
