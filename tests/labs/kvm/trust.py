# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who a lab host is and whom it lets in: certificates of an authority, and an ssh server, with keys made here."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from .lab import LabHost
from .namespaces import wait_until
from .packages import run, ssh_server

DAYS = "2"
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
START_TIMEOUT_S = 10.0
#: Where a host's own files of these kinds are, as seen from inside.
INSIDE = Path("/etc/libvirt")


@dataclass(frozen=True)
class Authority:
    """A certificate authority in a folder of its own."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Authority:
        """Make a new one."""
        folder.mkdir(parents=True)
        authority = cls(folder)
        run("openssl", "req", "-x509", *NEW_KEY, "-days", DAYS, "-subj", f"/CN={folder.name}",
            "-keyout", authority.key, "-out", authority.certificate, "-addext",
            "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
        return authority

    @property
    def certificate(self) -> Path:
        return self.folder / "cacert.pem"

    @property
    def key(self) -> Path:
        return self.folder / "cakey.pem"

    def issue(self, folder: Path, name: str, address: str, *trusted: Authority) -> Path:
        """Issue a certificate for both sides of a connection, in all the names by which libvirt and QEMU look for it.

        Its owner trusts this authority and those in ``trusted``. Returns ``folder``.
        """
        folder.mkdir(parents=True)
        key, request, certificate, extensions = (folder / f"own.{kind}" for kind in ("key", "csr", "pem", "ext"))
        extensions.write_text(
            f"subjectAltName=DNS:{name},IP:{address}\nkeyUsage=critical,digitalSignature,keyEncipherment\n"
            "extendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=critical,CA:FALSE\n"
        )
        run("openssl", "req", *NEW_KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        run("openssl", "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
            "-days", DAYS, "-extfile", extensions, "-out", certificate)  # fmt: skip
        for authority_name in ("cacert.pem", "ca-cert.pem"):  # as libvirt and as QEMU calls it
            bundle = "".join(authority.certificate.read_text() for authority in (self, *trusted))
            (folder / authority_name).write_text(bundle)
        for side in ("server", "client"):
            for dash in ("", "-"):
                shutil.copy(certificate, folder / f"{side}{dash}cert.pem")
                shutil.copy(key, folder / f"{side}{dash}key.pem")
        return folder


def serve_tls(host: LabHost, issuer: Authority, *trusted: Authority, address: str = "") -> None:
    """Let a host's libvirtd and QEMUs speak TLS with a certificate for its address (or ``address``) by ``issuer``.

    Clients are let in with certificates of ``issuer`` and of ``trusted``.
    """
    folder = host.state / "etc" / "pki"
    shutil.rmtree(folder, ignore_errors=True)
    issuer.issue(folder, "other" if address else host.name, address or host.address, *trusted)
    inside = INSIDE / "pki"
    _add_lines(
        host.state / "etc" / "libvirtd.conf",
        "listen_tls = 1",
        f'ca_file = "{inside}/cacert.pem"',
        f'cert_file = "{inside}/servercert.pem"',
        f'key_file = "{inside}/serverkey.pem"',
    )
    _add_lines(
        host.state / "etc" / "qemu.conf",
        f'migrate_tls_x509_cert_dir = "{inside}"',
        "migrate_tls_x509_verify = 1",
    )
    restart(host)


def _add_lines(path: Path, *lines: str) -> None:
    """Put settings at the end of a configuration file, in place of those that it has."""
    names = {line.split(" = ")[0] for line in lines}
    kept = [line for line in path.read_text().splitlines() if line.split(" = ")[0] not in names]
    path.write_text("\n".join([*kept, *lines]) + "\n")


def restart(host: LabHost) -> None:
    """Start a host's libvirtd anew; its guests go on running."""
    host.stop_libvirtd()
    host.start_libvirtd()


def make_key(path: Path) -> Path:
    """Make an ssh key; returns its file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", path)
    return path


def serve_ssh(host: LabHost, allowed: Path) -> str:
    """Start an ssh server on a host that lets root in with the key ``allowed``; returns its known_hosts line."""
    tree = ssh_server()
    folder = host.state / "etc" / "ssh"
    folder.mkdir(parents=True)
    key = make_key(folder / "host_key")
    shutil.copy(allowed.with_suffix(".pub"), folder / "authorized_keys")
    inside = INSIDE / "ssh"
    (folder / "config").write_text(
        f"ListenAddress {host.address}\nHostKey {inside}/host_key\nAuthorizedKeysFile {inside}/authorized_keys\n"
        f"PidFile {inside}/sshd.pid\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nAllowUsers root\n"
    )
    with (host.state / "passwd").open("a") as users:
        users.write("sshd:x:64057:64057::/run/sshd:/usr/sbin/nologin\n")
    libraries = tree / "usr" / "lib" / "x86_64-linux-gnu"
    host.run("mkdir", "-p", "-m", "755", "/run/sshd")
    host.run("env", f"LD_LIBRARY_PATH={libraries}", str(tree / "usr" / "sbin" / "sshd"), "-f", f"{inside}/config",
             "-E", "/var/log/libvirt/sshd.log")  # fmt: skip
    wait_until((folder / "sshd.pid").exists, START_TIMEOUT_S, f"sshd on {host.name} does not run")
    kind, public = key.with_suffix(".pub").read_text().split()[:2]
    return f"{host.address} {kind} {public}\n"


def stop_ssh(host: LabHost) -> None:
    """End a host's ssh server."""
    host.run("bash", "-c", f"kill $(cat {INSIDE}/ssh/sshd.pid)")
    shutil.rmtree(host.state / "etc" / "ssh")
