"""PostgreSQL with a synchronous standby that can take over, and its WAL on a small file system that can be filled."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections import Counter
from contextlib import suppress
from urllib.parse import urlsplit

from holdfast_devstack.child_process import StartError
from holdfast_devstack.postgres import PostgresServer, children_of

DATABASE = "holdfast"
STANDBY = "standby"
_START_SECONDS = 60.0
_BASEBACKUP_SECONDS = 20.0
_NEW_STANDBY_SECONDS = 60.0
_CAUGHT_UP_SECONDS = 8.0
_ANSWER_SECONDS = 4.0
_LOOK_SECONDS = 0.05
_CAUGHT_UP = """
    SELECT coalesce(bool_or(sync_state = 'sync' AND state = 'streaming' AND flush_lsn >= '{position}'), false)
    FROM pg_stat_replication
"""
_SETTINGS = {
    "wal_level": "replica",
    "max_wal_senders": "8",
    "hot_standby": "on",
    # In the data directory, because a killed server leaves its shared memory behind elsewhere.
    "dynamic_shared_memory_type": "mmap",
    "max_connections": "80",
    "shared_buffers": "32MB",
    "max_wal_size": "64MB",
    "min_wal_size": "32MB",
    "wal_sender_timeout": "5s",
    "wal_receiver_timeout": "5s",
    "wal_retrieve_retry_interval": "200ms",
    # WAL that is kept for a standby that was disconnected.
    "wal_keep_size": "64MB",
}


class Server(PostgresServer):
    """A server that can be frozen, and created as the copy of another."""

    def __init__(self, directory, settings, logs, copy_of=None, wal_disk=None):
        """`copy_of` returns the connection URL of the primary, through the link that the standby uses.

        Its log is kept in `logs` when it is discarded.
        """
        super().__init__(directory, settings=settings)
        self.wal_disk = wal_disk
        self._logs = logs
        self._copy_of = copy_of

    @property
    def directory(self):
        return self._directory

    @property
    def is_running(self):
        return self._child is not None and self._child.is_running

    def freeze(self):
        """Send SIGSTOP to the postmaster and all its children."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self):
        self._signal_all(signal.SIGCONT)

    def prepare(self):
        if self.wal_disk is not None:
            self.wal_disk.mount()
        super().prepare()

    def discard(self):
        """Stop it, and delete its data."""
        if self._child is not None:
            self.thaw()
            self.kill()
            with suppress(OSError):
                shutil.copy(self.child.log_path, self._logs / f"{self._directory.name}.log")
        if self.wal_disk is not None:
            self.wal_disk.unmount()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _initialise(self):
        if self._copy_of is not None:
            self._copy()
        else:
            super()._initialise()
            if self.wal_disk is not None:
                self._move_wal()

    def _move_wal(self):
        wal = self._cluster / "pg_wal"
        target = self.wal_disk.directory / "pg_wal"
        shutil.copytree(wal, target, symlinks=True)
        self._identity.own(target)
        target.chmod(0o700)
        shutil.rmtree(wal)
        wal.symlink_to(target)

    def _copy(self):
        url = self._copy_of()
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(urlsplit(url).password)
        draft = self._directory / "cluster.draft"
        shutil.rmtree(draft, ignore_errors=True)
        wal = [] if self.wal_disk is None else [f"--waldir={self.wal_disk.directory / 'pg_wal'}"]
        name = f"{url}?application_name={STANDBY}"
        options = ["--dbname", name, "--pgdata", str(draft), "--checkpoint=fast", "--no-sync", "--write-recovery-conf"]
        command = [*self._identity.prefix, str(self._binaries / "pg_basebackup"), *options, *wal]
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_BASEBACKUP_SECONDS, check=False
        )
        if result.returncode != 0:
            raise StartError(f"pg_basebackup failed: {result.stderr.strip()}")
        draft.replace(self._cluster)

    def _signal_all(self, number):
        if self.is_running:
            for pid in (self.child.pid, *children_of(self.child.pid)):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)


class WalDisk:
    """A small file system for a server's WAL. Needs root; `create` returns None where it cannot be had."""

    _MEGABYTES = 192

    def __init__(self, directory):
        self.directory = directory
        self._filler = directory / "filler"

    @classmethod
    def create(cls, directory):
        disk = cls(directory)
        try:
            disk.mount()
        except (OSError, subprocess.SubprocessError):
            return None
        return disk

    def mount(self):
        if not self.directory.is_mount():
            self.directory.mkdir(parents=True, exist_ok=True)
            options = ["-t", "tmpfs", "-o", f"size={self._MEGABYTES}m,mode=0777", "holdfast-chaos"]
            subprocess.run(["mount", *options, str(self.directory)], check=True, capture_output=True, timeout=10)

    def unmount(self):
        if self.directory.is_mount():
            subprocess.run(["umount", "--lazy", str(self.directory)], check=False, capture_output=True, timeout=10)

    def fill(self):
        """Fill it completely."""
        piece = bytes(1 << 20)
        with suppress(OSError), self._filler.open("wb", buffering=0) as filler:
            while filler.write(piece) == len(piece):
                pass

    def free(self):
        self._filler.unlink(missing_ok=True)


