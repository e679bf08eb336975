# Prints the first Python that runs and that the course can use; PYTHON= in the environment names the only candidate.
# A name on the PATH is not enough: a version manager's shim may stand there for a Python that is not installed.
found=
for candidate in ${PYTHON:-python3.12 python3.13 python3.11 python3 python}; do
    version=$("$candidate" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue
    case $version in
        3.11.* | 3.12.* | 3.13.*) echo "$candidate"; exit 0 ;;
    esac
    found="$found $candidate is $version;"
done
{
    echo "The course needs Python 3.11, 3.12 or 3.13, and there is none to be seen."
    echo "  Looked for: ${PYTHON:-python3.12 python3.13 python3.11 python3 python}. Found:${found:- none that runs.}"
    echo "  Install one: Debian and Ubuntu: apt install python3 python3-venv; macOS: brew install python@3.12;"
    echo "  any system: conda env create -f environment.yml (see README.md)."
    echo "  One that is not on the PATH: make lab PYTHON=/path/to/python3.12"
} >&2
exit 1
