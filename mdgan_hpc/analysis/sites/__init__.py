"""Sites of ions in a crystal, and their jumps between them.

`find` and `given` say where the sites are, `visits` who is where, `jumps` adds up what is seen of
runs and ranks, and `measure` turns the sums into a `results.SitesResult`.
"""
