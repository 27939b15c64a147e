# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the lab runs: libvirt and QEMU from Debian's backports, unpacked beside the system, and the guest's kernel.

Debian 12's own QEMU 7.2 damages guests in live migrations under software emulation, hence the backports. Nothing of
them is installed: the packages and all they need are unpacked into one tree that a lab host lays over its ``/usr``.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

#: Installed on the machine itself: the compiler for the guest's worker, and what libvirt-python builds against.
TOOLS = {
    "gcc": "/usr/bin/gcc",
    "libc6-dev": "/usr/include/stdio.h",
    "pkg-config": "/usr/bin/pkg-config",
    "libvirt-dev": "/usr/include/libvirt/libvirt.h",
    "iproute2": "/sbin/ip",
    "cpio": "/usr/bin/cpio",
    "util-linux": "/usr/bin/nsenter",
}
#: Unpacked, with everything they depend on.
HYPERVISOR = (
    "qemu-system-x86",
    "qemu-utils",
    "seabios",
    "libvirt-daemon",
    "libvirt-daemon-driver-qemu",
    "libvirt-daemon-driver-network",
    "libvirt-daemon-driver-nodedev",
    "libvirt-daemon-driver-interface",
    "libvirt-daemon-driver-secret",
    "libvirt-daemon-driver-storage",
    "libvirt-daemon-driver-nwfilter",
    "libvirt-daemon-log",
    "libvirt-daemon-system",
    "libvirt-clients",
    "nftables",  # libvirt's network driver does not start without a firewall tool
    "busybox-static",
    "lxcfs",
)
#: Unpacked apart from those, for the tests that reach hosts by ssh.
SSH_SERVER = ("openssh-server", "libwrap0")
#: In the tree that is laid over /usr these must hide the machine's own, for drivers and firmware of two versions do
#: not mix.
OPAQUE = ("usr/lib/x86_64-linux-gnu/libvirt", "usr/lib/x86_64-linux-gnu/qemu", "usr/share/qemu")
#: Kernel modules of the guest in the order in which they load.
MODULES = (
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
    "virtio_blk",
    "virtio_balloon",
)
FETCH_TIMEOUT_S = 900.0


class LabUnavailable(Exception):
    """This machine cannot run the lab; the text says why."""


@dataclass(frozen=True)
class Packages:
    """Where the fetched things are. ``sysroot`` is laid over / in the hosts."""

    sysroot: Path
    kernel: Path
    initrd: Path


