"""What a machine with a GPU proves and measures, in small a CPU; see `tests.gpu.__main__`."""
