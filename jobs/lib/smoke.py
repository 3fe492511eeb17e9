"""Does this site work? Run on all ranks of a job; rank 0 prints what does, what does not, and what
to do.

Every rank leaves its findings as a file in a shared folder, so the table appears also where MPI is
what does not work. A check that hangs is ended by a watchdog and reported as hanging.
"""

import argparse
import json
import os
import platform
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from mdgan_hpc.errors import MdganError
from mdgan_hpc.parallel import Launch, detect_launch, gpus_given

OK, NOTE, BAD = "ok", "note", "FAILS"
MIB = 1024 * 1024

Finding = tuple[str, str, str]  # state, what was seen, what to do


def check_cpus(launch: Launch) -> Finding:
    cores = len(os.sched_getaffinity(0))
    return OK, f"{cores} of {os.cpu_count()} cores for this rank, {platform.machine()}", ""


def check_mpi(launch: Launch) -> Finding:
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        return (
            (NOTE if launch.size == 1 else BAD),
            f"mpi4py cannot be loaded: {error}",
            "install mpi4py against the site's MPI; needed for msd and generate on several ranks",
        )
    world = MPI.COMM_WORLD
    name = MPI.Get_library_version().split(",")[0].splitlines()[0].strip()
    if world.size != launch.size and launch.launcher != "torchrun":
        return (
            BAD,
            f"{launch.size} ranks were started, {name} sees {world.size}",
            "the launcher and mpi4py belong to different MPIs: srun --mpi=list shows what srun "
            "speaks; try MDGAN_MPI=pmix or pmi2, or the mpiexec of this MPI",
        )
    import numpy as np

    seconds = []
    for size in (1, 2 * MIB):  # float64 numbers: 8 bytes, 16 MiB
        data, total = np.ones(size), np.empty(size)
        repeats = 100 if size == 1 else 5
        world.Allreduce(data, total)
        world.Barrier()
        best = float("inf")
        for _ in range(repeats):
            begin = time.perf_counter()
            world.Allreduce(data, total)
            best = min(best, time.perf_counter() - begin)
        seconds.append(best)
        if total[0] != world.size:
            return BAD, f"{name}: a sum over {world.size} ranks gave {total[0]}", "report the site"
    slow = seconds[0] > 1e-3
    return (
        NOTE if slow else OK,
        f"{name}, {world.size} ranks, sum of 8 B in {seconds[0] * 1e6:.0f} us, "
        f"of 16 MiB at {16 / 1024 / seconds[1]:.2f} GiB/s",
        "slow: more ranks than cores, or the fast network is not used" if slow else "",
    )


def check_hdf5(launch: Launch, folder: Path) -> Finding:
    import h5py

    version = f"HDF5 {h5py.version.hdf5_version}"
    if not h5py.get_config().mpi:
        return NOTE, f"{version} without MPI", "generate writes one file a rank and a master file"
    if launch.launcher == "torchrun":
        return NOTE, f"{version} with MPI, not tried under torchrun", "start by srun or mpiexec"
    from mpi4py import MPI

    world, rows = MPI.COMM_WORLD, 4 * MIB  # 16 MiB of float32 a rank
    path = folder / "parallel.h5"
    begin = time.perf_counter()
    with h5py.File(path, "w", driver="mpio", comm=world) as file:
        data = file.create_dataset("x", (world.size, rows), "f4")
        with data.collective:
            data[world.rank] = world.rank + 1
    seconds = time.perf_counter() - begin
    world.Barrier()
    with h5py.File(path, "r", driver="mpio", comm=world) as file:
        column = file["x"][:, rows - 1].tolist()
    if column != list(range(1, world.size + 1)):
        return BAD, f"{version}: wrong values in the file: {column}", "use --storage shards"
    rate = 16 * world.size / 1024 / seconds
    return OK, f"{version}, one file from {world.size} ranks at {rate:.2f} GiB/s", ""


def check_gpu(launch: Launch) -> Finding:
    import torch

    if not torch.cuda.is_available():
        asked = gpus_given()
        return (
            NOTE,
            f"PyTorch {torch.__version__} sees no GPU",
            "the job was given GPUs: check the driver, and --nv or --rocm of the container"
            if asked
            else "none was asked for; training and generation run on CPUs",
        )
    count, local = torch.cuda.device_count(), launch.local_rank
    seen = f"PyTorch {torch.__version__}, {count} x {torch.cuda.get_device_name(0)}"
    if local >= count > 1:
        return BAD, f"{seen}, for local rank {local}", "one rank a GPU: --ntasks-per-node"
    device = torch.device("cuda", local % count)
    value = (torch.ones(1024, 1024, device=device) @ torch.ones(1024, 1024, device=device)).mean()
    if value.item() != 1024:
        return BAD, f"{seen}: a matrix product is wrong", "drain the node"
    return OK, seen, ""


