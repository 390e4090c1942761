"""Upload through huggingface_hub: one commit for a version, resumed after a kill, checked by digest at the end."""

import random
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from json import JSONDecodeError
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import disable_progress_bars, logging

from eval.text import CREDENTIALS, one_line
from gap.publish.files import File
from gap.publish.history import LARGEST_RECORD, RECORD, Record, Version, parse
from gap.publish.release import Release
from lake.error import UserError
from lake.progress import progress

T = TypeVar("T")

PASSING = {408, 429, 500, 502, 503, 504}
"""Statuses that pass: the server is busy."""

TRIES = 6
LONGEST_WAIT = 60.0

LARGEST_IN_GIT = 10 * 2**20
"""Bytes above which the Hub puts every file into large file storage."""

MAIN = "main"

OURS_TO_IGNORE = {".gitattributes"}
"""What the Hub puts into a new repository by itself."""


class ChangedError(Exception):
    """A file changed between its check and its upload."""


@dataclass(frozen=True)
class Listed:
    """A file as the Hub lists it: Git's digest, and SHA-256 if it is in large file storage."""

    size: int
    git_sha1: str
    sha256: str | None

    def holds(self, file: File) -> bool:
        same = self.sha256 == file.sha256 if self.sha256 is not None else self.git_sha1 == file.git_sha1
        return same and self.size == file.size


@dataclass(frozen=True)
class Published:
    """What became of a release. `new` is false where the repository had it already."""

    repository: str
    version: Version
    revision: str
    new: bool
    sent: int = 0


