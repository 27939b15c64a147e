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
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Your name for this endpoint, unique in the list and stable over time, as stored data refers to it.
        type: str
        required: true
      type:
        description:
          - What answers there, V(simulated) for an estate replayed from a scenario file, V(vmware) for a vCenter or a
            lone ESXi host.
        type: str
        required: true
      timeout_s:
        description: How long a single call to this endpoint may take, in seconds.
        type: float
        default: 60.0
      scenario:
        description: For V(simulated), the scenario file (YAML).
        type: path
      state_path:
        description: For V(simulated), the file that keeps its state between tasks.
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
          - For V(vmware), whether its TLS certificate must be valid, on localhost too.
          - Falls back to the environment variable E(VMWARE_VALIDATE_CERTS).
        type: bool
        default: true
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
requirements:
  - python >= 3.11
"""
