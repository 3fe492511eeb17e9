"""Inputs damaged by chance, and what the commands make of them."""