@dataclass(frozen=True)
class Hub:
    """The Hub as its client reaches it. The token comes from the environment or the client's login, and stays there."""

    api: HfApi = field(default_factory=HfApi)
    wait: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        disable_progress_bars()
        # The client's warnings show addresses with signatures in them.
        logging.set_verbosity_error()

    def publish(self, release: Release, private: bool, today: str, note: str | None = None) -> Published:
        """Make the repository hold the release, and check it. Nothing is done where it does.

        Raises:
            UserError: the Hub refuses, cannot be reached, or the repository holds something else.
        """
        with one_line_errors(release.repository):
            return self._publish(release, private, today, note)

    def revision(self, kind: str, repository: str) -> str | None:
        """The commit of the last version in a repository, if it was published from here."""
        with one_line_errors(repository):
            if self._found(repository, kind) is None:
                return None
            found = self._record(repository, kind, MAIN, self._listed(repository, kind))
            return self._tags(repository, kind).get(found.versions[-1].tag) if found is not None else None

    def _publish(self, release: Release, private: bool, today: str, note: str | None) -> Published:
        repository, kind = release.repository, release.kind
        head = self._make(release, private)
        listed = self._listed(repository, kind, head)
        before = self._record(repository, kind, head, listed)
        versions = before.versions if before is not None else []
        if before is None and listed.keys() - OURS_TO_IGNORE:
            raise UserError(f"{repository}: the repository holds something else; name another one, or a new one")
        if versions and not self._missing(files := release.files(versions), listed):
            return Published(repository, versions[-1], self._tagged(release, versions[-1]), new=False)
        versions = [*versions, release.state.next(versions, today, note)]
        files = release.files(versions)
        old = set(before.files) - {file.path for file in files} if before is not None else set()
        sent = self._send(release, files, old & listed.keys(), versions[-1], head)
        return Published(repository, versions[-1], self._tagged(release, versions[-1]), new=True, sent=sent)

    def _send(self, release: Release, files: list[File], old: Collection[str], version: Version, head: str) -> int:
        """Commit on `head` what the repository lacks, without the `old` files, and see that it has all.

        Returns the bytes sent.
        """
        repository, kind = release.repository, release.kind
        missing = self._missing(files, self._listed(repository, kind))
        sent = 0
        with progress(f"publish: {repository}", sum(file.size for file in missing), "bytes") as bar:
            operations = {}
            for file in missing:
                operations[file.path] = self._again(partial(self._preupload, repository, kind, file))
                sent += file.size
                bar.update(file.size)

        def commit() -> None:
            # A commit whose answer is lost may have arrived, so each try looks first.
            if self._missing(missing, self._listed(repository, kind)):
                self.api.create_commit(
                    repository,
                    [*operations.values(), *(CommitOperationDelete(path) for path in sorted(old))],
                    commit_message=f"{version.tag}: {version.change}"[:200],
                    repo_type=kind,
                    parent_commit=head,
                )

        self._again(commit)
        if wrong := self._missing(files, self._listed(repository, kind)):
            raise UserError(f"{repository}: the Hub lists {wrong[0].path} with another digest; publish again")
        return sent

    def _preupload(self, repository: str, kind: str, file: File) -> CommitOperationAdd:
        """Send a file to large file storage, unless it is there or belongs into Git.

        Raises:
            ChangedError: the file is no longer the one that was checked.
        """
        operation = operation_of(file)
        self.api.preupload_lfs_files(repository, [operation], repo_type=kind, num_threads=1, free_memory=False)
        check_unchanged(operation, file)
        return operation

    def _make(self, release: Release, private: bool) -> str:
        """Create the repository unless it is there, and see that it is as private as it must be. Returns its head."""
        repository, kind = release.repository, release.kind
        if release.override is not None:
            self._check_own(repository, private)

        found = self._found(repository, kind)
        if found is None:
            self._again(
                lambda: self.api.create_repo(repository, repo_type=kind, private=private or None, exist_ok=True)
            )
            found = self._again(lambda: self.api.repo_info(repository, repo_type=kind))
        if private and not found.private:
            raise UserError(
                f"{repository}: the repository is public; make it private on the Hub, or leave out --private"
            )
        return str(found.sha)

    def _found(self, repository: str, kind: str) -> Any:
        """What the Hub says of a repository; None where it has none, or shows none to this token."""
        try:
            return self._again(lambda: self.api.repo_info(repository, repo_type=kind))
        except RepositoryNotFoundError:
            return None

    def _check_own(self, repository: str, private: bool) -> None:
        me = self._again(self.api.whoami)["name"]
        if repository.partition("/")[0] != me:
            raise UserError(f"{repository}: an override is for your own repositories, and you are {me} on the Hub")
        if not private:
            raise UserError(f"{repository}: an override needs a private repository; publish with --private")

    def _head(self, repository: str, kind: str) -> str:
        return str(self._again(lambda: self.api.repo_info(repository, repo_type=kind)).sha)

    def _listed(self, repository: str, kind: str, revision: str = MAIN) -> dict[str, Listed]:
        def look() -> dict[str, Listed]:
            return {
                entry.path: Listed(entry.size, entry.blob_id, entry.lfs.sha256 if entry.lfs is not None else None)
                for entry in self.api.list_repo_tree(repository, recursive=True, revision=revision, repo_type=kind)
                if isinstance(entry, RepoFile)
            }

        return self._again(look)

    @staticmethod
    def _missing(files: Sequence[File], listed: Mapping[str, Listed]) -> list[File]:
        return [file for file in files if file.path not in listed or not listed[file.path].holds(file)]

    def _record(self, repository: str, kind: str, revision: str, listed: Mapping[str, Listed]) -> Record | None:
        """The repository's record as of a revision; None where it has none."""
        if RECORD not in listed:
            return None
        if listed[RECORD].size > LARGEST_RECORD:
            raise UserError(f"{repository}: its {RECORD} is too large to be one; delete it on the Hub")

        def fetch() -> bytes:
            with TemporaryDirectory() as folder:
                return Path(
                    self.api.hf_hub_download(repository, RECORD, repo_type=kind, revision=revision, local_dir=folder)
                ).read_bytes()

        return parse(self._again(fetch), repository)

    def _tags(self, repository: str, kind: str) -> dict[str, str]:
        refs = self._again(lambda: self.api.list_repo_refs(repository, repo_type=kind))
        return {tag.name: tag.target_commit for tag in refs.tags}

    def _tagged(self, release: Release, version: Version) -> str:
        """The commit of a version, which gets its tag unless it has it."""
        repository, kind = release.repository, release.kind
        if (commit := self._tags(repository, kind).get(version.tag)) is not None:
            return commit
        head = self._head(repository, kind)
        self._again(
            lambda: self.api.create_tag(repository, tag=version.tag, revision=head, repo_type=kind, exist_ok=True)
        )
        return head

    def _again(self, work: Callable[[], T]) -> T:
        """Do the work, and again after what passes: a busy server, a lost connection."""
        for tried in range(TRIES):
            try:
                return work()
            except Exception as error:  # raised again unless it passes
                if not passes(error) or tried == TRIES - 1:
                    raise
                self.wait(pause(error, tried))
        raise AssertionError("the last try returns or raises")


