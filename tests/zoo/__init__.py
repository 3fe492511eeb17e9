"""Small worlds of many kinds that the form of the model was not chosen on; see `docs/zoo.md`."""
