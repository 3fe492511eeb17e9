"""Run a command as root of a user namespace that maps all ids onto themselves.

Apptainer as root asks for every capability; the root of a virtual machine or container may lack
some. In a namespace of its own it has them all. As in
``python3 as_container_root.py apptainer build IMAGE DEFINITION``.
"""

import ctypes
import os
import sys

CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x00020000


def main() -> None:
    unshared_read, unshared_write = os.pipe()
    mapped_read, mapped_write = os.pipe()
    helper = os.fork()
    if helper == 0:  # stays outside and writes the maps of the process that went in
        os.read(unshared_read, 1)
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{os.getppid()}/{name}", "w") as stream:
                stream.write("0 0 65536\n")
        os.write(mapped_write, b".")
        os._exit(0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0:
        os.kill(helper, 9)
        raise OSError(ctypes.get_errno(), "cannot make the namespaces")
    os.write(unshared_write, b".")
    os.read(mapped_read, 1)
    os.waitpid(helper, 0)
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
