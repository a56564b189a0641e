"""The package installs where it must: from the lock, with conda, and beside Colab's versions."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from helpers.course.editions import write_student_edition

ROOT = Path(__file__).resolve().parents[3]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = ("3.11", "3.12", "3.13")

#: What Colab has today; the first five must stay as they are.
HELD = {
    "tensorflow": "2.20.0",
    "keras": "3.13.2",
    "numpy": "2.1.3",
    "protobuf": "5.29.6",
    "h5py": "3.16.0",
}
COLAB = {
    **HELD,
    "opencv-python-headless": "5.0.0.93",
    "scikit-learn": "1.6.1",
    "scipy": "1.16.3",
    "kagglehub": "1.0.2",
    "pandas": "2.2.2",
}
#: What the course needs and Colab has not.
NOT_ON_COLAB = {"torchstain"}
#: What TensorFlow 2.20 itself asks for of the others.
TENSORFLOW_NEEDS = ["numpy>=1.26.0", "protobuf>=5.28.0", "h5py>=3.11.0", "keras>=3.10.0"]

DEPENDENCIES = [Requirement(text) for text in PYPROJECT["dependencies"]]
EXTRAS = {
    name: [Requirement(text) for text in texts]
    for name, texts in PYPROJECT["optional-dependencies"].items()
}


def pins(python: str) -> dict[str, Version]:
    """Return what the lock installs on a Python version, by plain name."""
    found = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        line = line.split("#")[0].strip()
        if not line or line.startswith("-"):
            continue
        pin = Requirement(line)
        environment = {
            "python_version": python,
            "python_full_version": f"{python}.9",
            "implementation_name": "cpython",
            "sys_platform": "linux",
        }
        if pin.marker is None or pin.marker.evaluate(environment):
            (only,) = pin.specifier
            assert only.operator == "==", f"{line} is not pinned"
            found[pin.name.lower().replace("_", "-")] = Version(only.version)
    return found


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_satisfies_what_the_package_asks_for(python):
    locked = pins(python)
    wanted = [*DEPENDENCIES, *EXTRAS["book"], *EXTRAS["grid"], *EXTRAS["test"]]
    for need in wanted:
        assert need.name.lower() in locked, f"{need.name} is not in requirements.lock"
        assert locked[need.name.lower()] in need.specifier, f"{need} against the lock"


def test_only_lower_bounds_so_that_nothing_is_moved():
    for need in DEPENDENCIES:
        operators = {part.operator for part in need.specifier}
        assert operators == {">="}, f"{need}: Colab's own versions must stay allowed"
        assert need.name != "torch"


@pytest.mark.parametrize("name", COLAB)
def test_colabs_versions_are_allowed(name):
    for need in DEPENDENCIES:
        if need.name == name:
            assert Version(COLAB[name]) in need.specifier


def test_conda_installs_the_same():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    entries = environment["dependencies"]
    (pip,) = (entry["pip"] for entry in entries if isinstance(entry, dict))
    assert pip == ["-r requirements.lock", "-e ."]
    (python,) = (e.split("=")[1] for e in entries if str(e).startswith("python="))
    assert python in PYTHONS
    assert "pip" in entries


def test_make_asks_for_the_pythons_that_the_package_asks_for():
    assert PYPROJECT["requires-python"] == ">=3.11,<3.14"
    assert "(3, 11) <= sys.version_info[:2] <= (3, 13)" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("code", ["import helpers", "import helpers.course.cli"])
def test_importing_is_light(code):
    heavy = (
        "keras",
        "tensorflow",
        "matplotlib",
        "pandas",
        "skimage",
        "sklearn",
        "cv2",
        "numpy",
        "PIL",
        "papermill",
    )
    code += f"; import sys; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_helpers_takes_no_time():
    code = "import time; start = time.process_time(); import helpers; "
    code += "print(time.process_time() - start)"
    times = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(3)]
    assert min(times) < 0.1  # seconds


@pytest.mark.parametrize("code", ["import helpers", "import helpers.course.cli"])
def test_benchmark_import(benchmark, code):
    """With the start of Python: 0.3 s for the helpers, 0.5 s for the command line."""
    benchmark.pedantic(
        subprocess.run, ([sys.executable, "-c", code],), {"check": True}, rounds=5, warmup_rounds=1
    )


def pip_config() -> dict[str, str]:
    """Return pip's settings by plain name, those of the environment first."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found: dict[str, str] = {}
    for line in sorted(lines):
        name, _, value = line.partition("=")
        found.setdefault(name.rpartition(".")[2], value.strip("'\""))
    return found


