"""Which networks there are, and the files that hold a trained one."""
