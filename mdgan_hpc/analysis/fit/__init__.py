"""From curves to a diffusion coefficient that one believes, and what is made of it."""
