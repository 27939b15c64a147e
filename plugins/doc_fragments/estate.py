# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options in ``ansible/arguments.py`` under ENDPOINTS."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  endpoints:
    description:
      - The hypervisors or their managers that make up the estate.
      - A module that has to ask a hypervisor fails when there is none; others take it as a common default.
      - Set it once for all modules through C(module_defaults) of C(group/foresight.migration.estate).
      - An environment variable that a suboption falls back to is read for endpoints of the type it is named for only.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Your name for this endpoint, unique in the list and stable over time, as stored data refers to it.
          - It holds no slash.
        type: str
        required: true
      type:
        description:
          - What answers there, V(simulated) for an estate replayed from a scenario file, V(vmware) for a vCenter or a
            lone ESXi host, V(libvirt) for a KVM host, V(hyperv) for a Hyper-V host or failover cluster.
        type: str
        required: true
      timeout_s:
        description: How long a single call to this endpoint may take, in seconds.
        type: float
        default: 60.0
      scenario:
        description: For V(simulated), the scenario file (YAML), as the collection's C(docs/simulated.md) describes it.
        type: path
      state_path:
        description:
          - For V(simulated), the file that keeps its state between tasks, on a local disk.
          - By default a file below C(~/.foresight/simulated), one for each scenario's path.
        type: path
      hostname:
        description:
          - For V(vmware), the name or address of the vCenter or ESXi host.
          - Falls back to the environment variable E(VMWARE_HOST).
        type: str
      username:
        description:
          - For V(vmware), whom to log in as, such as V(user@vsphere.local).
          - Falls back to the environment variable E(VMWARE_USER).
        type: str
      password:
        description:
          - For V(vmware), that user's password.
          - Falls back to the environment variable E(VMWARE_PASSWORD).
        type: str
      port:
        description:
          - For V(vmware), the port, V(443) if not given.
          - Falls back to the environment variable E(VMWARE_PORT).
        type: int
      validate_certs:
        description:
          - For V(vmware), whether its TLS certificate must be valid, on localhost too; V(true) if not given.
          - Falls back to the environment variable E(VMWARE_VALIDATE_CERTS).
        type: bool
      ca_path:
        description:
          - For V(vmware), a file of CA certificates (PEM) to trust instead of the system's.
          - Falls back to the environment variable E(VMWARE_CA_PATH).
        type: path
      proxy_host:
        description:
          - For V(vmware), the HTTP proxy to go through.
          - Falls back to the environment variable E(VMWARE_PROXY_HOST).
        type: str
      proxy_port:
        description:
          - For V(vmware), the proxy's port, V(3128) if not given.
          - Falls back to the environment variable E(VMWARE_PROXY_PORT).
        type: int
      uri:
        description:
          - For V(libvirt), the URI of the host, for example V(qemu+ssh://root@kvm1.example.com/system).
          - Falls back to the environment variable E(LIBVIRT_DEFAULT_URI).
        type: str
      readonly:
        description: For V(libvirt), open the connection read-only, which is enough to collect metrics.
        type: bool
        default: false
      keyfile:
        description: For V(libvirt) over ssh, the private key.
        type: path
      known_hosts:
        description: For V(libvirt) over libssh or libssh2, the file with the hosts' keys.
        type: path
      known_hosts_verify:
        description: For V(libvirt) over libssh or libssh2, whether unknown host keys are accepted.
        type: str
        choices: [normal, auto, ignore]
      pkipath:
        description: For V(libvirt) over TLS, the folder with C(cacert.pem), C(clientcert.pem) and C(clientkey.pem).
        type: path
      sasl_username:
        description:
          - For V(libvirt) over TCP or TLS with SASL, whom to log in as.
          - Falls back to the environment variable E(FORESIGHT_LIBVIRT_USERNAME).
        type: str
      sasl_password:
        description:
          - For V(libvirt) over TCP or TLS with SASL, that user's password.
          - Falls back to the environment variable E(FORESIGHT_LIBVIRT_PASSWORD).
        type: str
      migration_mode:
        description:
          - For V(libvirt), who carries a migration to this host out.
          - With V(p2p) the source's daemon does, and goes on when this module dies.
          - With V(direct) the module does, and the hosts' daemons need not reach each other; when it dies,
            the VM stays on its source.
        type: str
        choices: [p2p, direct]
        default: p2p
      migration_uri:
        description:
          - For V(libvirt), the URI by which the other hosts' daemons reach this host.
          - If not given, O(endpoints[].uri) is used.
        type: str
      migration_address:
        description:
          - For V(libvirt), the address of this host for the data of migrations, where they have a network of their own.
        type: str
      migration_tunnelled:
        description: For V(libvirt), send the data of migrations through the daemons' connection.
        type: bool
        default: false
      migration_tls:
        description: For V(libvirt), encrypt the data of migrations by QEMU's own TLS.
        type: bool
        default: false
      shared_storage:
        description:
          - For V(libvirt), folders that are the same on all hosts, such as a mounted NFS export.
          - For V(hyperv), SMB shares that the endpoint's hosts reach beside those that their VMs are seen to use,
            such as V(\\\\files.example.com\\vms).
        type: list
        elements: str
        default: []
      hold_backing:
        description: For V(libvirt), the kind of memory that a hard reservation takes on this host.
        type: str
        choices: [allocated, locked, hugepages]
        default: allocated
      limit_residents:
        description:
          - For V(libvirt), the resources that a hard reservation may hold on this host by limiting the VMs that run
            there, until it is settled or released. None is limited below what it is forecast to need or was promised
            itself, and limits that somebody else set stay.
          - What is not listed, or cannot be held so without harm, is held by the ledger alone.
        type: list
        elements: str
        choices: [network, disk]
        default: []
      network_mbit_s:
        description:
          - For V(libvirt), what the host's network can carry for its VMs, where libvirt does not know it.
          - For V(hyperv), the same of every host, where it is not the sum of the interfaces that are up.
        type: float
      disk_mib_s:
        description: For V(libvirt) and V(hyperv), what a host's storage can carry, which these do not know.
        type: float
      migration_link_mbit_s:
        description:
          - For V(libvirt) and V(hyperv), the bandwidth for migrations, if it is not that of the host's fastest
            interface.
        type: float
      winrm_hosts:
        description:
          - For V(hyperv), the standalone host, or one or more nodes of a failover cluster, by name or address, with
            V(:port) where it is not O(endpoints[].winrm_port).
          - The first node that answers speaks for the cluster; all of its nodes are then asked themselves.
          - Every standalone host needs an endpoint of its own.
          - Falls back to the environment variable E(FORESIGHT_HYPERV_HOSTS), with commas between hosts.
        type: list
        elements: str
      winrm_node_addresses:
        description:
          - For V(hyperv), the addresses of the cluster's nodes by their computer names, where these with their domain
            cannot be resolved from here. Each may end in V(:port).
        type: dict
      winrm_scheme:
        description: For V(hyperv), how WinRM is spoken; V(http) is for transports that encrypt messages themselves.
        type: str
        choices: [https, http]
        default: https
      winrm_port:
        description:
          - For V(hyperv), the port of WinRM, V(5986) for https and V(5985) for http if not given.
          - Falls back to the environment variable E(FORESIGHT_HYPERV_PORT).
        type: int
      winrm_transport:
        description:
          - For V(hyperv), how to log in, one of V(kerberos), V(ntlm), V(basic) and V(certificate).
          - If not given, it is V(ntlm).
          - V(credssp) is refused, as Windows Server 2025 does not let it work.
          - Falls back to the environment variable E(FORESIGHT_HYPERV_TRANSPORT).
        type: str
      winrm_username:
        description:
          - For V(hyperv), whom to log in as, such as V(DOMAIN\\user) or V(user@EXAMPLE.COM).
          - Falls back to the environment variable E(FORESIGHT_HYPERV_USERNAME).
        type: str
      winrm_password:
        description:
          - For V(hyperv), that user's password; not used with V(kerberos), which takes the ticket of C(kinit).
          - Falls back to the environment variable E(FORESIGHT_HYPERV_PASSWORD).
        type: str
      winrm_validate_certs:
        description:
          - For V(hyperv), whether the TLS certificates of the hosts must be valid, V(true) if not given.
          - Falls back to the environment variable E(FORESIGHT_HYPERV_VALIDATE_CERTS).
        type: bool
      winrm_ca_path:
        description:
          - For V(hyperv), a file of CA certificates (PEM) to trust instead of the system's.
          - Falls back to the environment variable E(FORESIGHT_HYPERV_CA_PATH).
        type: path
      winrm_cert_pem:
        description:
          - For V(hyperv) with the transport V(certificate), the file with the client's certificate (PEM).
          - Falls back to the environment variable E(FORESIGHT_HYPERV_CERT_PEM).
        type: path
      winrm_cert_key_pem:
        description:
          - For V(hyperv) with the transport V(certificate), the file with the key of that certificate (PEM).
          - Falls back to the environment variable E(FORESIGHT_HYPERV_CERT_KEY_PEM).
        type: path
      winrm_kerberos_delegation:
        description:
          - For V(hyperv) with the transport V(kerberos), hand a forwardable ticket to the host, so that it may log in
            at others as you. Constrained delegation between the hosts is the narrower way.
        type: bool
        default: false
requirements:
  - python >= 3.11
"""
