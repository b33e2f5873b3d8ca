"""Run a command with the network cut off: python .ci/offline.py {auto,must,no} COMMAND...

The command gets an empty network of its own with only the loopback device, as root or as a normal user. Where the
machine forbids that, `auto` says so and runs the command plainly, `must` stops; `no` runs it plainly.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys

# The first way works for root, the second keeps a normal user's own id, the third is for an older `unshare`.
WAYS = (["unshare", "-n"], ["unshare", "-cn", "--keep-caps"], ["unshare", "-rn"])
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4


def main() -> None:
    mode, command = sys.argv[1], sys.argv[2:]
    if mode == "inside":
        raise_loopback()
        # Programs that talk to themselves (gloo) must not look for another device.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    elif mode in ("auto", "must"):
        for way in WAYS:
            if works([*way, sys.executable, __file__, "inside", "true"]):
                print("tests run with the network cut off", flush=True)
                command = [*way, sys.executable, __file__, "inside", *command]
                break
        else:
            if mode == "must":
                sys.exit("error: this machine allows no private network (unshare -n); use OFFLINE=auto or OFFLINE=no")
            print("note: this machine allows no private network (unshare -n); tests run with the network on", flush=True)
    elif mode != "no":
        sys.exit(f"error: OFFLINE={mode} is unknown; use auto, must or no")
    os.execvp(command[0], command)  # noqa: S606


def works(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def raise_loopback() -> None:
    """Switch the loopback device on, then give up the right to do so: tests about file permissions need that."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16sH14x", b"lo", 0))
        flags = struct.unpack("16sH14x", request)[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))
    if os.getuid() != 0:
        ctypes.CDLL(None).prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


if __name__ == "__main__":
    main()
