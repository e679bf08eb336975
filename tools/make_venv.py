"""Makes .venv with the packages of requirements.lock, or completes it; `make` calls this before every other command.

Only the standard library, and nothing that an old Python could not read: it has to be able to say that it is old.
A stamp is written last, so what was interrupted is completed the next time, and what is complete takes no time.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ALLOWED = ((3, 11), (3, 12), (3, 13))
GIGABYTE = 1e9
# Measured on Linux: with CUDA, .venv is 5.4 GB, and pip holds 2.9 GB of downloads until all are installed.
NEEDED = {"default": (8.5, "5.4 of them stay, mostly CUDA; on Linux without a GPU, `make lab TORCH=cpu` takes 2 GB"),
          "cpu": (2.0, "with PyTorch without CUDA")}
CACHE = 3.0     # pip keeps a second copy of what it downloads, for the next time; not where space is short
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# What only serves PyTorch's CUDA build, by the names in the lock.
CUDA_ONLY = re.compile(r"^(nvidia-|cuda-|triton\b)")
SETTINGS = {"@jupyterlab/apputils-extension:notification":
            {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": False}}


def stop(message):
    sys.stdout.flush()
    sys.stderr.write("\n" + message + "\n")
    sys.exit(1)


def check_python(version=None):
    version = tuple(version or sys.version_info)[:3]
    if version[:2] not in ALLOWED:
        stop("The course needs Python 3.11, 3.12 or 3.13; this is Python %s (%s).\n"
             "  Install one of them and name it: make lab PYTHON=python3.12. Debian and Ubuntu: apt install python3\n"
             "  python3-venv; macOS: brew install python@3.12; any system: conda env create -f environment.yml."
             % (".".join(map(str, version)), sys.executable))


def check_disk(folder, torch):
    needed, why = NEEDED[torch]
    free = shutil.disk_usage(folder).free / GIGABYTE
    if free < needed:
        stop("Too little disk space: %.1f GB free in %s, and making .venv takes %.1f GB\n  (%s).\n"
             "  Free some space, or put the course on another disk, and run the same command again."
             % (free, folder, needed, why))


def python_of(venv):
    return os.path.join(venv, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))


def read_stamp(venv):
    try:
        with open(os.path.join(venv, "course.json")) as f:
            return json.load(f)
    except (OSError, ValueError):
        return {}


def write_stamp(venv, stamp):
    with open(os.path.join(venv, "course.json"), "w") as f:
        json.dump(stamp, f)


def wanted_stamp(root, torch):
    """What a complete .venv was made from: a change in any of it makes the next run install again."""
    stamp = {"python": "%d.%d" % sys.version_info[:2], "root": root, "torch": torch, "packages": True, "complete": True}
    for name in ("requirements.lock", "pyproject.toml", os.path.join("tools", "make_venv.py")):
        with open(os.path.join(root, name), "rb") as f:
            stamp[name] = hashlib.sha256(f.read()).hexdigest()
    return stamp


def choose_torch(given, before):
    """TORCH= as given; else what .venv has already; else PyTorch as the lock has it."""
    torch = given or before or "default"
    if torch not in NEEDED:
        stop("TORCH=%s: it must be cpu (PyTorch without CUDA, for Linux) or default (as in requirements.lock)." % torch)
    if torch == "cpu" and not sys.platform.startswith("linux"):
        stop("TORCH=cpu is for Linux. On this system PyTorch comes without CUDA anyway: leave TORCH= out.")
    return torch


def cpu_lock(lock):
    """Splits the lock's text: PyTorch's own packages for its CPU index, and all others without the CUDA libraries."""
    lines = [line for line in lock.splitlines() if line.strip() and not line.startswith("#")]
    own = [line for line in lines if re.match(r"^torch(vision)?=", line)]
    own = ["%s==%s+cpu" % re.match(r"^(\w+)=+([\d.]+)", line).groups() for line in own]
    rest = [line for line in lines if not re.match(r"^torch(vision)?=", line) and not CUDA_ONLY.match(line)]
    return own, rest


def explain(log, venv):
    """Says in two lines why pip stopped, from what it wrote into its log."""
    text = ""
    if os.path.exists(log):
        with open(log, errors="replace") as f:
            text = f.read()
    where = "  All that pip said is in %s." % os.path.relpath(log)
    if re.search(r"No space left on device|Errno 28|Disk quota exceeded|not enough space", text):
        stop("The disk became full while the packages were installed: %.1f GB are free in %s.\n"
             "  Free some space and run the same command again: it completes what is there.\n%s"
             % (shutil.disk_usage(os.path.dirname(venv)).free / GIGABYTE, os.path.dirname(venv), where))
    if re.search(r"NewConnectionError|NameResolutionError|name resolution|getaddrinfo|Connection refused|ConnectTimeout"
                 r"|ConnectionError|ProxyError|ReadTimeout|Read timed out|Network is unreachable|connection broken"
                 r"|Connection aborted|RemoteDisconnected|SSLError|IncompleteRead", text):
        stop("No network: pip could not reach the package index, so the packages cannot be installed.\n"
             "  Check the connection (and the proxy: HTTPS_PROXY, `pip config list`), and run the same command again:\n"
             "  it completes what is there. After this one time the course needs no network.\n" + where)
    stop("pip could not install the packages; its own message stands above.\n%s" % where)


def install(root, venv, log, arguments):
    """pip install, with pip's own progress. Its downloads wait in build/, since /tmp may be a small disk in memory."""
    command = [python_of(venv), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--log", log]
    if shutil.disk_usage(root).free / GIGABYTE < NEEDED["default"][0] + CACHE:
        command.append("--no-cache-dir")
    waiting = os.path.join(root, "build", "downloads")
    if not os.path.isdir(waiting):
        os.makedirs(waiting)
    try:
        status = subprocess.call(command + arguments, cwd=root, env=dict(os.environ, TMPDIR=waiting))
    except KeyboardInterrupt:
        stop("Stopped. Run the same command again: it completes what is there.")
    finally:
        shutil.rmtree(waiting, ignore_errors=True)
    if status:
        explain(log, venv)


def runs(command):
    with open(os.devnull, "w") as nowhere:
        try:
            return subprocess.call(command, stdout=nowhere, stderr=nowhere) == 0
        except OSError:
            return False


def make_empty_venv(venv):
    if not runs([sys.executable, "-c", "import venv, ensurepip"]):
        stop("This Python (%s) cannot make a virtual environment: its modules venv and ensurepip are missing.\n"
             "  Debian and Ubuntu keep them in a package of their own: apt install python3-venv (or python%d.%d-venv)."
             % ((sys.executable,) + sys.version_info[:2]))
    if not runs([sys.executable, "-m", "venv", "--clear", venv]):
        check_disk(os.path.dirname(venv), "cpu")
        stop("`%s -m venv %s` failed. Run it by hand to see why." % (sys.executable, venv))


def main(root=ROOT, given_torch=None):
    check_python()
    venv = os.path.join(root, ".venv")
    before = read_stamp(venv)
    torch = choose_torch(given_torch, before.get("torch"))
    wanted = wanted_stamp(root, torch)
    if before == wanted and os.path.exists(python_of(venv)):
        return
    if not os.environ.get("PYTHON") and before.get("python") in ("3.11", "3.12", "3.13"):
        wanted["python"] = before["python"]         # another Python on the PATH today is no reason to begin anew
        if before == wanted and os.path.exists(python_of(venv)):
            return

    kept = {k: before.get(k) == wanted[k] for k in ("python", "root", "torch")}
    fits = all(kept.values()) and runs([python_of(venv), "-m", "pip", "--version"])
    log = os.path.join(root, "build", "setup.log")
    if not os.path.isdir(os.path.dirname(log)):
        os.makedirs(os.path.dirname(log))
    if os.path.exists(log):
        os.remove(log)
    if not fits:
        wanted["python"] = "%d.%d" % sys.version_info[:2]
        if os.path.isdir(venv):
            print("Replacing .venv: it was made elsewhere, by another Python or for another TORCH=, or it is broken.")
            shutil.rmtree(venv)
        check_disk(root, torch)
        print("Making .venv with Python %s. Some 130 packages are downloaded once%s; it takes a few minutes." % (
            wanted["python"], " (with PyTorch and CUDA 2.9 GB)" if torch == "default" else ""))
        make_empty_venv(venv)
    else:
        print("Completing .venv.")
    lock = "requirements.lock"
    has_packages = fits and before.get("packages") and before.get(lock) == wanted[lock]
    write_stamp(venv, dict(wanted, packages=has_packages, complete=False))

    if has_packages:
        pass                                    # only the project itself has changed
    elif torch == "cpu":
        with open(os.path.join(root, lock)) as f:
            own, rest = cpu_lock(f.read())
        requirements = os.path.join(root, "build", "requirements-cpu.txt")
        with open(requirements, "w") as f:
            f.write("\n".join(rest) + "\n")
        install(root, venv, log, ["--no-deps", "--index-url", TORCH_CPU_INDEX] + own)
        install(root, venv, log, ["-r", requirements])
    else:
        install(root, venv, log, ["-r", os.path.join(root, lock)])
    write_stamp(venv, dict(wanted, complete=False))
    # The project itself, as a link to this folder; the lock has brought the setuptools that this takes.
    install(root, venv, log, ["--quiet", "--no-deps", "--no-build-isolation", "--editable", root])

    settings = os.path.join(venv, "share", "jupyter", "lab", "settings")
    if not os.path.isdir(settings):
        os.makedirs(settings)
    with open(os.path.join(settings, "overrides.json"), "w") as f:
        json.dump(SETTINGS, f, indent=1)
    # matplotlib lists the fonts once for each user, and may say so on stderr: better here than in a notebook's output.
    runs([python_of(venv), "-c", "import matplotlib.font_manager, torch"])
    os.remove(log)                              # pip's log, some 30 MB, is only of use where something went wrong
    write_stamp(venv, wanted)
    print("The set-up is complete: .venv holds the course's packages.\n")


if __name__ == "__main__":
    main(given_torch=os.environ.get("TORCH"))
