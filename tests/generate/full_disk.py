"""Fill a small disk of our own while a run is under way; started in a mount namespace."""

import subprocess
import sys
from pathlib import Path

from launch import here, model_file, stored


def main(folder):
    """Begin on a disk with room, let something else fill it, go on, make room, go on."""
    disk = Path(folder) / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", disk], check=True)
    arguments = [model_file(folder), "-o", disk / "g.h5", "--particles", 64, "--records", 3000]
    begun = here(*arguments, "--wall-time", 0, "--block-records", 100, expect=75)
    assert "run the same command again" in begun.stderr
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            filler_bytes = filler.stat().st_size
    assert filler_bytes > 2**20
    with filler.open("rb+") as stream:
        stream.truncate(filler_bytes - 2**19)
    full = here(*arguments, "--save-interval", 0, "--block-records", 100, expect=1)
    assert "the disk is full" in full.stderr, full.stderr
    assert "run the same command again" in full.stderr
    filler.unlink()
    here(*arguments, "--block-records", 100)
    undisturbed = Path(folder) / "g.h5"
    here(*arguments[:1], "-o", undisturbed, *arguments[3:], "--block-records", 100)
    assert stored(disk / "g.h5").tobytes() == stored(undisturbed).tobytes()
    print("went on after the disk was full")


if __name__ == "__main__":
    main(sys.argv[1])