def operation_of(file: File) -> CommitOperationAdd:
    """How the client adds a file. One that may go into Git is read now, so that it cannot change before the commit."""
    content = file.content
    if isinstance(content, Path) and file.size <= LARGEST_IN_GIT:
        content = content.read_bytes()
    return CommitOperationAdd(file.path, content)


def check_unchanged(operation: CommitOperationAdd, file: File) -> None:
    """See that an operation sends the bytes that were checked.

    Raises:
        ChangedError: it does not.
    """
    if operation.upload_info.sha256.hex() != file.sha256:
        raise ChangedError(file.path)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it; the client wraps errors of a file's upload."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        seen.append(following)
        following = following.__cause__ or following.__context__
    yield from seen


def status_of(error: BaseException) -> int | None:
    return next((of.response.status_code for of in _causes(error) if isinstance(of, HfHubHTTPError)), None)


def passes(error: BaseException) -> bool:
    """Whether trying again may help. Where the client expects JSON, a busy proxy answers with a page."""
    status = status_of(error)
    if status is not None:
        return status in PASSING
    return any(isinstance(of, httpx2.TransportError | JSONDecodeError) for of in _causes(error))


def pause(error: BaseException, tried: int) -> float:
    """Seconds to wait: what the server asks for, else twice as long each time, a little apart from others."""
    response = next((of.response for of in _causes(error) if isinstance(of, HfHubHTTPError)), None)
    asked = response.headers.get("Retry-After", "") if response is not None else ""
    if re.fullmatch(r"\d{1,4}", asked):
        return min(float(asked), LONGEST_WAIT)
    return min(2.0**tried, LONGEST_WAIT) * random.uniform(0.5, 1)


@contextmanager
def one_line_errors(repository: str) -> Iterator[None]:
    """Turn what the Hub and its client say into one line. No traceback goes on: it may quote a signed address."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, ChangedError, httpx2.HTTPError) as error:
        raise UserError(f"{repository}: {_told(error)}") from None


def _told(error: Exception) -> str:
    status = status_of(error)
    for of in _causes(error):
        if isinstance(of, ChangedError):
            return f"{of}: the file changed while it was published; publish again"
        if isinstance(of, OfflineModeIsEnabled):
            return "the Hub's client is offline; unset HF_HUB_OFFLINE"
        if isinstance(of, LocalTokenNotFoundError):
            return "no token for the Hub; set HF_TOKEN or run hf auth login"
        if isinstance(of, HFValidationError):
            return "the Hub does not take this name; name another one"
    if status in (401, 403):
        return f"the Hub refuses ({status}); set HF_TOKEN or run hf auth login, with a token that may write here"
    if status == 412:
        return "another commit came between; publish again"
    if status == 404:
        return "the Hub has no such repository, or your token does not show it"
    if status is not None:
        return f"the Hub answers with {status}; what has arrived stays there, so publish again later"
    if passes(error):
        return "the Hub cannot be reached; what has arrived stays there, so publish again later"
    return f"the upload failed: {type(error).__name__}: {scrubbed(str(error))}"


def scrubbed(text: str) -> str:
    """The beginning of a message on one line, without the token, and of addresses without password and query."""
    token = get_token()
    plain = CREDENTIALS.sub("", text.replace(token, "…") if token else text)
    return one_line(re.sub(r"(https?://[^\s?]*)\?\S*", r"\1", plain))[:200]