class Databases:
    """A primary and a standby that every COMMIT waits for, so that the promoted standby has all commits."""

    def __init__(self, directory, settings, logs, replication, with_wal_disk=True):
        """`replication` is the link by which the standby reaches the primary."""
        self.primary = None
        self.standby = None
        self.service_links = []
        """Links to the present primary."""
        self.wal_disk_missing = False
        self.troubles = Counter()
        """The reasons why the primary could not be copied, with their numbers."""
        self._directory, self._settings = directory, _SETTINGS | settings
        self._logs = logs
        self._replication = replication
        self._with_wal_disk = with_wal_disk
        self._servers = 0

    def url(self, link):
        """Return the URL of the services' database, through a link."""
        return link.through(self.primary.url(DATABASE))

    def prepare(self):
        """Create the primary's data. Call it on any thread, before `start`."""
        self.primary = self._new_server()
        self.primary.prepare()

    async def start(self):
        """Start both."""
        await self.start_primary()
        await asyncio.to_thread(self.primary.create_database, DATABASE)
        await self._ask("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        await self._ask("SELECT pg_reload_conf()")
        await self.add_standby()

    async def start_primary(self):
        """Start it, also after its death."""
        self.primary.spawn()  # On the main thread: the kernel stops it when the thread that started it ends.
        await asyncio.to_thread(self.primary.wait_until_ready, _START_SECONDS)
        self.aim_links()

    def aim_links(self):
        """Let all links lead to the primary."""
        for link in (*self.service_links, self._replication):
            link.aim(self.primary.port)

    async def add_standby(self):
        """Create a new standby as a copy of the primary, and wait until it confirms COMMITs."""
        async with asyncio.timeout(_NEW_STANDBY_SECONDS):
            while True:
                self.standby = self._new_server(copy_of=lambda: self._replication.through(self.primary.url()))
                try:
                    await asyncio.to_thread(self.standby.prepare)
                    break
                except (StartError, subprocess.SubprocessError) as error:
                    self.troubles[str(error).splitlines()[-1][-200:]] += 1
                    # The primary or the link may fail in the meantime because of an earlier fault.
                    await asyncio.to_thread(self.standby.discard)
                    await self.ensure_primary()
            await self.start_standby()
            await self.until_synchronous(_NEW_STANDBY_SECONDS)

    async def start_standby(self):
        """Start it, or start it again after its death. It need not have caught up."""
        self.standby.spawn()
        await asyncio.to_thread(self.standby.wait_until_ready, _START_SECONDS)

    async def ensure_synchronous(self):
        """Wait until a standby confirms COMMITs: a new one, if this one cannot catch up any more."""
        try:
            await self.until_synchronous()
        except TimeoutError:
            # The WAL that it lacks may have been removed.
            await asyncio.to_thread(self.standby.discard)
            await self.add_standby()

    async def until_synchronous(self, within_seconds=_CAUGHT_UP_SECONDS):
        """Wait until the standby confirms COMMITs and has caught up. Raises TimeoutError."""
        position = None
        async with asyncio.timeout(within_seconds):
            while True:
                try:
                    position = position or await self._ask("SELECT pg_current_wal_flush_lsn()")
                    if await self._ask(_CAUGHT_UP.format(position=position)) == "t":
                        return
                except (RuntimeError, subprocess.SubprocessError):
                    position = None
                    await self.ensure_primary()
                await asyncio.sleep(_LOOK_SECONDS)

    async def promote(self):
        """Discard the primary, and promote the standby, which becomes the primary."""
        former = self.primary
        former.kill()
        await asyncio.to_thread(self.standby.execute, "SELECT pg_promote()")
        self.primary, self.standby = self.standby, None
        self.aim_links()
        await asyncio.to_thread(former.discard)

    async def repair(self):
        """Repair all faults: both run, and the standby has caught up."""
        self.primary.thaw()
        if self.primary.wal_disk is not None:
            self.primary.wal_disk.free()
        await self.ensure_primary()
        if self.standby is None:
            await self.add_standby()
        self.standby.thaw()
        if not self.standby.is_running:
            await self.start_standby()
        await self.ensure_synchronous()

    def close(self):
        """Stop both, and delete their data."""
        for server in (self.standby, self.primary):
            if server is not None:
                server.discard()

    async def ensure_primary(self):
        """Wait until the primary answers. It is started again if it has ended, or if it does not recover: a PostgreSQL
        whose recovery fails because the disk is full may neither end nor try again.
        """
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                while self.primary.is_running:
                    with suppress(RuntimeError, subprocess.SubprocessError):
                        await self._ask("SELECT 1")
                        return
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            self.primary.kill()
        await self.start_primary()

    async def _ask(self, statement):
        return await asyncio.to_thread(self.primary.execute, statement)

    def _new_server(self, copy_of=None):
        self._servers += 1
        directory = self._directory / f"postgres-{self._servers}"
        disk = WalDisk.create(self._directory / f"wal-{self._servers}") if self._with_wal_disk else None
        self.wal_disk_missing = disk is None
        return Server(directory, self._settings, self._logs, copy_of, disk)