def cache_dir() -> Path:
    """Return the folder that keeps the fetched packages between runs."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(os.environ.get("FORESIGHT_KVM_LAB_CACHE", os.path.join(home, "foresight-kvm-lab")))


def prepare() -> Packages:
    """Return the unpacked packages and the guest, fetching and building them where they are not there yet.

    Raises `LabUnavailable` when this machine cannot have them: no root, not Debian 12, no package mirror.
    """
    if os.geteuid() != 0:
        raise LabUnavailable("the KVM lab makes network namespaces and needs root")
    cache = cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / "lock"):
        _install_tools()
        fetched = cache / "fetched"
        if not fetched.exists() or fetched.read_text() != " ".join(HYPERVISOR):
            _fetch(cache)
            fetched.write_text(" ".join(HYPERVISOR))
        kernel, initrd = _guest(cache)
    return Packages(cache / "sysroot", kernel, initrd)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(*command: str | Path, timeout: float = 60.0, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a command and return what it printed; raises `LabUnavailable` with its last words when it fails."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **(env or {})},
            cwd=cwd,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise LabUnavailable(f"{command[0]}: {exc}") from exc
    if done.returncode:
        raise LabUnavailable(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[-600:]}")
    return done.stdout


def _install_tools() -> None:
    if not shutil.which("apt-get") or not KEYRING.exists():
        raise LabUnavailable("the KVM lab takes its QEMU from Debian packages, and this machine is not Debian")
    missing = [package for package, file in TOOLS.items() if not Path(file).exists()]
    if missing:
        environment = {"DEBIAN_FRONTEND": "noninteractive"}
        run("apt-get", "-qq", "update", timeout=FETCH_TIMEOUT_S, env=environment)
        run(
            *("apt-get", "-qq", "install", "-y", "--no-install-recommends", *missing),
            timeout=FETCH_TIMEOUT_S,
            env=environment,
        )


def _mirror() -> str:
    """Return the address of the Debian mirror that this machine itself uses for bookworm."""
    targets = run("apt-get", "indextargets", "--format", "$(SITE) $(CODENAME) $(ORIGIN)")
    for line in targets.splitlines():
        site, _sep, release = line.partition(" ")
        if release == "bookworm Debian":
            return site
    raise LabUnavailable("the KVM lab needs a machine with Debian 12 (bookworm) package sources")


def _fetch(cache: Path) -> None:
    """Download the packages with apt's own client into ``cache`` and unpack them."""
    environment = _apt_environment(cache)
    run("apt-get", "-qq", "update", timeout=FETCH_TIMEOUT_S, env=environment)
    kernel = _kernel_package(environment)
    run(
        *("apt-get", "-qq", "-y", "-t", "bookworm-backports", "--no-install-recommends", "--download-only"),
        *("install", *HYPERVISOR),
        timeout=FETCH_TIMEOUT_S,
        env=environment,
    )
    archives = cache / "archives"
    run("apt-get", "-qq", "download", kernel, timeout=FETCH_TIMEOUT_S, env=environment, cwd=archives)
    sysroot = cache / "sysroot"
    shutil.rmtree(sysroot, ignore_errors=True)
    sysroot.mkdir()
    for package in sorted(archives.glob("*.deb")):
        target = cache / "kernel" if package.name.startswith("linux-image-") else sysroot
        run("dpkg-deb", "-x", package, target, timeout=FETCH_TIMEOUT_S)
    for folder in ("bin", "sbin", "lib", "lib64"):  # Debian 12's system has these below /usr
        if (sysroot / folder).is_dir():
            shutil.copytree(sysroot / folder, sysroot / "usr" / folder, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(sysroot / folder)
    for folder in OPAQUE:
        os.setxattr(sysroot / folder, "trusted.overlay.opaque", b"y")
    shutil.rmtree(archives)


def _apt_environment(cache: Path) -> dict[str, str]:
    """Give apt its own lists and cache, and the machine's mirror with backports beside it."""
    for folder in ("lists/partial", "archives/partial", "kernel"):
        (cache / folder).mkdir(parents=True, exist_ok=True)
    mirror = _mirror()
    sources = "".join(
        f"deb [signed-by={KEYRING}] {mirror} {suite} main\n"
        for suite in ("bookworm", "bookworm-updates", "bookworm-backports")
    )
    (cache / "sources.list").write_text(sources)
    (cache / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{cache}/sources.list";\n'
        'Dir::Etc::sourceparts "/dev/null";\n'
        f'Dir::State::lists "{cache}/lists";\n'
        f'Dir::Cache "{cache}";\n'
        f'Dir::Cache::archives "{cache}/archives";\n'
        'APT::Sandbox::User "root";\n'
    )
    return {"APT_CONFIG": str(cache / "apt.conf"), "DEBIAN_FRONTEND": "noninteractive"}


def ssh_server() -> Path:
    """Return the folder with Debian's ssh server, fetched and unpacked where it is not there yet.

    Raises `LabUnavailable` when it cannot be had.
    """
    cache = cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    tree = cache / "ssh"
    with _locked(cache / "lock"):
        if not (tree / "complete").exists():
            shutil.rmtree(tree, ignore_errors=True)
            (tree / "archives").mkdir(parents=True)
            environment = _apt_environment(cache)
            run("apt-get", "-qq", "update", timeout=FETCH_TIMEOUT_S, env=environment)
            run("apt-get", "-qq", "download", *SSH_SERVER, timeout=FETCH_TIMEOUT_S, env=environment,
                cwd=tree / "archives")  # fmt: skip
            for package in (tree / "archives").glob("*.deb"):
                run("dpkg-deb", "-x", package, tree, timeout=FETCH_TIMEOUT_S)
            (tree / "complete").touch()
    return tree


def _kernel_package(environment: dict[str, str]) -> str:
    depends = run("apt-cache", "depends", "linux-image-cloud-amd64", env=environment)
    for line in depends.splitlines():
        if "Depends: linux-image-" in line:
            return line.split()[-1]
    raise LabUnavailable("apt knows no kernel image linux-image-cloud-amd64")


def _guest(cache: Path) -> tuple[Path, Path]:
    """Return kernel and initial RAM disk of the guest, built anew when its sources are newer."""
    folder = cache / "guest"
    initrd, kernel = folder / "initrd.img", folder / "vmlinuz"
    sources = [HERE / "guest" / "init", HERE / "guest" / "work.c", Path(__file__)]
    if initrd.exists() and initrd.stat().st_mtime > max(source.stat().st_mtime for source in sources):
        return kernel, initrd
    root = folder / "root"
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("bin", "proc", "sys", "dev", "m"):
        (root / name).mkdir(parents=True)
    shutil.copy(next((cache / "kernel" / "boot").glob("vmlinuz-*")), kernel)
    modules = {path.stem: path for path in (cache / "kernel").rglob("*.ko")}
    for name in MODULES:
        shutil.copy(modules[name], root / "m")
    shutil.copy(_busybox(cache / "sysroot"), root / "bin" / "busybox")
    script = (HERE / "guest" / "init").read_text(encoding="utf-8")
    (root / "init").write_text(f"#!/bin/busybox sh\n{script}", encoding="utf-8")
    (root / "init").chmod(0o755)
    os.mknod(root / "dev" / "console", 0o20600, os.makedev(5, 1))
    run("gcc", "-O2", "-static", "-pthread", "-Wall", "-Werror", "-o", root / "bin" / "work", HERE / "guest" / "work.c")
    run("sh", "-c", f"cd '{root}' && find . | cpio -o -H newc --quiet | gzip -1 > ../initrd.part")
    (folder / "initrd.part").rename(initrd)
    return kernel, initrd


def _busybox(sysroot: Path) -> Path:
    for path in (sysroot / "usr/bin/busybox", Path("/bin/busybox")):
        if path.exists():
            return path
    raise LabUnavailable("busybox-static was not unpacked")
