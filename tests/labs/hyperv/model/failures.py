# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Windows says when something fails: messages (translated), ids and codes (the same in every language).

The numbers of `NO_CREDENTIALS_ID` and its like are the lab's own but for 33012: Microsoft documents none of them, and
nothing may depend on them. Codes in brackets are those of "HRESULT Values" in [MS-ERREF].
"""

from __future__ import annotations

from dataclasses import dataclass

_COMMANDS = "Microsoft.HyperV.PowerShell.Commands"
NO_CREDENTIALS_ID, NO_CONNECTION_ID, NO_MEMORY_ID, LIMIT_ID = 90001, 90002, 90003, 90004


@dataclass(eq=False)
class PowerShellError(Exception):
    """A terminating error of a script."""

    message: str
    error_id: str
    category: str = "NotSpecified"
    activity: str = ""
    target: str = ""
    hresults: tuple[str, ...] = ("0x80131500",)

    def as_reply(self) -> dict[str, object]:
        """Return what the bootstrap tells of it."""
        return {
            "message": self.message,
            "id": self.error_id,
            "category": self.category,
            "activity": self.activity,
            "target": self.target,
            "hresults": list(self.hresults),
        }


def _told(language: str, english: str, german: str) -> str:
    return german if language.startswith("de") else english


def no_credentials(language: str, source: str, destination: str) -> str:
    """The second hop: the host has no credentials of the user to log in with at the destination."""
    return _told(
        language,
        f"Virtual machine migration operation failed at migration source '{source}'. Failed to establish a connection "
        f"with host '{destination}': No credentials are available in the security package (0x8009030E).",
        f"Fehler am Quellhost '{source}': Mit dem Host '{destination}' konnte keine Verbindung hergestellt werden: Im "
        "Sicherheitspaket sind keine Anmeldeinformationen verfügbar (0x8009030E).",
    )


def no_connection(language: str, destination: str) -> str:
    """The destination does not take migrations."""
    return _told(
        language,
        f"Failed to establish a connection with host '{destination}': The target machine actively refused it. "
        "(0x8007274D)",
        f"Es konnte keine Verbindung mit dem Host '{destination}' hergestellt werden. (0x8007274D)",
    )


def no_switch(language: str, switch: str) -> str:
    """The destination has no switch of that name."""
    return _told(
        language,
        f"Could not find Ethernet switch '{switch}'.",
        f"Der Ethernet-Switch '{switch}' wurde nicht gefunden.",
    )


def no_memory(language: str, vm: str) -> str:
    """The destination has too little memory for the VM."""
    return _told(
        language,
        f"'{vm}' could not initialize memory: Not enough memory resources are available to complete this operation. "
        "(0x8007000E)",
        f"'{vm}' konnte den Arbeitsspeicher nicht initialisieren: Für diesen Vorgang sind nicht genügend "
        "Arbeitsspeicherressourcen verfügbar. (0x8007000E)",
    )


def limit_reached(language: str, host: str) -> str:
    """The host does as many migrations as it may."""
    return _told(
        language,
        f"The maximum number of simultaneous live migrations has been reached on host '{host}'. (0x80070008)",
        f"Auf dem Host '{host}' wurde die maximale Anzahl gleichzeitiger Livemigrationen erreicht. (0x80070008)",
    )


def no_processors_left(language: str) -> str:
    """The reserves of all VMs would be more than the host has."""
    return _told(language, "The CPU reserve cannot be satisfied.", "Die CPU-Reserve kann nicht erfüllt werden.")


def invalid_while_running(language: str) -> str:
    """A setting that a running VM does not take."""
    return _told(
        language,
        "The operation cannot be performed while the virtual machine is in its current state.",
        "Der Vorgang kann im aktuellen Zustand des virtuellen Computers nicht ausgeführt werden.",
    )


def wrong_bandwidth_mode(language: str) -> str:
    """A minimum that the switch's mode does not know."""
    return _told(
        language,
        "The virtual switch does not support this minimum bandwidth mode.",
        "Der virtuelle Switch unterstützt diesen Modus der Mindestbandbreite nicht.",
    )


def access_denied(language: str) -> PowerShellError:
    """The user is no Hyper-V administrator."""
    return PowerShellError(
        _told(
            language,
            "You do not have the required permission to complete this task. Contact the administrator of the "
            "authorization policy for the computer.",
            "Sie verfügen nicht über die erforderliche Berechtigung, um diese Aufgabe abzuschließen.",
        ),
        f"AccessDenied,{_COMMANDS}.GetVM",
        category="PermissionDenied",
        activity="Get-VM",
        hresults=("0x80070005",),
    )


def role_missing(language: str) -> PowerShellError:
    """There is no Hyper-V role, hence no CIM namespace of its own."""
    return PowerShellError(
        _told(language, "Invalid namespace ", "Ungültiger Namespace "),
        "HRESULT 0x8004100e,Microsoft.Management.Infrastructure.CimCmdlets.GetCimInstanceCommand",
        category="MetadataError",
        activity="Get-CimInstance",
        target="root\\virtualization\\v2:Msvm_ComputerSystem",
    )


def command_missing(language: str, command: str) -> PowerShellError:
    """A cmdlet's module is not installed."""
    return PowerShellError(
        _told(
            language,
            f"The term '{command}' is not recognized as the name of a cmdlet, function, script file, or operable "
            "program.",
            f'Die Benennung "{command}" wurde nicht als Name eines Cmdlet, einer Funktion, einer Skriptdatei oder '
            "eines ausführbaren Programms erkannt.",
        ),
        "CommandNotFoundException",
        category="ObjectNotFound",
        target=command,
        hresults=("0x80131501",),
    )


def no_such_node(language: str, node: str) -> PowerShellError:
    """The cluster has no node of that name."""
    return PowerShellError(
        _told(
            language,
            f"The cluster node '{node}' was not found.",
            f"Der Clusterknoten '{node}' wurde nicht gefunden.",
        ),
        "Move-ClusterVirtualMachineRole,Microsoft.FailoverClusters.PowerShell.MoveClusterVirtualMachineRoleCommand",
        category="ObjectNotFound",
        activity="Move-ClusterVirtualMachineRole",
        hresults=("0x800713B2",),
    )
