"""MD and generated trajectories side by side: numbers, sentences, figures, page; advice."""