@pytest.fixture(scope="module")
def uv_environment():
    """Return an environment in which uv looks where pip looks."""
    found, settings = dict(os.environ), pip_config()
    for setting, variable in {
        "index-url": "UV_DEFAULT_INDEX",
        "extra-index-url": "UV_INDEX",
        "find-links": "UV_FIND_LINKS",
    }.items():
        if value := settings.get(setting):
            found.setdefault(variable, value)
    if "PIP_CERT" in found:
        found.setdefault("SSL_CERT_FILE", found["PIP_CERT"])
    # Several indexes are one to pip; uv would stop at the first that knows a name.
    found.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    return found


def skip_without_index(text: str) -> None:
    """Skip when no package index answered: that is no fault of the package."""
    signs = "Failed to fetch|error sending request|dns error|Connection|Could not connect|timed out"
    if re.search(signs, text):
        pytest.skip(f"no package index can be reached: {text.strip().splitlines()[-1][:200]}")


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.12", "3.13"])
def test_beside_colabs_versions_everything_resolves(uv_environment, tmp_path, python):
    """Each of Colab's versions is held; then a resolver must find versions for the rest."""
    held = tmp_path / "colab.txt"
    held.write_text("".join(f"{name}=={version}\n" for name, version in HELD.items()))
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--no-header",
        "--no-annotate",
    ]
    options = ["--python-version", python, "-c", str(held), "--extra", "grid", "--extra", "app"]
    done = subprocess.run(
        [*command, *options, str(ROOT / "pyproject.toml")],
        env=uv_environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        skip_without_index(done.stderr)
    assert done.returncode == 0, done.stderr
    resolved = dict(
        line.split(" ")[0].split("==") for line in done.stdout.splitlines() if "==" in line
    )
    assert {name: resolved[name] for name in HELD} == HELD


def pretend_installed(packages: Path, name: str, version: str, needs: list[str]) -> None:
    """Write the metadata of an installed package, and nothing else of it."""
    info = packages / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {need}" for need in needs]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    (info / "INSTALLER").write_text("pip\n")
    (info / "RECORD").write_text("")


@pytest.mark.slow
def test_pip_install_moves_none_of_what_colab_has(tmp_path):
    """pip itself, in an environment that claims Colab's versions, says what it would install."""
    venv.create(tmp_path / "colab", with_pip=False)
    python = tmp_path / "colab" / "bin" / "python"
    (packages,) = (tmp_path / "colab").glob("lib/python*/site-packages")
    for name, version in COLAB.items():
        pretend_installed(packages, name, version, TENSORFLOW_NEEDS if name == "tensorflow" else [])
    wanted = tmp_path / "wanted.txt"
    wanted.write_text("\n".join(PYPROJECT["dependencies"]) + "\n")
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--dry-run"]
    done = subprocess.run(
        [*command, "--quiet", "--only-binary", ":all:", "--report", str(report), "-r", str(wanted)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        skip_without_index(done.stderr)
    assert done.returncode == 0, done.stderr
    entries = json.loads(report.read_text())["install"]
    moved = {entry["metadata"]["name"].lower(): entry["metadata"]["version"] for entry in entries}
    assert not set(moved) & set(COLAB), moved
    assert "statsmodels" in moved  # it did look: what Colab is not said to have is installed


@pytest.fixture(scope="module")
def colab(uv_environment, tmp_path_factory):
    """Yield a folder with an environment `env` like Colab's, Python 3.13 or 3.12; delete it."""
    folder = tmp_path_factory.mktemp("colab")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    path = [os.environ["PATH"], *map(str, sorted(pyenv.glob("3.1[23].*/bin"), reverse=True))]
    environment = {**uv_environment, "PATH": os.pathsep.join(path)}
    environment["UV_CACHE_DIR"] = str(folder / "cache")

    def uv(*arguments):
        command = [sys.executable, "-m", "uv", *arguments]
        return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)

    for version in ("3.13", "3.12"):
        done = uv("venv", "--seed", "--clear", "--python", version, "env")
        if done.returncode == 0:
            break
    else:
        pytest.skip(f"uv finds no Python 3.13 or 3.12: {done.stderr.strip()[-200:]}")
    versions = {**COLAB, "pandas": "2.2.3"}  # 2.2.2 has no wheel for Python 3.13
    wanted = [f"{name}=={version}" for name, version in versions.items()]
    wanted += [n.name for n in DEPENDENCIES if n.name not in {*versions, *NOT_ON_COLAB}]
    python = str(folder / "env" / "bin" / "python")
    options = ["--only-binary", ":all:", "--python", python]
    done = uv("pip", "install", *options, "ipykernel", *wanted)
    if done.returncode:
        skip_without_index(done.stderr)
    assert done.returncode == 0, done.stderr
    kernel = ["-m", "ipykernel", "install", "--prefix", str(folder), "--name", "colab"]
    subprocess.run([python, *kernel], check=True, capture_output=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)  # several GB


def installed(colab: Path) -> dict[str, str]:
    """Return the version of each package in the environment."""
    command = [colab / "env" / "bin" / "python", "-m", "pip", "list", "--format", "json"]
    listed = json.loads(subprocess.check_output(command))
    return {package["name"].lower(): package["version"] for package in listed}


@pytest.mark.slow
@pytest.mark.colab
def test_chapters_run_on_colab_and_move_none_of_its_packages(colab, tmp_path):
    """From a folder with nothing but a chapter of the edition and its wheel, by its own set-up."""
    edition = {path.name: path for path in write_student_edition(tmp_path / "edition")}
    content = colab / "content"
    content.mkdir()
    for name, path in edition.items():
        if name.endswith(".whl") or name[:2] in ("01", "05"):
            shutil.copy(path, content)
    outside = ("COURSE_", "PYTHON", "VIRTUAL_ENV")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(outside)}
    environment["JUPYTER_PATH"] = str(colab / "share" / "jupyter")
    options = ["-k", "colab", "-p", "PROFILE", "smoke", "--execution-timeout", "600"]
    before = installed(colab)
    assert HELD.items() <= before.items()
    for path in sorted(content.glob("*.ipynb")):
        done = subprocess.run(
            [sys.executable, "-m", "papermill", path.name, f"done-{path.name}", *options],
            env=environment,
            cwd=content,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert "Ready: helpers" in (content / f"done-{path.name}").read_text(encoding="utf-8")
    after = installed(colab)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {PYPROJECT["name"], *NOT_ON_COLAB}
    said = subprocess.check_output(
        [colab / "env" / "bin" / "course", "data", "all_idb"],
        env=environment,
        cwd=content,
        text=True,
    )
    assert "DATASET=all_idb" in said


@pytest.mark.parametrize("folder", ["/tmp/teacher's cells", "/tmp/a 'b' c"])
def test_make_hands_on_folders_with_quotes_and_spaces(folder):
    command = ["make", "--no-print-directory", "-n", "run", f"DATA_DIR={folder}"]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (line,) = (line for line in lines.splitlines() if "--data-dir" in line)
    words = shlex.split(line)
    assert words[words.index("--data-dir") + 1] == folder


@pytest.fixture
def clone(tmp_path):
    """A folder with the Makefile and an environment that is ready, of which only `pip` is there."""
    folder = tmp_path / "my course"
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv" / "bin" / "pip").write_text(f"#!{folder}/.venv/bin/python3\n")
    (folder / ".venv" / ".ready").touch()
    return folder


def make(folder, *words):
    command = ["make", "--no-print-directory", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("how", ["moved", "copied", "linked"])
def test_make_sees_an_environment_that_was_made_for_another_folder(clone, how):
    assert "Installing" not in make(clone, "-n", "run")
    other = clone.with_name("other")
    if how == "linked":  # worktrees of git may share an environment
        other.mkdir()
        (other / ".venv").symlink_to(clone / ".venv")
        for name in ("Makefile", "requirements.lock", "pyproject.toml"):
            shutil.copy2(clone / name, other)
    else:
        shutil.copytree(clone, other)
    if how == "moved":
        shutil.rmtree(clone)
    told = make(other, "-n", "run")
    assert ("made for another folder" in told) == (how != "linked")
    assert ("-m venv --clear" in told) == (how != "linked")


def test_make_clean_leaves_the_lock_of_a_run(clone):
    make(clone, "clean")
    (clone / "_build" / "html").mkdir(parents=True)
    (clone / "_build" / ".lock").touch()
    make(clone, "clean")
    assert [path.name for path in (clone / "_build").iterdir()] == [".lock"]
    make(clone, "distclean")
    assert not (clone / "_build").exists()


def test_what_the_readme_writes_into_the_clone_is_no_part_of_the_checks():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (folder,) = re.findall(r"course student --out (\S+)", text)
    assert f"{folder}*/" in (ROOT / ".gitignore").read_text().split()
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]
    assert f"{folder}*" in ruff["extend-exclude"]
