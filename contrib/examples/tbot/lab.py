"""A tbot lab whose boards are locked through boardlock: `lock_dir`, and nothing else.

`lock_checkpid`, `lock_expiry` and the boards' machines stay as they are. A board is free
when the lab host's shell ends, however it does.
"""

import tbot
from tbot.machine import connector, linux
from tbot_contrib import locking


class Lab(
    connector.SubprocessConnector,  # or the SSHConnector that you have
    locking.LockManager,
    linux.Bash,
    tbot.role.LabHost,
):
    name = "lab"

    @property
    def lock_dir(self) -> linux.Path:
        return self.fsroot / "run" / "locks"


def register_machines(ctx: tbot.Context) -> None:
    ctx.register(Lab, tbot.role.LabHost)
