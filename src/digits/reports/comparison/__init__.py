"""`digits compare` in words, as Markdown and as a page; the command line prints it."""
