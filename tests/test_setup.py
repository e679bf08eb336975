"""The set-up: one lock for all, messages in place of stack traces, and a course that starts without a network."""

import ast
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import course_lib
from tools import lab, make_venv
from tools.common import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()
PINS = [Requirement(line) for line in LOCK.splitlines() if line and not line.startswith("#")]
VERSIONS = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in PINS}
PYTHONS = ["3.11", "3.12", "3.13"]
posix = pytest.mark.skipif(os.name == "nt", reason="a POSIX shell is needed")


# --- one lock -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("requirement", [
    *PYPROJECT["project"]["dependencies"], *PYPROJECT["project"]["optional-dependencies"]["test"],
    *PYPROJECT["build-system"]["requires"]])
def test_every_dependency_is_locked(requirement):
    requirement = Requirement(requirement)
    name = canonicalize_name(requirement.name)
    assert name in VERSIONS, f"{name} is not in requirements.lock: run `make lock`"
    assert requirement.specifier.contains(VERSIONS[name]), f"{requirement}, locked {VERSIONS[name]}: run `make lock`"


def test_lock_is_exact_and_names_no_source():
    assert len(VERSIONS) == len(PINS)                       # one version of each for all platforms and Pythons
    assert all(len(pin.specifier) == 1 and next(iter(pin.specifier)).operator in ("==", "===") for pin in PINS)
    assert "://" not in LOCK and "--" not in re.sub(r"(?m)^#.*", "", LOCK)


def test_lock_takes_the_torch_that_has_a_torchvision():
    assert "\ntorch===" in LOCK
    torch, vision = (tuple(map(int, VERSIONS[name].split("."))) for name in ("torch", "torchvision"))
    assert (vision[0], vision[1]) == (0, torch[1] + 15)     # 2.13 goes with 0.28: the rule of their releases since 2.0
    assert re.search(r"(?s)#.*triple =.*torchvision", LOCK)


def test_lock_has_other_platforms_too():
    marked = {canonicalize_name(pin.name): str(pin.marker) for pin in PINS if pin.marker}
    assert "darwin" in marked["appnope"] and "win32" in marked["colorama"] and "linux" in marked["nvidia-cublas"]


def test_environment_gives_python_and_pip_and_leaves_the_rest_to_the_lock():
    python, pip, packages = ENVIRONMENT["dependencies"]
    assert python == "python" + PYPROJECT["project"]["requires-python"]
    assert pip == "pip"
    assert packages == {"pip": ["-r requirements.lock", "-e ."]}
    assert ENVIRONMENT["channels"] == ["conda-forge", "nodefaults"]


def test_pythons_are_the_same_everywhere():
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PYPROJECT["project"]["requires-python"]).groups()
    assert [f"3.{minor}" for minor in range(int(low), int(high))] == PYTHONS
    assert [".".join(map(str, version)) for version in make_venv.ALLOWED] == PYTHONS
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == PYTHONS


def test_cpu_takes_torch_from_its_own_index_and_no_cuda():
    own, rest = make_venv.cpu_lock(LOCK)
    assert own == [f"torch=={VERSIONS['torch']}+cpu", f"torchvision=={VERSIONS['torchvision']}+cpu"]
    left_out = set(VERSIONS) - {canonicalize_name(Requirement(line).name) for line in rest}
    assert {"torch", "torchvision", "triton", "nvidia-cublas", "cuda-toolkit"} <= left_out
    assert all(re.match(r"torch|triton|nvidia-|cuda-", name) for name in left_out)


# --- clear messages -------------------------------------------------------------------------------------------------

def message_of(capsys, function, *arguments):
    with pytest.raises(SystemExit) as stopped:
        function(*arguments)
    assert stopped.value.code == 1
    return capsys.readouterr().err


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 10, 13), (3, 14, 0)])
def test_wrong_python(capsys, version):
    words = message_of(capsys, make_venv.check_python, version)
    assert "3.11, 3.12 or 3.13" in words and ".".join(map(str, version)) in words and "PYTHON=python3.12" in words


def test_an_old_python_can_read_the_script_that_tells_it_so():
    source = (ROOT / "tools/make_venv.py").read_text()
    ast.parse(source, feature_version=(3, 4))
    assert not any(isinstance(node, ast.JoinedStr) for node in ast.walk(ast.parse(source)))
    assert source.isascii()                                 # Python 2 stops at any other character


def fake_python(folder, name, version):
    script = folder / name
    script.write_text(f"#!/bin/sh\necho {version}\n" if version else "#!/bin/sh\necho not installed >&2; exit 127\n")
    script.chmod(0o755)


def find_python(folder, **environment):
    return subprocess.run(["/bin/sh", str(ROOT / "tools/find_python.sh")], env={"PATH": str(folder), **environment},
                          capture_output=True, text=True)


@posix
def test_the_first_python_that_runs_is_chosen(tmp_path):
    fake_python(tmp_path, "python3.12", None)               # a version manager's shim for what is not installed
    fake_python(tmp_path, "python3.11", "3.11.7")
    fake_python(tmp_path, "python3", "3.14.0")
    assert find_python(tmp_path).stdout.strip() == "python3.11"
    assert find_python(tmp_path, PYTHON="python3").returncode == 1


