"""Reports for people: the HTML page, the README's results table, the notebook."""
