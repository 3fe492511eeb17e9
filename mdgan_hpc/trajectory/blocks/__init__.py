"""Pre-sized trajectories that many processes write at once, block by block, and can resume.

A block is P particles. Its records are stored in order, in pieces of any length; beside the data
lies a ledger: how many records of each block are complete, and the rollout state, an opaque text of
bytes from which the writer goes on. Everything is allocated when the file is made, so that later
writes are raw data only and no kill can harm the structure of the file.

Two storages present the same tree:

- ``shards``: a folder of part files, each a rectangle of blocks and records, under one small
  master file whose virtual datasets join them. HDF5 lays the parts out; their raw data is then
  written by plain positioned writes, which need no MPI and run beside the computation.
- ``mpio``: one file, which all ranks open and close together through parallel HDF5, and in between
  write by independent calls.

The rollout state of a block has two slots with a checksum each, used in turn, so that one is always
whole.
"""