@posix
def test_no_python_that_fits(tmp_path):
    fake_python(tmp_path, "python3", "3.10.2")
    fake_python(tmp_path, "python3.13", None)
    done = find_python(tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert "3.11, 3.12 or 3.13" in done.stderr and "python3 is 3.10.2" in done.stderr and "apt install" in done.stderr
    assert "none that runs" in find_python(tmp_path, PYTHON="python9").stderr


def test_no_disk_space(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(100e9, 98.8e9, 1.2e9))
    words = message_of(capsys, make_venv.check_disk, str(tmp_path), "default")
    assert "1.2 GB free" in words and "8.5 GB" in words and "TORCH=cpu" in words and str(tmp_path) in words
    assert "2.0 GB" in message_of(capsys, make_venv.check_disk, str(tmp_path), "cpu")


@pytest.mark.parametrize(("said", "words"), [
    ("OSError: [Errno 28] No space left on device", ["disk became full", "completes"]),
    ("connection broken by 'NewConnectionError(Temporary failure in name resolution)'", ["No network", "proxy"]),
    ("ERROR: ResolutionImpossible", ["its own message"])])
def test_why_pip_stopped(capsys, tmp_path, said, words):
    log = tmp_path / "setup.log"
    log.write_text(said)
    message = message_of(capsys, make_venv.explain, str(log), str(tmp_path / ".venv"))
    assert all(word in message for word in [*words, "setup.log"])


@pytest.mark.parametrize("given", ["gpu", "CPU"])
def test_wrong_flavour(capsys, given):
    assert f"TORCH={given}: it must be cpu" in message_of(capsys, make_venv.choose_torch, given, None)


def test_flavour_stays_until_another_is_given(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    assert make_venv.choose_torch(None, None) == "default"
    assert make_venv.choose_torch(None, "cpu") == "cpu"
    assert make_venv.choose_torch("default", "cpu") == "default"


def test_no_network(tmp_path):
    """A real set-up in a small copy, with an index where nobody answers: a message, and a .venv to be completed."""
    (tmp_path / "tools").mkdir()
    for name in ("tools/make_venv.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "requirements.lock").write_text("tqdm==4.67.0\n")
    script = "import sys; sys.path.insert(0, 'tools'); import make_venv; make_venv.check_disk = print; make_venv.main()"
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": "",
               "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull, "PIP_CACHE_DIR": str(tmp_path / "cache")}
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHON", "TORCH")} | nowhere
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 1
    assert "No network" in done.stderr and "Traceback" not in done.stdout + done.stderr
    assert os.path.join("build", "setup.log") in done.stderr and (tmp_path / "build/setup.log").exists()
    assert make_venv.read_stamp(str(tmp_path / ".venv"))["complete"] is False


@pytest.mark.parametrize("given", ["abc", "0", "70000", "-1"])
def test_wrong_port(given):
    with pytest.raises(SystemExit, match=f"PORT={given}: a port is a number from 1 to 65535"):
        lab.choose_port(given)


def test_busy_port():
    with socket.socket() as taken:
        taken.bind((lab.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"PORT={port} is taken"):
            lab.choose_port(str(port))
    assert lab.is_free(lab.choose_port(None))


def test_lab_listens_to_this_machine_only_and_keeps_its_token():
    command = " ".join(lab.server_command(8888, "/lab"))
    assert lab.HOST == "127.0.0.1" and "--ServerApp.ip=127.0.0.1" in command and "allow_root=True" in command
    assert "token" not in command and "password" not in command and "disable_check_xsrf" not in command
    assert make_venv.SETTINGS["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"


# --- the rest of the house ------------------------------------------------------------------------------------------

def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE).group(1).split())
    assert set(re.findall(r"^([a-z]+):.*## \S", makefile, flags=re.MULTILINE)) == targets
    assert {"lab", "test", "notebooks", "train", "results", "lint", "lock"} <= targets
    if shutil.which("make"):
        listed = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True).stdout
        assert set(re.findall(r"^  make ([a-z]+)", listed, flags=re.MULTILINE)) == targets


@posix
def test_ci_runs_make_test():
    path = ROOT / ".ci/run"
    assert path.stat().st_mode & stat.S_IXUSR
    assert re.search(r"^exec make test\b", path.read_text(), flags=re.MULTILINE)
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    assert [step["run"] for step in workflow["jobs"]["test"]["steps"] if "run" in step] == [".ci/run"]


def test_citation_and_licences():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(citation)
    assert citation["cff-version"] == "1.2.0" and citation["license"] == ["MIT", "CC-BY-4.0"]
    assert citation["version"] == course_lib.__version__ and all(author["name"] for author in citation["authors"])
    code, words = (ROOT / "LICENSE").read_text(), (ROOT / "LICENSE-text").read_text()
    assert code.startswith("MIT License") and "LICENSE-text" in code and PYPROJECT["project"]["license"] == "MIT"
    assert "CC BY 4.0" in words and "https://creativecommons.org/licenses/by/4.0/" in words


def test_importing_the_library_does_not_import_torchvision():
    """torchvision is slow to import, and where it does not match torch it fails: only what downloads a set needs it."""
    script = """
import importlib, pkgutil, sys
import course_lib
names = [m.name for m in pkgutil.walk_packages(course_lib.__path__, "course_lib.") if not m.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
print(len(names), [name for name in sys.modules if name.split(".")[0] == "torchvision"])"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"[1-9]\d* \[\]\n", done.stdout), done.stdout
