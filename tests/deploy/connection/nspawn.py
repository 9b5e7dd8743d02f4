"""An Ansible connection into a root that systemd-nspawn booted: commands by nsenter, files by the root's folder."""

from __future__ import annotations

import shutil
import subprocess

from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: nspawn
short_description: into a booted systemd-nspawn root
description: For the tests of the role; needs root.
author: The wavewall contributors
options:
  leader:
    description: Process id of the container's init.
    vars: [{name: nspawn_leader}]
  root:
    description: Folder of its root.
    vars: [{name: nspawn_root}]
"""


class Connection(ConnectionBase):
    transport = "nspawn"
    has_pipelining = True

    def _connect(self):
        self._connected = True
        return self

    def exec_command(self, cmd, in_data=None, sudoable=True):
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        leader = str(self.get_option("leader"))
        done = subprocess.run(
            ["nsenter", "-t", leader, "-m", "-u", "-i", "-p", "-C", "--root", "--wd", "sh", "-c", cmd],
            input=in_data, capture_output=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def put_file(self, in_path, out_path):
        shutil.copyfile(in_path, f"{self.get_option('root')}{out_path}")

    def fetch_file(self, in_path, out_path):
        shutil.copyfile(f"{self.get_option('root')}{in_path}", out_path)

    def close(self):
        self._connected = False
