"""What people read: the report page, the results in the README, the notebook."""
