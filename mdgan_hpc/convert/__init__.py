"""Other codes and SIESTA into one trajectory file: sources, the time line, the atoms, the cell."""
