"""A step's folder: Parquet tables made of numbered parts, other files, and the manifest that marks completion.

Local paths and all URIs of `pyarrow.fs` (s3://, gs://, hdfs://) work alike. Files are written under a temporary name
and then moved, so a file that exists is complete.
"""

import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from lake.error import UserError

MANIFEST = "manifest.json"
COPIED_AT_ONCE = 1 << 22
ROW_GROUP = 65_536
"""The most rows of a row group in a part that is written whole."""
TEMPORARY = re.compile(r"\.[^/]+\.[0-9a-f]{8}$")
PART = re.compile(r"part-(\d{5,})\.parquet$")
PARTITIONING = ds.partitioning(pa.schema([("source", pa.string())]), flavor="hive")


@dataclass(frozen=True)
class Output:
    """The folder of one step with one fingerprint. `root` is an absolute local path or a URI."""

    root: str

    @cached_property
    def _place(self) -> tuple[pafs.FileSystem, str]:
        # A path is taken as it is, and not as a URI.
        return (pafs.LocalFileSystem(), str(self.local())) if self.is_local else pafs.FileSystem.from_uri(self.root)

    def path(self, *names: str) -> str:
        """The path or URI of a file or folder in this folder."""
        return "/".join((self.root.rstrip("/"), *names))

    def below(self, *names: str) -> "Output":
        """A folder in this folder."""
        return Output(self.path(*names))

    def local(self, *names: str) -> Path:
        """The same as a local path, for engines that map files into memory.

        Raises:
            UserError: the lake is on object storage.
        """
        if not self.is_local:
            raise UserError(f"{self.root}: this step needs a local or mounted disk; set disk= to a folder on it")
        return Path(self.root.removeprefix("file://"), *names)

    @property
    def is_local(self) -> bool:
        """Whether engines can map the folder's files into memory."""
        return "://" not in self.root or self.root.startswith("file://")

    def check_writable(self, key: str) -> None:
        """Create the folder if it is local, and try to write there. The message names the config key `key`.

        Raises:
            UserError: the folder cannot be written.
        """
        if not self.is_local:
            return
        folder = self.local()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=folder).close()
        except OSError as error:
            raise UserError(
                f"{key}: {folder} cannot be written: {error.strerror}; set {key}= to a writable folder"
            ) from None

    # Files -----------------------------------------------------------------------------------------------------------

    def exists(self, *names: str) -> bool:
        fs, base = self._place
        return fs.get_file_info("/".join((base, *names))).type != pafs.FileType.NotFound

    def read_bytes(self, *names: str) -> bytes:
        fs, base = self._place
        with fs.open_input_stream("/".join((base, *names))) as stream:
            return stream.read()

    def write_bytes(self, data: bytes, *names: str) -> None:
        """Write a file."""
        with self.create(*names) as stream:
            stream.write(data)

    def open(self, *names: str) -> pa.NativeFile:
        """Open a file for reading at any offset."""
        fs, base = self._place
        return fs.open_input_file("/".join((base, *names)))

    @contextmanager
    def create(self, *names: str) -> Iterator[pa.NativeFile]:
        """Write a file as a stream. It appears when the block ends, and not at all if the block raises."""
        fs, base = self._place
        final = "/".join((base, *names))
        folder, _, name = final.rpartition("/")
        temporary = f"{folder}/.{name}.{uuid.uuid4().hex[:8]}"
        fs.create_dir(folder, recursive=True)
        output = fs.open_output_stream(temporary)
        try:
            with output as stream:
                yield stream
        except BaseException:  # the half-written file must go, whatever ended the block
            fs.delete_file(temporary)
            raise
        fs.move(temporary, final)

    @contextmanager
    def local_copy(self, folder: str, names: Iterable[str] | None = None) -> Iterator[Path]:
        """A local folder with the files of `folder`, or those named, for libraries that read from a disk.

        A local folder is used as it is. Copies are deleted when the block ends.
        """
        if self.is_local:
            yield self.local(folder)
            return
        with TemporaryDirectory() as copies:
            for name in self.files(folder) if names is None else names:
                with self.open(folder, name) as source, Path(copies, name).open("wb") as target:
                    shutil.copyfileobj(source, target, COPIED_AT_ONCE)
            yield Path(copies)

    @contextmanager
    def local_folder(self, folder: str) -> Iterator[Path]:
        """A local folder for libraries that write to a disk: `folder`, or one whose files go there at the end."""
        if self.is_local:
            yield self.local(folder)
            return
        with TemporaryDirectory() as written:
            yield Path(written)
            for path in sorted(Path(written).iterdir()):
                with path.open("rb") as source, self.create(folder, path.name) as target:
                    shutil.copyfileobj(source, target, COPIED_AT_ONCE)

    def files(self, folder: str) -> list[str]:
        """The names of the files in a subfolder, sorted, without those in folders below it."""
        fs, base = self._place
        infos = fs.get_file_info(pafs.FileSelector(f"{base}/{folder}", allow_not_found=True))
        return sorted(info.base_name for info in infos if info.type == pafs.FileType.File)

    def folders(self, *names: str) -> list[str]:
        """The names of the folders in this folder or a subfolder, sorted."""
        fs, base = self._place
        infos = fs.get_file_info(pafs.FileSelector("/".join((base, *names)), allow_not_found=True))
        return sorted(info.base_name for info in infos if info.type == pafs.FileType.Directory)

    def size(self, *names: str) -> int | None:
        """A file's size in bytes; None if there is no such file."""
        fs, base = self._place
        return fs.get_file_info("/".join((base, *names))).size

    def read_json(self, *names: str) -> Any:
        return json.loads(self.read_bytes(*names))

    def write_json(self, data: Any, *names: str) -> None:
        """Write `data`, in which NaN and infinities are not allowed: they are no JSON, and no result.

        Raises:
            ValueError: there is one.
        """
        text = json.dumps(data, indent=1, ensure_ascii=False, sort_keys=True, allow_nan=False)
        self.write_bytes(text.encode() + b"\n", *names)

    # Tables ----------------------------------------------------------------------------------------------------------

    @staticmethod
    def part_name(index: int, source: str | None = None) -> str:
        """`part-00003.parquet`, below `source=papers/` for a table partitioned by source."""
        return (f"source={source}/" if source is not None else "") + f"part-{index:05d}.parquet"

    @staticmethod
    def part_place(name: str) -> tuple[int, str | None]:
        """Index and source of a part's name: the inverse of `part_name`."""
        folder, _, file = name.rpartition("/")
        match = PART.fullmatch(file)
        if match is None:
            raise ValueError(f"{name}: not the name of a part")
        return int(match[1]), folder.removeprefix("source=") or None

    def has_part(self, table: str, index: int, source: str | None = None) -> bool:
        return self.exists(table, self.part_name(index, source))

    def write_part(self, table: str, index: int, rows: pa.Table, source: str | None = None) -> None:
        """Write a part; equal rows give equal bytes. With `source`, that column moves to the folder's name."""
        if source is not None and "source" in rows.column_names:
            rows = rows.drop_columns(["source"])
        with self.create(table, self.part_name(index, source)) as stream:
            pq.write_table(rows, stream, compression="zstd", row_group_size=ROW_GROUP)

    @contextmanager
    def part_writer(
        self, table: str, index: int, schema: pa.Schema, source: str | None = None, plain: bool = False
    ) -> Iterator[Callable[[pa.Table], None]]:
        """Write a part with a row group for each table that the writer gets, so that memory holds one table at a time.

        With `source`, that column moves to the folder's name. `plain` skips compression, which is wasted on hashes.
        The part appears when the block ends, and not at all if the block raises.
        """
        if source is not None:
            schema = pa.schema([field for field in schema if field.name != "source"])
        packing = "none" if plain else "zstd"
        with (
            self.create(table, self.part_name(index, source)) as stream,
            pq.ParquetWriter(stream, schema, compression=packing, use_dictionary=not plain) as writer,
        ):
            yield lambda rows: writer.write_table(rows.select(schema.names).cast(schema))

    def parts(self, table: str, source: str | None = None) -> list[str]:
        """Paths of a table's parts, relative to the table, by source and number; empty if there is no such table."""
        fs, base = self._place
        folder = f"{base}/{table}" + (f"/source={source}" if source is not None else "")
        infos = fs.get_file_info(pafs.FileSelector(folder, recursive=True, allow_not_found=True))
        names = (info.path.removeprefix(f"{base}/{table}/") for info in infos if PART.search(info.path))
        return sorted(names, key=lambda name: (PART.split(name)[0], len(name), name))

    def sources(self, table: str) -> list[str]:
        """The sources a partitioned table holds, sorted."""
        return sorted({name.split("/")[0].removeprefix("source=") for name in self.parts(table) if "/" in name})

    def scan(self, table: str, source: str | None = None) -> ds.Dataset:
        """A table as a lazy dataset. Its `source` column is restored from the folders.

        Raises:
            UserError: the table has no part.
        """
        names = self.parts(table, source)
        if not names:
            raise UserError(f"{self.path(table)}: no such table; run the step that writes it again")
        return self._dataset(table, names)

    def read_part(self, table: str, name: str, columns: list[str] | None = None) -> pa.Table:
        """A part by its name as in `parts`. A partitioned table's `source` column is restored."""
        return self._dataset(table, [name]).to_table(columns=columns)

    def _dataset(self, table: str, names: list[str]) -> ds.Dataset:
        fs, base = self._place
        folder = f"{base}/{table}"
        paths = [f"{folder}/{name}" for name in names]
        return ds.dataset(paths, filesystem=fs, format="parquet", partitioning=PARTITIONING, partition_base_dir=folder)

    def sweep(self) -> None:
        """Remove the half-written temporary files of a killed run."""
        fs, base = self._place
        for info in fs.get_file_info(pafs.FileSelector(base, recursive=True, allow_not_found=True)):
            if info.type == pafs.FileType.File and TEMPORARY.fullmatch(info.base_name):
                fs.delete_file(info.path)

    def delete(self, *names: str) -> None:
        """Remove a subfolder, if it is there."""
        fs, base = self._place
        folder = "/".join((base, *names))
        if fs.get_file_info(folder).type == pafs.FileType.Directory:
            fs.delete_dir(folder)
