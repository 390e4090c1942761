"""Copies of a training's checkpoints on object storage, for machines whose disks do not outlive them."""

import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from lake.dataset import COPIED_AT_ONCE, Output
from lake.error import UserError
from train.history import CHECKPOINTS, DIGESTS, checkpoints, damage


class Copies:
    """Copies the checkpoints of the training in `folder` to a folder of the same name in `url`, and keeps the last.

    A thread copies one after the other. A checkpoint that newer ones overtake is left out. A copy without its
    digests, which come last, does not count.
    """

    def __init__(self, url: str, folder: Path, keep_last: int) -> None:
        self._place = Output(url).below(folder.name)
        self._root = folder / CHECKPOINTS
        self._keep_last = keep_last
        self._thread = ThreadPoolExecutor(1, "copies")
        self._running: tuple[str, Future[None]] | None = None
        self._next: str | None = None

    def names(self) -> list[str]:
        """The checkpoints that have a copy, oldest first."""
        return [name for name in self._place.folders() if self._place.exists(name, DIGESTS)]

    def check(self) -> None:
        """Raises UserError if the place of the copies cannot be read."""
        try:
            self.names()
        except (OSError, ValueError) as error:
            fault = " ".join(str(error).split())
            raise UserError(f"pretrain.checkpoints.copy_to: {self._place.root} cannot be opened: {fault}") from None

    def fetch(self) -> None:
        """Bring back the newest whole copy, if the training has no checkpoint on its disk.

        Raises:
            OSError: the copies cannot be read, or there is no space.
        """
        if checkpoints(self._root):
            return
        for name in reversed(self.names()):
            half = self._root / f".{name}"
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir(parents=True)
            for file in self._place.files(name):
                with self._place.open(name, file) as source, (half / file).open("wb") as target:
                    shutil.copyfileobj(source, target, COPIED_AT_ONCE)
            if damage(half) is None:
                half.rename(self._root / name)
                return
            shutil.rmtree(half)

    def send(self, name: str) -> None:
        """Copy the checkpoint of that name as soon as the one before is copied."""
        self._next = name

    def poll(self, wait: bool = False) -> dict[str, str]:
        """Go on copying; with `wait`, to the end. Returns the checkpoints that could not be copied, with the reason."""
        failed = {}
        while self._running is not None or self._next is not None:
            if self._running is None:
                assert self._next is not None
                self._running, self._next = (self._next, self._thread.submit(self._copy, self._next)), None
            name, copied = self._running
            if not (wait or copied.done()):
                break
            self._running = None
            if error := copied.exception():
                if not isinstance(error, OSError):
                    raise error
                failed[name] = f"no copy: {error}"
        return failed

    def _copy(self, name: str) -> None:
        try:
            if not self._place.exists(name, DIGESTS):
                self._copy_files(name)
        except FileNotFoundError:
            # Newer ones have replaced it meanwhile.
            if (self._root / name).exists():
                raise
        kept = self.names()[-self._keep_last :]
        for old in self._place.folders():
            if old not in kept:
                self._place.delete(old)

    def _copy_files(self, name: str) -> None:
        for path in sorted((self._root / name).iterdir(), key=lambda path: (path.name == DIGESTS, path.name)):
            with path.open("rb") as source, self._place.create(name, path.name) as target:
                shutil.copyfileobj(source, target, COPIED_AT_ONCE)
