# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Three KVM hosts on one machine: each its own network, mount, UTS, PID, IPC and cgroup namespace and libvirtd.

The hosts' network is a bridge in a namespace of its own (the *wire*), so that nothing of the lab is on the machine's
network. A client outside reaches a host's libvirtd through its Unix socket; hosts reach each other by address.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .namespaces import NotedProcess, call_in_namespace, make_cgroups, own_cgroups, remove_cgroups, wait_until
from .packages import LabUnavailable, Packages, prepare, run

HERE = Path(__file__).resolve().parent
#: Labs of different names run beside each other.
STATE = Path("/var/lib/foresight-kvm-lab")
SUBNET = "10.77.0"
WIRE_ADDRESS = f"{SUBNET}.254"
START_TIMEOUT_S = 30.0


class LabHost:
    """One host. ``number`` (1...) gives its name ``labh1``, its address and its uuid."""

    def __init__(self, lab: Lab, number: int) -> None:
        self.number = number
        self.name = f"labh{number}"
        self.address = f"{SUBNET}.{10 + number}"
        self.uuid = f"00000000-0077-4000-8000-00000000000{number}"
        self.namespace = f"{lab.prefix}-h{number}"
        self.state = lab.state / f"h{number}"
        self._lab = lab
        self._init = NotedProcess(self.state / "init.pid")
        self._parent = NotedProcess(self.state / "parent.pid")

    @property
    def uri(self) -> str:
        """The URI for a client on this machine."""
        return f"qemu+unix:///system?socket={self.state}/run/libvirt/libvirt-sock"

    @property
    def peer_uri(self) -> str:
        """The URI for the other hosts."""
        return f"qemu+tcp://{self.address}/system"

    @property
    def images(self) -> Path:
        """The host's own image folder as seen from outside; inside it is /var/lib/libvirt/images."""
        return self.state / "lib" / "images"

    @property
    def running(self) -> bool:
        """Whether the host has power."""
        return self._init.pid is not None

    def boot(self) -> None:
        """Switch the host on and wait for its libvirtd; does nothing when it is on."""
        if self.running:
            return
        packages = self._lab.packages
        shutil.rmtree(self.state / "run", ignore_errors=True)
        self._write_configuration()
        cgroups = make_cgroups(f"{self._lab.prefix}/h{self.number}", self._lab.host_memory_mib)
        (self.state / "cgroups").write_text(json.dumps([str(folder) for folder in cgroups]))
        log = (self.state / "init.log").open("w")
        parent = subprocess.Popen(
            [
                *_join_cgroups(cgroups),
                *("nsenter", f"--net=/run/netns/{self.namespace}"),
                *("unshare", "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--fork", "--kill-child"),
                *("--propagation", "private"),
                *("bash", str(HERE / "host_init.sh"), self.name, str(self.state), str(packages.sysroot)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        self._parent.note(parent.pid)
        wait_until(lambda: _child(parent.pid) or parent.poll() is not None, START_TIMEOUT_S, f"{self.name} has no init")
        if parent.poll() is not None:
            raise LabUnavailable(f"{self.name} died: {(self.state / 'init.log').read_text()[-600:]}")
        child = _child(parent.pid)
        if child is not None:
            self._init.note(child)
        self._await_libvirtd()

    def power_off(self) -> None:
        """Take the host's power away: everything in it dies at once."""
        self._init.kill()
        self._parent.kill()
        record = self.state / "cgroups"
        if record.exists():
            remove_cgroups([Path(folder) for folder in json.loads(record.read_text())])
            record.unlink()

    def run(self, *command: str, timeout: float = 60.0) -> str:
        """Run a command inside the host and return what it printed."""
        pid = self._init.pid
        if pid is None:
            raise LabUnavailable(f"{self.name} is off")
        cgroups = [Path(folder) for folder in json.loads((self.state / "cgroups").read_text())]
        inside = ("nsenter", "-t", str(pid), "-m", "-u", "-i", "-n", "-p", "-C", "--", *command)
        return run(*_join_cgroups(cgroups), *inside, timeout=timeout)

    def stop_libvirtd(self, signal: str = "TERM") -> None:
        """End libvirtd alone (``TERM`` or ``KILL``); its guests go on running."""
        script = 'p=$(cat /run/libvirtd.pid); kill -s "$1" "$p"; while kill -0 "$p" 2>/dev/null; do sleep 0.05; done'
        self.run("bash", "-c", script, "stop", signal)

    def start_libvirtd(self) -> None:
        """Start libvirtd again and wait for it."""
        self.run("bash", str(HERE / "virtd_start.sh"))
        self._await_libvirtd()

    @property
    def libvirtd_running(self) -> bool:
        """Whether the host's libvirtd lives."""
        answer = self.run("bash", "-c", "kill -0 $(cat /run/libvirtd.pid) 2>/dev/null && echo yes || echo no")
        return answer.strip() == "yes"

    def kill_guest(self, name: str) -> None:
        """Kill the QEMU process of a guest on this host."""
        self.run("bash", "-c", 'kill -KILL "$(cat "/run/libvirt/qemu/$1.pid")"', "kill", name)

    def shape_link(self, rate: str | None) -> None:
        """Limit what the host sends and receives to ``rate`` (as tc writes it, ``100mbit``); None lifts the limit."""
        for namespace, device in ((self.namespace, "up0"), (self._lab.wire, f"h{self.number}")):
            tc = ("ip", "netns", "exec", namespace, "tc", "qdisc")
            subprocess.run([*tc, "del", "dev", device, "root"], capture_output=True, timeout=10, check=False)
            if rate is not None:
                run(*tc, "add", "dev", device, "root", "tbf", "rate", rate, "burst", "256k", "latency", "50ms")

    def received_bytes(self) -> int:
        """Return how many bytes have come to the host over its network cable."""
        table = call_in_namespace(self._lab.wire, Path("/proc/thread-self/net/dev").read_text)
        (counts,) = (line.split(":")[1] for line in table.splitlines() if line.strip().startswith(f"h{self.number}:"))
        return int(counts.split()[8])  # what the wire's end of the cable has sent

    def cut_link(self) -> None:
        """Pull the host's network cable."""
        run("ip", "-n", self._lab.wire, "link", "set", f"h{self.number}", "down")

    def restore_link(self) -> None:
        """Put the host's network cable back."""
        run("ip", "-n", self._lab.wire, "link", "set", f"h{self.number}", "up")

    def make_network(self) -> None:
        """Make the host's network namespace with its bridge and the cable to the wire."""
        if Path(f"/run/netns/{self.namespace}").exists():
            return
        run("ip", "netns", "add", self.namespace)
        inside = ("ip", "-n", self.namespace)
        run("ip", "-n", self._lab.wire, "link", "add", f"h{self.number}", "type", "veth", "peer", "name", "up0",
            "netns", self.namespace)  # fmt: skip
        run("ip", "-n", self._lab.wire, "link", "set", f"h{self.number}", "master", "wire", "up")
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "link", "add", "br0", "type", "bridge")
        run(*inside, "link", "set", "up0", "master", "br0", "up")
        run(*inside, "addr", "add", f"{self.address}/24", "dev", "br0")
        run(*inside, "link", "set", "br0", "up")
        # what every Linux has and allows here: the queue of a full link fills, whatever this machine itself has chosen
        choose = "echo reno > /proc/sys/net/ipv4/tcp_congestion_control"
        run("ip", "netns", "exec", self.namespace, "sh", "-c", choose)

    def _await_libvirtd(self) -> None:
        def answers() -> bool:
            try:
                self.run("virsh", "-q", "version", timeout=10.0)
            except LabUnavailable:
                return False
            return True

        wait_until(answers, START_TIMEOUT_S, f"libvirtd on {self.name} does not answer", step_s=0.1)

    def _write_configuration(self) -> None:
        for folder in ("etc/qemu/networks", "etc/hooks", "run/libvirt", "lib/qemu", "lib/images", "lib/boot",
                       "lib/dnsmasq", "cache", "log"):  # fmt: skip
            (self.state / folder).mkdir(parents=True, exist_ok=True)
        (self.state / "etc" / "libvirtd.conf").write_text(
            "listen_tls = 0\nlisten_tcp = 1\n"
            f'listen_addr = "{self.address}"\n'
            'tcp_port = "16509"\nauth_tcp = "none"\nauth_unix_ro = "none"\nauth_unix_rw = "none"\n'
            'unix_sock_group = "root"\nunix_sock_rw_perms = "0700"\n'
            f'host_uuid = "{self.uuid}"\n'
            'log_level = 3\nlog_outputs = "3:file:/var/log/libvirt/libvirtd.log"\n'
            "keepalive_interval = 2\nkeepalive_count = 3\n"
        )
        (self.state / "etc" / "qemu.conf").write_text(
            'user = "root"\ngroup = "root"\ndynamic_ownership = 0\nremember_owner = 0\nsecurity_driver = "none"\n'
            'namespaces = []\nstdio_handler = "file"\n'
            'cgroup_controllers = [ "cpu", "cpuset", "cpuacct", "memory", "blkio", "devices" ]\n'
            f'shared_filesystems = [ "{self._lab.shared}" ]\n'
            f'migration_address = "{self.address}"\nmigration_host = "{self.address}"\n'
            "keepalive_interval = 2\nkeepalive_count = 3\n"
        )
        (self.state / "etc" / "libvirt.conf").write_text("")
        names = "".join(f"{host.address} {host.name}\n" for host in self._lab.hosts)
        (self.state / "hosts").write_text(f"127.0.0.1 localhost\n{names}")
        # libvirt resolves the user it was built for before it reads that it shall use another
        (self.state / "passwd").write_text(
            "root:x:0:0::/root:/bin/bash\nlibvirt-qemu:x:64055:64055::/:/usr/sbin/nologin\n"
        )
        (self.state / "group").write_text("root:x:0:\nkvm:x:64054:\nlibvirt-qemu:x:64055:\nlibvirt:x:64056:\n")


class Lab:
    """The hosts and the wire between them."""

    def __init__(self, name: str = "default", *, hosts: int = 3, host_memory_mib: int = 2048) -> None:
        """Describe a lab; nothing is made before `up`. ``host_memory_mib`` is what each host has and may use."""
        self.name = name
        self.prefix = f"fskvm-{name}"
        self.wire = f"{self.prefix}-wire"
        self.state = STATE / name
        self.shared = self.state / "shared"
        self.host_memory_mib = host_memory_mib
        self.hosts = [LabHost(self, number) for number in range(1, hosts + 1)]
        self._packages: Packages | None = None

    @property
    def packages(self) -> Packages:
        """The unpacked hypervisor and the guest's kernel; fetched when first needed."""
        if self._packages is None:
            self._packages = prepare()
        return self._packages

    def up(self) -> None:
        """Bring all hosts up; raises `LabUnavailable` when this machine cannot."""
        _unused = self.packages  # first, for it is what tells that this machine cannot
        self.shared.mkdir(parents=True, exist_ok=True)
        if not Path(f"/run/netns/{self.wire}").exists():
            run("ip", "netns", "add", self.wire)
            run("ip", "-n", self.wire, "link", "add", "wire", "type", "bridge")
            run("ip", "-n", self.wire, "addr", "add", f"{WIRE_ADDRESS}/24", "dev", "wire")
            run("ip", "-n", self.wire, "link", "set", "wire", "up")
        for host in self.hosts:
            host.make_network()
            host.boot()

    def down(self) -> None:
        """End everything and remove everything that `up` made, whatever state it is in."""
        for host in self.hosts:
            host.power_off()
        _remove_cgroup_parents(self.prefix)
        for namespace in (*(host.namespace for host in self.hosts), self.wire):
            if Path(f"/run/netns/{namespace}").exists():
                run("ip", "netns", "del", namespace)
        shutil.rmtree(self.state, ignore_errors=True)
        if STATE.is_dir() and not any(STATE.iterdir()):
            STATE.rmdir()

    def status(self) -> Iterator[str]:
        """Yield one line a host: whether it is on, how to reach it, and its guests."""
        for host in self.hosts:
            if not host.running:
                yield f"{host.name} off"
                continue
            guests = " ".join(host.run("virsh", "-q", "list", "--all", "--name").split())
            yield f"{host.name} on  {host.uri}  guests: {guests or 'none'}"


def _remove_cgroup_parents(name: str) -> None:
    for parent in own_cgroups().values():
        if (parent / name).is_dir():
            (parent / name).rmdir()


def _join_cgroups(folders: list[Path]) -> tuple[str, ...]:
    """Return the front of a command line that puts the command into the cgroups first."""
    files = [str(folder / "cgroup.procs") for folder in folders]
    script = 'n=$1; shift; while [ "$n" -gt 0 ]; do echo $$ > "$1"; shift; n=$((n - 1)); done; exec "$@"'
    return ("sh", "-c", script, "join", str(len(files)), *files)


def _child(pid: int) -> int | None:
    """Return the one child of a process, or None while it has none."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(children[0]) if children else None


def all_labs() -> list[Lab]:
    """Return every lab that has left something on this machine."""
    return [Lab(folder.name) for folder in sorted(STATE.iterdir())] if STATE.is_dir() else []


def lab_from_environment() -> Lab:
    """Return the lab that ``FORESIGHT_KVM_LAB`` names (``default`` when unset)."""
    return Lab(os.environ.get("FORESIGHT_KVM_LAB", "default"))