def check_collectives(launch: Launch) -> Finding:
    if launch.size == 1:
        return NOTE, "one rank: nothing to exchange", ""
    from datetime import timedelta

    import torch
    import torch.distributed as dist

    backend = "nccl" if torch.cuda.is_available() else "gloo"
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29500")
    dist.init_process_group(
        backend, rank=launch.rank, world_size=launch.size, timeout=timedelta(seconds=60)
    )
    device = torch.device("cpu")
    if backend == "nccl":
        device = torch.device("cuda", launch.local_rank % torch.cuda.device_count())
        torch.cuda.set_device(device)
    data = torch.ones(8 * MIB, device=device)  # 32 MiB of float32
    dist.all_reduce(data)
    if data[-1].item() != launch.size:
        return BAD, f"{backend}: wrong sum {data[-1].item()}", "check NCCL_SOCKET_IFNAME"
    begin, repeats = time.perf_counter(), 5
    for _ in range(repeats):
        dist.all_reduce(data)
    _ = data[-1].item()  # waits for the device
    rate = repeats * 32 / 1024 / (time.perf_counter() - begin)
    dist.destroy_process_group()
    return OK, f"{backend} over {launch.size} ranks, gradient sum at {rate:.2f} GiB/s", ""


REMEDY = {
    "MPI": "compare srun --mpi=list with the MPI of the environment (docs/how-to/cluster.md)",
    "parallel HDF5": "use --storage shards, or another file system",
    "GPU": "check the driver, and --nv or --rocm of the container",
    "PyTorch collectives": "set NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME in the site file",
}


def findings(launch: Launch, folder: Path, seconds: float) -> dict[str, Finding]:
    checks: dict[str, Callable[[], Finding]] = {
        "cores": lambda: check_cpus(launch),
        "MPI": lambda: check_mpi(launch),
        "parallel HDF5": lambda: check_hdf5(launch, folder),
        "GPU": lambda: check_gpu(launch),
        "PyTorch collectives": lambda: check_collectives(launch),
    }
    found: dict[str, Finding] = {}
    for name, check in checks.items():

        def hangs(name: str = name) -> None:
            found[name] = (BAD, f"no answer within {seconds:.0f} s", REMEDY.get(name, ""))
            leave(launch, folder, found)
            if launch.rank == 0:
                report(launch, folder, patience=10)
            os._exit(1)

        watchdog = threading.Timer(seconds, hangs)
        watchdog.start()
        try:
            found[name] = check()
        except Exception as error:
            text = " ".join(str(error).split())[:160]
            found[name] = (BAD, f"{type(error).__name__}: {text}", REMEDY.get(name, ""))
        finally:
            watchdog.cancel()
    return found


def leave(launch: Launch, folder: Path, found: dict[str, Finding]) -> None:
    record = {"host": socket.gethostname(), "launcher": launch.launcher, "found": found}
    partial = folder / f".rank-{launch.rank}.partial"
    partial.write_text(json.dumps(record))
    partial.rename(folder / f"rank-{launch.rank}.json")


def report(launch: Launch, folder: Path, patience: float) -> bool:
    """Print the table; true if nothing fails on any rank."""
    paths = [folder / f"rank-{rank}.json" for rank in range(launch.size)]
    deadline = time.monotonic() + patience
    while not all(path.exists() for path in paths) and time.monotonic() < deadline:
        time.sleep(0.1)
    records = {
        rank: json.loads(path.read_text()) for rank, path in enumerate(paths) if path.exists()
    }
    missing = [rank for rank in range(launch.size) if rank not in records]
    hosts = sorted({record["host"] for record in records.values()})
    rows = [("launch", OK, f"{launch.size} ranks by {launch.launcher} on {', '.join(hosts)}", "")]
    if missing:
        rows.append(
            ("shared folder", BAD, f"nothing from ranks {missing} in {folder}", "is it shared?")
        )
    worst_first = [BAD, NOTE, OK]
    for name in records.get(0, {"found": {}})["found"]:
        seen = [record["found"][name] for record in records.values() if name in record["found"]]
        state, text, remedy = min(seen, key=lambda finding: worst_first.index(finding[0]))
        alike = sum(finding[0] == state for finding in seen)
        where = f" (on {alike} of {launch.size} ranks)" if alike < launch.size else ""
        rows.append((name, state, text + where, remedy))
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    for name, state, text, remedy in rows:
        print(f"{name:{widths[0]}}  {state:{widths[1]}}  {text}")
        if remedy:
            print(f"{'':{widths[0]}}  {'':{widths[1]}}  -> {remedy}")
    good = all(row[1] != BAD for row in rows)
    print("This site works." if good else "This site does not work yet; see the lines above.")
    sys.stdout.flush()
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="shared by all ranks; is made")
    parser.add_argument("--seconds", type=float, default=90, help="longest a check may take")
    options = parser.parse_args()
    try:
        launch = detect_launch()
    except MdganError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_status
    folder = options.folder / "smoke"
    if launch.rank == 0:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    deadline = time.monotonic() + 30
    while not folder.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)
    folder.mkdir(parents=True, exist_ok=True)
    leave(launch, folder, findings(launch, folder, options.seconds))
    if launch.rank != 0:
        return 0
    good = report(launch, folder, patience=options.seconds)
    shutil.rmtree(folder, ignore_errors=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
